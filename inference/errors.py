"""Errors of the worker.

InferenceError
├── NotSuitable              the input is not one the model may judge; carries a stable reason code
├── RunFailed                a run that gave no answer; carries a stable reason code
│   ├── RunHung
│   ├── RunDied
│   └── OutOfMemory
├── ObjectsAway              the object store does not answer, or an object is still on its way to it
├── DispatcherUnavailable    the broker does not answer
├── DispatcherMisconfigured  the dispatch URL cannot work
└── NothingToExpect          what flags would do at a site has no answer
"""

from __future__ import annotations


class InferenceError(Exception):
    """The worker could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class NotSuitable(InferenceError):
    """The input is not one the model may judge."""

    def __init__(self, reason: str, detail: str = "", series_reasons: dict[str, str] | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.series_reasons = series_reasons or {}


class RunFailed(InferenceError):
    """The model raised an error."""

    reason = "model_error"

    def __init__(self, message: str | None = None, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or type(self).reason


class RunHung(RunFailed):
    """The model gave no answer in the time it is allowed; its process was killed."""

    reason = "timeout"


class RunDied(RunFailed):
    """The model's process died."""

    reason = "process_died"


class OutOfMemory(RunFailed):
    """The run needs more memory than the model's process may take, or than there is."""

    reason = "memory"


class ObjectsAway(InferenceError):
    """The objects of a study cannot be read for now; the run is not counted."""

    reason = "objects_away"


class DispatcherUnavailable(InferenceError):
    """The broker does not answer; jobs still run, found by looking at the table."""


class DispatcherMisconfigured(InferenceError):
    """The dispatch URL cannot work."""


class NothingToExpect(InferenceError):
    """What flags would do at a site has no answer."""

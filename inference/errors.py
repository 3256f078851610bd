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
├── EnablingRefused          a model may not move the list here
├── RemovalRefused           a model may not be taken away here
├── CheckRefused             too few cases to say what was asked
├── ReportImpossible         a result has no object: its images cannot be read as what the catalogue says
├── NotReproducible          a result cannot be made again here
├── InquiryRejected          what flags would do at a site was asked wrongly
├── NothingToExpect          what flags would do at a site has no answer
├── CalculatorBusy           another question is being worked out
├── CalculatorLost           a question took more than it may
├── TargetsRefused           targets by which nobody could be told when to read
└── VerdictRefused           a reader's word that does not fit the finding it is about
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.selection import Considered


class InferenceError(Exception):
    """The worker could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class NotSuitable(InferenceError):
    """The input is not one the model may judge.

    `ranking` is what was thought of every series, where they were looked at already.
    """

    def __init__(self, reason: str, detail: str = "", ranking: tuple[Considered, ...] = ()) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.ranking = ranking


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


class EnablingRefused(InferenceError):
    """The model may not move the list here: the message says what is missing."""


class RemovalRefused(InferenceError):
    """The model may not be taken away: the message says what to do first."""


class CheckRefused(InferenceError):
    """There are too few cases to say it; the message says how many would do."""


class InquiryRejected(InferenceError):
    """What flags would do cannot be worked out from what was asked."""


class ReportImpossible(InferenceError):
    """A result has no object of this form: its images cannot be read as what the catalogue says."""


class NotReproducible(InferenceError):
    """A result cannot be made again here."""


class NothingToExpect(InferenceError):
    """What flags would do at a site has no answer: `reason` is ``no_arrivals`` or ``overload``."""

    def __init__(self, message: str | None = None, reason: str = "no_arrivals") -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[NothingToExpect], tuple[str, str]]:
        """Keep the reason on the way from one process to another."""
        return type(self), (str(self), self.reason)


class CalculatorBusy(InferenceError):
    """Another question is being worked out; come again in a little while."""


class CalculatorLost(InferenceError):
    """The question took more time or memory than it may."""


class TargetsRefused(InferenceError):
    """These targets cannot be set."""


class VerdictRefused(InferenceError):
    """No such thing can be said of this finding."""

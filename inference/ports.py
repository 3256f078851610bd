"""What the worker asks of a doorbell."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from storage.records import JobId


class Dispatcher(Protocol):
    """Wakes a worker: a hint, never the record.

    A wake may be lost, doubled or late; the job table is the truth and every worker also looks there by itself.  A
    wake carries the job's id and nothing else.  `wake` never raises because a broker is away: it logs and returns,
    within seconds.  All methods may be called from any thread.
    """

    def wake(self, job: JobId) -> None:
        """Ring for a job that waits."""
        ...

    def listen(self, on_wake: Callable[[JobId], None]) -> AbstractContextManager[None]:
        """Call `on_wake` for rings that reach this process, from a thread of the dispatcher's, until the block ends."""
        ...

    def ping(self) -> None:
        """Return if the broker answers, raise `inference.errors.DispatcherUnavailable` if it does not."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...

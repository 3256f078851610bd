"""The embedded doorbell: completion and worker live in one process, which keeps its model in a child process."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from storage.records import JobId

SCHEMES = ("child",)


class ChildDispatcher:
    """Calls whoever listens in this process; a ring that nobody hears is lost, as the port allows."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[JobId], None]] = []
        self._lock = threading.Lock()

    def wake(self, job: JobId) -> None:
        """Ring for a job that waits."""
        with self._lock:
            listeners = list(self._listeners)
        for on_wake in listeners:
            on_wake(job)

    @contextmanager
    def listen(self, on_wake: Callable[[JobId], None]) -> Iterator[None]:
        """Call `on_wake` for each ring until the block ends."""
        with self._lock:
            self._listeners.append(on_wake)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(on_wake)

    def ping(self) -> None:
        """Nothing to ask."""

    def close(self) -> None:
        """Nothing to give back."""


def open_dispatcher(url: str) -> ChildDispatcher:  # noqa: ARG001 - the dispatchers' common form
    """Open the doorbell of this process."""
    return ChildDispatcher()

"""A step repeated until told to stop: the one net under each of a worker's loops."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from storage.errors import Unavailable

logger = logging.getLogger(__name__)

_AWAY_S = 1.0


class Loop:
    """Calls `step` every `every_s` seconds, at once after `ring`, until `stop`.

    A catalogue that is away is logged and waited for; any other error is logged with its traceback and the loop goes
    on, so that one bad study cannot end the service of the others.
    """

    def __init__(self, name: str, step: Callable[[], None], *, every_s: float) -> None:
        self._name = name
        self._step = step
        self._every_s = every_s
        self._bell = threading.Event()
        self._stopped = threading.Event()

    @property
    def name(self) -> str:
        """What log lines call it."""
        return self._name

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def ring(self) -> None:
        """Ask for a step at once."""
        self._bell.set()

    def stop(self) -> None:
        """Let the loop end after the running step."""
        self._stopped.set()
        self._bell.set()

    def wait(self, seconds: float) -> None:
        """Sleep within a step, until `stop` at most."""
        self._stopped.wait(seconds)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Repeat the step in a thread of its own for as long as the block lasts."""
        thread = threading.Thread(target=self.run, name=self._name)
        thread.start()
        try:
            yield
        finally:
            self.stop()
            thread.join()

    def run(self) -> None:
        """Repeat the step in this thread."""
        while not self._stopped.is_set():
            self._bell.clear()
            try:
                self._step()
            except Unavailable as error:
                logger.warning(
                    "storage away", extra={"action": "storage-away", "loop": self._name, "error": str(error)}
                )
                self._stopped.wait(_AWAY_S)
            except Exception:
                logger.exception("a step failed", extra={"action": "step-failed", "loop": self._name})
                self._stopped.wait(_AWAY_S)
            self._bell.wait(self._every_s)

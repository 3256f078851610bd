"""A process behind all others: started by the worker when there is need, it gives way and ends with the worker.

The worker's side is `keeping`; `step_behind` and `stop_on_signal` are what the process itself does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from inference.loop import Loop
from roi.compose import open_database
from roi.logs import configure
from storage.archive import utc_now
from storage.catalog import upkeep

if TYPE_CHECKING:
    from roi.settings import Settings
    from storage.database import Database, Transaction

_LOOK_S: Final = 2.0
_REST_S: Final = 30.0
"""Before a process that failed, or left something undone, is started again."""
_NICE: Final = 15
_PR_SET_PDEATHSIG: Final = 1


class Need(Protocol):
    """What a process is started for; asked by one thread."""

    def waits(self, tx: Transaction) -> bool:
        """Tell whether there is something to do."""
        ...

    def ended(self, tx: Transaction) -> bool:
        """Hear that a process ended well; tell whether it left what the next one would leave, too."""
        ...


@contextmanager
def keeping(settings: Settings, command: str, kind: str, need: Need) -> Iterator[None]:
    """Have a command of ours run behind this process whenever there is need, for as long as the block lasts.

    `kind` is the turn that the command takes, so that no two processes are at it.
    """
    with closing(open_database(settings)) as database, Keeper(settings, database, command, kind, need).loop.beside():
        yield


class Keeper:
    """Looks whether there is need, and starts a process where nobody is at it."""

    def __init__(self, settings: Settings, database: Database, command: str, kind: str, need: Need) -> None:
        self._settings = settings
        self._database = database
        self._command = command
        self._kind = kind
        self._need = need
        self._died = False
        """Whether our last process died, with a lease that nobody uses."""
        self.loop = Loop(f"{command}s", self.step, every_s=_LOOK_S)

    def step(self) -> None:
        """Run the process if there is need, until it ends or is to."""
        if not self.is_wanted():
            return
        self._died = not run_behind(self._settings, self._command, self.loop)
        if self._died or self._left_some():
            self.loop.wait(_REST_S)

    def is_wanted(self) -> bool:
        """Tell whether something waits and nobody is at it."""
        with self._database.read() as tx:
            return (self._died or not self._is_held(tx)) and self._need.waits(tx)

    def _left_some(self) -> bool:
        with self._database.read() as tx:
            return self._need.ended(tx) and not self._is_held(tx)

    def _is_held(self, tx: Transaction) -> bool:
        run = upkeep.last(tx, self._kind)
        return run is not None and run.lease_until is not None and run.lease_until > utc_now()


def run_behind(settings: Settings, command: str, loop: Loop) -> bool:
    """Run a command of ours behind this process until it ends, or `loop` is to; tell whether it ended well."""
    words = [sys.executable, "-m", "roi.cli", command, "--behind", str(os.getpid())]
    process = subprocess.Popen(words, env=settings.as_environment(), stdout=subprocess.DEVNULL)
    while process.poll() is None and not loop.stopped:
        loop.wait(_LOOK_S)
    if process.poll() is None:
        process.terminate()
    return process.wait() == 0


def stop_on_signal() -> threading.Event:
    """Return what is set once this process is to end."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def step_behind(settings: Settings, role: str, behind: int) -> bool:
    """Let this process give way to all others, and end with the process `behind`; False where that has died already."""
    configure(role, settings.log)
    os.nice(_NICE)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == behind

"""A turn at long work on the whole archive: held by a lease, noted as it goes, taken over where it was left."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from storage.catalog import upkeep
from storage.errors import StorageError

if TYPE_CHECKING:
    from datetime import datetime

    from storage.catalog.upkeep import Run
    from storage.database import Database

_BEAT_S = 10.0


class UnderWay(StorageError):
    """Another process is at the same work; it ends by itself."""


class TurnLost(StorageError):
    """Another process has taken this work over, since this one was not heard of for too long."""


class Stopped(StorageError):
    """The work was asked to stop; the next turn goes on where it was."""


class Turn:
    """One process's turn at a run.  `position` and `figures` are the worker's own words, kept for who comes next."""

    def __init__(self, database: Database, run: Run, owner: str, clock: Callable[[], datetime]) -> None:
        self.run = run
        self._database = database
        self._owner = owner
        self._clock = clock
        self._beat_at = time.monotonic() + _BEAT_S

    @property
    def is_due(self) -> bool:
        """Whether it is time to `beat`."""
        return time.monotonic() >= self._beat_at

    def beat(self, position: str, figures: Mapping[str, object]) -> None:
        """Note how far the work is, and keep the lease.

        Raises
        ------
        TurnLost
            It was over, and somebody else has it.
        """
        self._beat_at = time.monotonic() + _BEAT_S
        now = self._clock()
        with self._database.write() as tx:
            kept = upkeep.beat(tx, self.run, owner=self._owner, position=position, figures=figures, now=now)
        if not kept:
            raise TurnLost

    def end(self, figures: Mapping[str, object]) -> None:
        """Note that the work is done."""
        with self._database.write() as tx:
            upkeep.end(tx, self.run, figures=figures, now=self._clock())

    def let_go(self) -> None:
        """Leave the work to whoever comes next."""
        with self._database.write() as tx:
            upkeep.let_go(tx, self.run, owner=self._owner)


@contextmanager
def turn_at(database: Database, kind: str, *, clock: Callable[[], datetime]) -> Iterator[Turn]:
    """Take a turn at a kind of work: a new run, or one that was left.

    Raises
    ------
    UnderWay
        Another process has it.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{time.monotonic_ns()}"
    with database.write() as tx:
        run = upkeep.claim(tx, kind, owner=owner, now=clock(), is_dead=_is_dead)
    if run is None:
        raise UnderWay
    turn = Turn(database, run, owner, clock)
    try:
        yield turn
    except (StorageError, KeyboardInterrupt):
        turn.let_go()
        raise


def _is_dead(owner: str) -> bool:
    """Tell whether an owner is known to live no longer: a process of this machine that is not there."""
    host, pid, _ = owner.rsplit(":", 2)
    return host == socket.gethostname() and not Path(f"/proc/{pid}").exists()

"""The scrub that runs by itself, in the worker: one at a time, whoever's turn it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from inference.loop import Loop
from roi.compose import open_archive, open_database
from storage.archive import utc_now
from storage.catalog import upkeep
from storage.scrub import KIND, Manner, scrub
from storage.turn import Stopped, UnderWay

if TYPE_CHECKING:
    from datetime import datetime

    from roi.settings import Settings
    from storage.database import Database

_ACTOR = "schedule"
_LOOK_S = 60.0


@contextmanager
def scrubbing(settings: Settings) -> Iterator[None]:
    """Scrub the archive whenever it is time, in a thread, for as long as the block lasts."""
    if not settings.scrub_every:
        yield
        return
    with closing(open_database(settings)) as database, Schedule(settings, database).loop.beside():
        yield


class Schedule:
    """Looks every minute whether a scrub is due, or one was left by a process that died."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self.loop = Loop("scrub", self.step, every_s=_LOOK_S)

    def step(self) -> None:
        """Scrub if it is time and nobody else does."""
        if not self.is_due(utc_now()):
            return
        manner = Manner(rate_mb_s=self._settings.scrub_rate, sleep=self.loop.wait, stopped=lambda: self.loop.stopped)
        with closing(open_archive(self._settings)) as archive:
            try:
                scrub(archive, manner, actor=_ACTOR)
            except (UnderWay, Stopped):
                return  # another process is at it, or goes on with it

    def is_due(self, now: datetime) -> bool:
        """Tell whether the last scrub began long enough ago, or was left before its end."""
        with self._database.read() as tx:
            last = upkeep.last(tx, KIND)
        if last is None:
            return True
        if last.ended_at is None:
            return last.lease_until is None or last.lease_until <= now
        return now - last.started_at >= timedelta(days=self._settings.scrub_every)

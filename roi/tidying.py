"""Removal of workitems and events whose time is over, in the worker: any number of workers may do it at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from inference.loop import Loop
from roi.compose import open_database
from storage.archive import utc_now
from storage.workitems import worklist

if TYPE_CHECKING:
    from datetime import datetime

    from roi.settings import Settings
    from storage.database import Database

logger = logging.getLogger(__name__)

_LOOK_S = 60.0


@contextmanager
def tidying(settings: Settings) -> Iterator[None]:
    """Tidy the worklist of workitems every minute, in a thread, for as long as the block lasts."""
    with closing(open_database(settings)) as database:
        tidier = Tidier(database, kept=timedelta(days=settings.workitem_days))
        with Loop("workitems", tidier.step, every_s=_LOOK_S).beside():
            yield


class Tidier:
    """Removes final workitems `kept` after their end."""

    def __init__(self, database: Database, *, kept: timedelta, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._kept = kept
        self._clock = clock

    def step(self) -> None:
        """Remove what is due."""
        with self._database.write() as tx:
            removed = worklist.tidy(tx, kept=self._kept, now=self._clock())
        if removed:
            told = {"action": "workitems-removed", "workitems": removed}
            logger.info("workitems whose time was over were removed", extra=told)

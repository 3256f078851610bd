"""What changes on the reading list though nobody does anything: leases that end, and a share of flags that grew.

In the worker; any number of workers may do it at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from inference import guard, reading
from inference.loop import Loop
from roi.compose import open_database
from storage.archive import utc_now
from storage.catalog import reading as rows

if TYPE_CHECKING:
    from datetime import datetime

    from roi.settings import Settings
    from storage.database import Database

_LOOK_S = 2.0


@contextmanager
def watching(settings: Settings) -> Iterator[None]:
    """Watch the reading list, in a thread, for as long as the block lasts."""
    with closing(open_database(settings)) as database:
        watcher = Watcher(database)
        with Loop("reading", watcher.step, every_s=_LOOK_S).beside():
            yield


class Watcher:
    """Closes what nobody has open any longer, and counts flags; writes only where there is something to write."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def step(self) -> None:
        """Look once."""
        now = self._clock()
        with self._database.read() as tx:
            lapsed = rows.lapsed(tx, lease=reading.LEASE, now=now)
            off_balance = guard.is_off_balance(tx, now=now)
        if not lapsed and not off_balance:
            return
        with self._database.write() as tx:
            reading.close_lapsed(tx, now=now)
            guard.watch(tx, now=now)

"""Extracts are made in a process of its own that gives way to every other, started by the worker when there is need."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from inference.loop import Loop
from roi.behind import run_behind
from roi.compose import open_database
from storage.archive import utc_now
from storage.catalog import changes, upkeep
from storage.catalog.extracts import CAUSE, KIND
from storage.catalog.following import Position

if TYPE_CHECKING:
    from roi.settings import Settings
    from storage.database import Database

_LOOK_S: Final = 2.0
_REST_S: Final = 30.0
"""Before a process that failed is started again."""


@contextmanager
def extracting(settings: Settings) -> Iterator[None]:
    """Have extracts made whenever there is need, for as long as the block lasts."""
    with closing(open_database(settings)) as database:
        keeper = _Keeper(settings, database)
        thread = threading.Thread(target=keeper.loop.run, name="extracts")
        thread.start()
        try:
            yield
        finally:
            keeper.loop.stop()
            thread.join()


class _Keeper:
    """Looks whether something is to be made, and starts a process where nobody makes it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._seen = 0
        """The last change up to which there is nothing left to make, as far as this process knows."""
        self._died = False
        """Whether our last process died, with a lease that nobody uses."""
        self.loop = Loop("extracts", self.step, every_s=_LOOK_S)

    def step(self) -> None:
        """Run the process if there is need, until it ends or is to."""
        if not self.is_wanted():
            return
        with self._database.read() as tx:
            seen = changes.last_seq(tx)
        self._died = not run_behind(self._settings, "extract", self.loop)
        if self._died:
            self.loop.wait(_REST_S)
        else:
            self._seen = seen

    def is_wanted(self) -> bool:
        """Tell whether studies wait for somebody to make what they need, and nobody is at it.

        To the first look everything waits: what is there may have been made in another form.
        """
        with self._database.read() as tx:
            run, position = upkeep.last(tx, KIND), Position.of(tx, KIND)
            if run is not None and run.lease_until is not None and run.lease_until > utc_now() and not self._died:
                return False
            last = changes.last_seq(tx)
            if self._seen and position is not None and position.old:
                return True
            done = max(self._seen, position.new) if self._seen and position is not None else self._seen
            later = changes.next_of(tx, CAUSE, after=done)
        if later is None:
            self._seen = last
        return later is not None

"""Results are told as DICOM objects by a process of its own, started by the worker when some wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from inference.loop import Loop
from inference.reports import forms
from roi.behind import run_behind
from roi.compose import open_database
from storage.archive import utc_now
from storage.catalog import reports, upkeep

if TYPE_CHECKING:
    from roi.settings import Settings
    from storage.database import Database

_LOOK_S: Final = 2.0
_REST_S: Final = 30.0
"""Before a process that failed, or left something untold, is started again."""


@contextmanager
def reporting(settings: Settings) -> Iterator[None]:
    """Have results told for as long as the block lasts; nothing where nobody wants or can write them."""
    if not forms.parse(settings.reports) or not forms.available():
        yield
        return
    with closing(open_database(settings)) as database:
        keeper = _Keeper(settings, database)
        thread = threading.Thread(target=keeper.loop.run, name="reports")
        thread.start()
        try:
            yield
        finally:
            keeper.loop.stop()
            thread.join()


class _Keeper:
    """Looks whether a result waits, and starts a process where nobody is at it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._died = False
        """Whether our last process died, with a lease that nobody uses."""
        self.loop = Loop("reports", self.step, every_s=_LOOK_S)

    def step(self) -> None:
        """Run the process if there is need, until it ends or is to."""
        if not self.is_wanted():
            return
        self._died = not run_behind(self._settings, "report", self.loop)
        if self._died or self.is_wanted():
            self.loop.wait(_REST_S)

    def is_wanted(self) -> bool:
        """Tell whether a result waits and nobody is at it."""
        with self._database.read() as tx:
            run = upkeep.last(tx, reports.KIND)
            held = run is not None and run.lease_until is not None and run.lease_until > utc_now()
            return (self._died or not held) and reports.any_waits(tx)

"""Rejection notes heard as they come, and what has been hidden long enough removed: by the worker, in a thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from inference.loop import Loop
from pacs_gateway.rejection_note import read_note
from pacs_gateway.reread import read_object
from roi.compose import open_archive, open_database
from storage import hiding, rejection
from storage.archive import utc_now
from storage.catalog import hidden, rejections

if TYPE_CHECKING:
    from roi.settings import Settings
    from storage.database import Database

_ACTOR = "schedule"
_LOOK_S = 1.0
_PURGE_S = 3600.0


@contextmanager
def rejecting(settings: Settings) -> Iterator[None]:
    """Hear rejection notes for as long as the block lasts."""
    with closing(open_database(settings)) as database, Watch(settings, database).loop.beside():
        yield


class Watch:
    """Looks every second for notes that wait, and every hour for what has been hidden long enough.

    Any number of workers may look: a note has its effect once, whoever reads it.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._purge_at = 0.0
        self.loop = Loop("rejections", self.step, every_s=_LOOK_S)

    def step(self) -> None:
        """Do what is to be done now; the archive is opened for it alone."""
        if self._any_note():
            with closing(open_archive(self._settings)) as archive:
                rejection.apply_waiting(archive, read_note, read_object)
        if self._any_to_purge():
            with closing(open_archive(self._settings)) as archive:
                hiding.purge(archive, self._after, actor=_ACTOR)

    @property
    def _after(self) -> timedelta:
        return timedelta(days=self._settings.hidden_days)

    def _any_note(self) -> bool:
        with self._database.read() as tx:
            return bool(rejections.waiting(tx, now=utc_now(), limit=1))

    def _any_to_purge(self) -> bool:
        if not self._settings.hidden_days or time.monotonic() < self._purge_at:
            return False
        self._purge_at = time.monotonic() + _PURGE_S
        with self._database.read() as tx:
            return bool(hidden.studies_kept_since(tx, before=utc_now() - self._after, limit=1))

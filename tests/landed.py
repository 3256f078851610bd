"""An archive behind a landing zone, and an object store that goes away or lies when told to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from roi.landing import adopt
from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.database import Database
from storage.errors import ObjectStoreUnavailable
from storage.landing import LandedObjects, Landing
from storage.migrate import migrate
from storage.ports import ObjectStore
from storage.records import ObjectKey
from storage.uploads import Pace, Uploader
from tests.builders import Clock

CATALOGUE = "catalogue.url"
LIMIT = 1 << 20
_opened: list[Archive] = []
AT_ONCE = Pace(look_s=0.0, away_s=(0.0,), tidy_s=0.0, settle_s=-1.0)


class MoodyStore(MemoryStore):
    """An object store in memory: away while `away`, and keeping only `spoil(content)` of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.spoil = bytes
        self.puts: list[ObjectKey] = []

    def put(self, key: ObjectKey, source: BinaryIO) -> int:
        self.ping()
        self.puts.append(key)
        return super().put(key, io.BytesIO(self.spoil(source.read())))

    def open(self, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        self.ping()
        return super().open(key, offset=offset, length=length)

    def size(self, key: ObjectKey) -> int:
        self.ping()
        return super().size(key)

    def remove(self, key: ObjectKey) -> None:
        self.ping()
        super().remove(key)

    def ping(self) -> None:
        if self.away:
            raise ObjectStoreUnavailable


def landed_archive(
    folder: Path,
    store: ObjectStore,
    *,
    name: str = "landing",
    limit_bytes: int = LIMIT,
    clock: Clock | None = None,
    takes: bool = True,
) -> Archive:
    """An archive of the catalogue in `folder` whose host has the landing zone called `name`."""
    database = _database(folder)
    landing = Landing(folder / name, limit_bytes=limit_bytes)
    objects = LandedObjects(store, landing=landing, takes=takes, database=database)
    made = Archive(
        objects=objects,
        database=database,
        spool_folder=landing.objects.incoming,
        landing=objects,
        clock=clock or Clock(),
    )
    _opened.append(made)
    return made


def elsewhere(folder: Path, store: ObjectStore) -> Archive:
    """The same archive as a host without a landing zone sees it."""
    database = _database(folder)
    objects = LandedObjects(store, landing=None, database=database)
    made = Archive(objects=objects, database=database, spool_folder=folder, landing=objects, clock=Clock())
    _opened.append(made)
    return made


def _database(folder: Path) -> Database:
    """The catalogue of a folder: SQLite there, unless a file there names another."""
    named = folder / CATALOGUE
    database = Database(named.read_text() if named.exists() else f"sqlite:///{folder / 'catalogue.sqlite'}")
    migrate(database)
    return database


def close_all() -> None:
    """Close every archive made here."""
    while _opened:
        _opened.pop().close()


def uploader(archive: Archive, *, pace: Pace = AT_ONCE, clock: Clock | None = None) -> Uploader:
    """The uploader of an archive's landing zone, not started: `step` works one batch off, until `stop`."""
    landing = archive.landing
    assert landing is not None
    return Uploader(
        landing,
        store=archive.store,
        database=archive.database,
        adopt=lambda key: adopt(archive, landing, key),
        pace=pace,
        clock=clock or Clock(),
    )


def upload(archive: Archive, *, pace: Pace = AT_ONCE, clock: Clock | None = None) -> None:
    """Work one batch off."""
    work = uploader(archive, pace=pace, clock=clock)
    try:
        work.step()
    finally:
        work.stop()

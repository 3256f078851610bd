"""Holds the archive's two halves against each other; reports, changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.catalog import references
from storage.errors import ObjectMissing, ObjectOnItsWay

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.records import ObjectKey

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was found: keys, each in at most one list."""

    checked: int
    waiting: int
    """Objects in the landing zone of another host, which this one cannot read."""
    missing: tuple[ObjectKey, ...]
    """A row needs it, the object store lacks it: data loss."""
    corrupt: tuple[ObjectKey, ...]
    """Its bytes no longer have its digest: data loss."""
    unreferenced: tuple[ObjectKey, ...]
    """No row needs it: left by a crash between object and row, or a re-encoded re-send; harmless."""

    @property
    def clean(self) -> bool:
        """Whether there is nothing to report."""
        return not (self.missing or self.corrupt or self.unreferenced)


def verify(archive: Archive, *, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> Report:
    """Read every object that a row needs and compare its digest; list what no row needs.

    `on_progress` hears (objects checked, objects to check).
    """
    present = set(archive.objects.keys())
    with archive.database.read() as tx:  # after the listing: an object that arrives meanwhile is in neither set
        wanted = references.everything(tx)
    missing: list[ObjectKey] = []
    corrupt: list[ObjectKey] = []
    waiting = 0
    for done, (key, meta_bytes) in enumerate(sorted(wanted.items()), start=1):
        try:
            if _digest(archive, key, meta_bytes) != key:
                corrupt.append(key)
        except ObjectMissing:
            missing.append(key)
        except ObjectOnItsWay:
            waiting += 1
        on_progress(done, len(wanted))
    return Report(
        checked=len(wanted) - waiting,
        waiting=waiting,
        missing=tuple(missing),
        corrupt=tuple(corrupt),
        unreferenced=tuple(sorted(present - wanted.keys())),
    )


def _digest(archive: Archive, key: ObjectKey, meta_bytes: int) -> str:
    digest = hashlib.sha256()
    for part in _parts(archive, key, meta_bytes):
        digest.update(part)
    return digest.hexdigest()


def _parts(archive: Archive, key: ObjectKey, offset: int) -> Iterator[bytes]:
    with archive.objects.open(key, offset=offset) as stream:
        while part := stream.read(_CHUNK):
            yield part

"""The landing zone of this data folder: opened, uploaded from, and what a crash left in it taken in."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pacs_gateway.errors import HeaderRejected
from pacs_gateway.header import HEAD_BYTES, read_header
from pacs_gateway.part10 import MAX_META_BYTES, read_meta
from storage import checksum
from storage.landing import Landing
from storage.records import Arrival, Origin
from storage.uploads import Uploader

if TYPE_CHECKING:
    from roi.settings import Settings
    from storage.archive import Archive
    from storage.records import ObjectKey

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20


def folder(settings: Settings) -> Path | None:
    """Return the landing zone's folder, None where this data folder has none and needs none.

    One that is there is read and emptied even where nothing new lands any more.
    """
    path = settings.data / "landing"
    return path.resolve() if settings.ack == "landing" or path.is_dir() else None


@contextmanager
def uploading(archive: Archive) -> Iterator[None]:
    """Bring on what has landed, and what lands meanwhile, until the block ends."""
    landing = archive.landing
    if landing is None:
        yield
        return
    uploader = Uploader(
        landing, store=archive.store, database=archive.database, adopt=lambda key: adopt(archive, landing, key)
    )
    uploader.start()
    try:
        yield
    finally:
        uploader.stop()


def adopt(archive: Archive, landing: Landing, key: ObjectKey) -> None:
    """Take in an object that lies in the landing zone and of which the catalogue knows nothing.

    A crash left it between object and row, or the catalogue was lost and made anew: as nobody can tell which, it is
    kept: as an arrival of now, from whom its file meta information names.
    """
    try:
        with landing.objects.open(key) as file:
            arrival = _arrival(key, file)
            archive.keep(_Opened(file), arrival)
    except HeaderRejected as error:
        extra = {"action": "landing-unreadable", "object": key, "reason": str(error)}
        logger.exception("an object in the landing zone cannot be taken in, it stays there", extra=extra)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that is here already, as `Archive.keep` takes it."""

    file: BinaryIO

    def reader(self) -> BinaryIO:
        """Return the file, positioned at its start."""
        self.file.seek(0)
        return self.file


def _arrival(key: ObjectKey, file: BinaryIO) -> Arrival:
    start = file.read(MAX_META_BYTES + HEAD_BYTES)
    meta = read_meta(start)

    def more(offset: int, length: int) -> bytes:
        file.seek(meta.length + offset)
        return file.read(length)

    header = read_header(start[meta.length : meta.length + HEAD_BYTES], meta.transfer_syntax_uid, more)
    file.seek(meta.length)
    digest, quick, size_bytes = hashlib.sha256(), checksum.begun(), meta.length
    while part := file.read(_CHUNK):
        digest.update(part)
        quick.update(part)
        size_bytes += len(part)
    if digest.hexdigest() != key:
        raise HeaderRejected("its bytes do not have its digest")
    origin = Origin(via=meta.via or "import", calling_aet=meta.calling_aet, called_aet=meta.called_aet)
    return Arrival(
        key=key,
        size_bytes=size_bytes,
        meta_bytes=meta.length,
        header=header,
        origin=origin,
        checksum=quick.digest(),
    )

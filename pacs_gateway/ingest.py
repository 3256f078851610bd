"""An instance on its way in: spooled as it comes, its header read, handed to the archive.

DIMSE, STOW-RS and import come through here, so that all keep the same promise: what `finish` returns has happened.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

from pacs_gateway.errors import (
    CommandContradicted,
    CommandUidRejected,
    HeaderUnreadable,
    InstanceTooLarge,
    Part10Rejected,
)
from pacs_gateway.header import HEAD_BYTES, is_uid, read_header, unreadable_beyond
from pacs_gateway.part10 import Piece, split_meta, write_meta
from storage.archive import utc_now
from storage.errors import ObjectStoreUnavailable, OutOfSpace, Unavailable
from storage.records import Arrival, Header, OnConflict, Origin, StudyUid, Verdict
from storage.spool import Spool

MAX_INSTANCE_BYTES: Final = 16 * 1024**3
_CHUNK: Final = 1024 * 1024
_ASK_AGAIN_BYTES: Final = 16 * 1024 * 1024
"""A long instance asks for room anew after so many bytes."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Archive(Protocol):
    """What ingest needs of `storage.archive.Archive`."""

    spool_folder: Path

    def admit(self) -> None:
        """Return if an instance may arrive now; `storage.errors.Unavailable` if none may."""
        ...

    def keep(self, spool: Spool, arrival: Arrival) -> Verdict:
        """Make object and row durable, then return."""
        ...

    def release(self, study_uids: Iterable[StudyUid]) -> None:
        """Note that the association which brought these studies has been released."""
        ...


class Ingest:
    """The way into an archive.  Any number of threads may use one.

    `on_conflict` says what a sender hears of a copy that was put into quarantine.
    """

    def __init__(
        self,
        archive: Archive,
        *,
        max_instance_bytes: int = MAX_INSTANCE_BYTES,
        clock: Callable[[], datetime] = utc_now,
        on_conflict: Callable[[Origin], OnConflict] = lambda _: OnConflict.REFUSE,
    ) -> None:
        self._archive = archive
        self.on_conflict = on_conflict
        self._clock = clock
        self._max_instance_bytes = max_instance_bytes

    def begin(
        self, *, transfer_syntax_uid: str, origin: Origin, sop_class_uid: str, sop_instance_uid: str
    ) -> Reception:
        """Start the reception of a data set that the UIDs announce.

        Raises
        ------
        CommandUidRejected
            The announced UIDs are not UIDs.
        storage.errors.Unavailable
            There is no room below the high-water mark, or the spool cannot be written.
        """
        if not (is_uid(sop_class_uid) and is_uid(sop_instance_uid)):
            raise CommandUidRejected
        meta = write_meta(transfer_syntax_uid, sop_class_uid, sop_instance_uid, origin, self._clock())
        self._archive.admit()
        with _storage_errors():
            spool = Spool(self._archive.spool_folder)
        return Reception(
            archive=self._archive,
            spool=spool,
            meta=meta,
            announced=(transfer_syntax_uid, sop_class_uid, sop_instance_uid),
            origin=origin,
            max_bytes=self._max_instance_bytes,
        )

    def part10(self, source: Iterable[Piece] | BinaryIO, origin: Origin) -> tuple[Verdict, Header]:
        """Take in a whole DICOM file, as STOW-RS and import bring it; its data set bytes are kept as they are.

        Preamble and meta information are dropped for our own, which names what the data set says it is.

        Raises
        ------
        Part10Rejected
            No preamble, no file meta information, or no transfer syntax in it.
        HeaderRejected
            As `Reception.finish`.
        storage.errors.Unavailable
            The archive cannot answer for now.
        """
        with self.receive_part10(source, origin) as reception:
            return reception.finish(), reception.header

    def receive_part10(self, source: Iterable[Piece] | BinaryIO, origin: Origin) -> Reception:
        """Receive a file as `part10` does, to be finished by the caller: whatever thread it does so in.

        Raises
        ------
        Part10Rejected, storage.errors.Unavailable
            As `part10`.
        """
        meta, data_set = split_meta(_chunks(source))
        if not is_uid(meta.transfer_syntax_uid):
            raise Part10Rejected("the file meta information's transfer syntax is not a UID")
        first = next(data_set, b"")
        header = _header_within(bytes(first[:HEAD_BYTES]), meta.transfer_syntax_uid)
        # Only where the data set's header is longer than its first piece is the meta information believed, to be
        # compared with the data set when that is complete: it may be poor, or another file's.
        named = header or meta
        reception = self.begin(
            transfer_syntax_uid=meta.transfer_syntax_uid,
            origin=origin,
            sop_class_uid=named.sop_class_uid,
            sop_instance_uid=named.sop_instance_uid,
        )
        try:
            reception.write(first)
            for chunk in data_set:
                reception.write(chunk)
        except BaseException:
            reception.close()
            raise
        return reception

    def release(self, study_uids: Iterable[StudyUid]) -> None:
        """Pass on the evidence that an association has been released in order."""
        self._archive.release(study_uids)


class Reception:
    """One arriving instance, a context manager used by one thread at a time; what is not finished leaves no trace."""

    header: Header
    """Set by `finish`."""

    def __init__(
        self,
        *,
        archive: Archive,
        spool: Spool,
        meta: bytes,
        announced: tuple[str, str, str],
        origin: Origin,
        max_bytes: int,
    ) -> None:
        self._archive = archive
        self._spool = spool
        self._announced = announced
        self._origin = origin
        self._max_bytes = max_bytes
        self._ask_at = _ASK_AGAIN_BYTES
        try:
            with _storage_errors():
                spool.write_meta(meta)
        except Unavailable:
            spool.close()  # nobody else will: there is no reception
            raise

    def write(self, part: bytes | bytearray | memoryview) -> None:
        """Append data set bytes.

        Raises
        ------
        InstanceTooLarge
            More bytes than this gateway takes.
        storage.errors.Unavailable
            The high-water mark is reached, or the spool cannot be written.
        """
        size_bytes = self._spool.size_bytes + len(part)
        if size_bytes > self._max_bytes:
            raise InstanceTooLarge(f"longer than the {self._max_bytes} bytes this gateway takes")
        if size_bytes > self._ask_at:
            self._archive.admit()
            self._ask_at = size_bytes + _ASK_AGAIN_BYTES
        with _storage_errors():
            self._spool.write(part)

    def finish(self) -> Verdict:
        """Read the header, keep the instance and return when it is durable.

        Raises
        ------
        HeaderUnreadable, UidRejected
            The data set cannot be understood.
        CommandContradicted
            The data set names another SOP Class or Instance than was announced.
        storage.errors.Unavailable
            The archive cannot answer for now.
        """
        transfer_syntax_uid, *announced = self._announced
        header = read_header(self._spool.head(HEAD_BYTES), transfer_syntax_uid, self._read)
        if [header.sop_class_uid, header.sop_instance_uid] != announced:
            raise CommandContradicted
        self.header = header
        arrival = Arrival(
            key=self._spool.key,
            size_bytes=self._spool.size_bytes,
            meta_bytes=self._spool.meta_bytes,
            header=header,
            origin=self._origin,
            checksum=self._spool.checksum,
        )
        return self._archive.keep(self._spool, arrival)

    def _read(self, offset: int, length: int) -> bytes:
        file = self._spool.reader()
        file.seek(self._spool.meta_bytes + offset)
        return file.read(length)

    def close(self) -> None:
        """Forget what has not been kept."""
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _header_within(head: bytes, transfer_syntax_uid: str) -> Header | None:
    """Read a header that ends within `head`, None where it does not."""
    try:
        return read_header(head, transfer_syntax_uid, unreadable_beyond(head))
    except HeaderUnreadable:
        return None


def _chunks(source: Iterable[Piece] | BinaryIO) -> Iterable[Piece]:
    """Read a stream in pieces; leave what comes in pieces already as it is."""
    read = getattr(source, "read", None)
    return iter(partial(read, _CHUNK), b"") if read else source


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Tell a full disk and a broken one in the archive's words."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutOfSpace from error
        raise ObjectStoreUnavailable(f"the spool folder cannot be written: {error.strerror}") from error

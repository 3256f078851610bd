"""A segment of a journal: a file of records that is written from its start again and again.

The first block names the segment's generation; a record is a header block and the bytes of one object, padded to whole
blocks.  Records of another generation, whole as they may be, are what an earlier use of the file has left behind.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from storage.records import ObjectKey
from storage.sync import sync_folder
from storage.whole import meta_length

BLOCK: Final = 4096
"""What a disk writes at once, and what O_DIRECT wants memory, offsets and lengths to be multiples of."""
SEGMENT_BYTES: Final = 8 << 20
MOST_BYTES: Final = 4 << 20
"""The longest object that goes into a journal: longer ones take as long twice."""
SUFFIX: Final = ".segment"
UNFINISHED: Final = ".new"
GENERATION_BYTES: Final = 16

START_MAGIC: Final = b"ROIJRNL\1"
RECORD_MAGIC: Final = b"ROIRECD\1"
_START: Final = Struct(f"<8s{GENERATION_BYTES}s")
_RECORD: Final = Struct(f"<8s{GENERATION_BYTES}sQ32sQ")
"""Magic, generation, offset of this block in the file, key, length of the object."""
_CRC: Final = Struct("<I")


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One object as a segment holds it."""

    key: ObjectKey
    generation: bytes
    content: memoryview

    @property
    def is_whole(self) -> bool:
        """Whether these are the bytes that the key names: a record that a power cut tore is not."""
        return is_whole(self.key, self.content)


def is_whole(key: ObjectKey, content: memoryview) -> bool:
    """Tell whether a Part 10 file's data set, which follows its file meta information, has this digest."""
    return hashlib.sha256(content[meta_length(content) :]).hexdigest() == key


def room_of(size_bytes: int) -> int:
    """Return how many bytes of a segment a record of an object takes."""
    return BLOCK + (size_bytes + BLOCK - 1) // BLOCK * BLOCK


@dataclass(eq=False, kw_only=True)
class Segment:
    """A segment that this process writes to; the lock on its descriptor tells others so.

    The journal that has it guards `end`, `under_way` and `targets`.
    """

    path: Path
    descriptor: int
    generation: bytes = b""
    end: int = BLOCK
    """Where the next record goes."""
    under_way: int = 0
    """Records that have a place, but whose object may have no name yet."""
    targets: list[str] = field(default_factory=list)
    """The names of the objects whose records it holds."""

    @classmethod
    def make(cls, folder: Path) -> Segment:
        """Make one in `folder`, locked before it can be seen for what it is."""
        name = secrets.token_hex(8)
        hidden, path = folder / f"{name}{UNFINISHED}", folder / f"{name}{SUFFIX}"
        segment = cls(path=path, descriptor=_open_direct(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        try:
            fcntl.flock(segment.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            segment.restart()
            hidden.rename(path)
            sync_folder(folder)
        except BaseException:
            segment.drop()
            hidden.unlink(missing_ok=True)
            raise
        return segment

    def restart(self) -> None:
        """Begin a new generation: what the segment holds is held no more, also after a power cut."""
        self.generation = secrets.token_bytes(GENERATION_BYTES)
        told = _START.pack(START_MAGIC, self.generation)
        with mmap.mmap(-1, BLOCK) as block:
            block.write(told + _CRC.pack(crc32(told)))
            os.pwrite(self.descriptor, block, 0)
        os.fdatasync(self.descriptor)
        self.end, self.targets = BLOCK, []

    def write(self, offset: int, key: ObjectKey, source: int, size_bytes: int) -> bool:
        """Write the record of the object in the file `source` to its place; where True, it survives a power cut now.

        False where that is no Part 10 file, or the disk took a part only: such a record is not valid.
        """
        within = size_bytes // BLOCK * BLOCK
        with (
            mmap.mmap(source, size_bytes, prot=mmap.PROT_READ) as mapped,
            mmap.mmap(-1, 2 * BLOCK) as edges,
            memoryview(mapped) as content,
            memoryview(edges) as edge,
            content[:within] as middle,
            edge[:BLOCK] as head,
            edge[BLOCK:] as tail,
        ):
            if meta_length(content) >= size_bytes:
                return False
            told = _header(self.generation, offset, key, size_bytes)
            head[: len(told)] = told
            tail[: size_bytes - within] = content[within:]
            # The object's bytes go to the disk from the page cache where they are; whole blocks, as O_DIRECT wants it.
            parts = [part for part in (head, middle, tail if size_bytes > within else b"") if part]
            if os.pwritev(self.descriptor, parts, offset) < room_of(size_bytes):
                return False
        os.fdatasync(self.descriptor)
        return True

    def drop(self) -> None:
        """Forget the file: what it held is held elsewhere."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


# ------------------------------------------------------------------------------------------------------ reading
def generation_of(path: Path) -> bytes | None:
    """Return which generation of records a segment holds now; None where it holds none, or has gone."""
    try:
        with path.open("rb") as file:
            return _generation(file.read(BLOCK))
    except FileNotFoundError:
        return None


def records(path: Path) -> Iterator[Record]:
    """Yield the records of a segment's generation; the object of each may be torn.

    Records are written at the same time, and a power cut may have kept a later one and not an earlier one: every block
    may be the beginning of a record.  A generation cannot be guessed, so that no object looks like records.
    """
    with path.open("rb") as file:
        generation = _generation(file.read(BLOCK))
        position, size = BLOCK, path.stat().st_size
        while generation and position + BLOCK <= size:
            file.seek(position)
            found = _read_header(file.read(BLOCK), generation, position)
            if found is None:
                position += BLOCK
                continue
            key, length = found
            content = file.read(length)
            if len(content) == length:
                yield Record(key=key, generation=generation, content=memoryview(content))
            # Nothing is stepped over but the header: of a torn record nobody knows how much was written.
            position += BLOCK if len(content) < length else room_of(length)


def _generation(block: bytes) -> bytes | None:
    if len(block) < BLOCK:
        return None
    magic, generation = _START.unpack_from(block)
    if magic != START_MAGIC or _CRC.unpack_from(block, _START.size)[0] != crc32(block[: _START.size]):
        return None
    return bytes(generation)


def _header(generation: bytes, offset: int, key: ObjectKey, size_bytes: int) -> bytes:
    told = _RECORD.pack(RECORD_MAGIC, generation, offset, bytes.fromhex(key), size_bytes)
    return told + _CRC.pack(crc32(told))


def _read_header(block: bytes, generation: bytes, position: int) -> tuple[ObjectKey, int] | None:
    if len(block) < BLOCK or not block.startswith(RECORD_MAGIC + generation):
        return None
    _, _, offset, key, length = _RECORD.unpack_from(block)
    crc_holds = _CRC.unpack_from(block, _RECORD.size)[0] == crc32(block[: _RECORD.size])
    if not crc_holds or offset != position or length > MOST_BYTES:
        return None
    return ObjectKey(key.hex()), length


# ------------------------------------------------------------------------------------------------------- the disk
def _open_direct(path: Path, flags: int) -> int:
    """Open past the page cache, or through it where the file system knows no other way."""
    try:
        return os.open(path, flags | os.O_DIRECT, 0o644)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        path.unlink(missing_ok=True)  # some make the file before they refuse
        return os.open(path, flags, 0o644)

"""A kept instance on its way out: read once from start to end, and checked as it passes."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final

from storage.checksum import Check
from storage.errors import ObjectCorrupt

if TYPE_CHECKING:
    from storage.buffers import Buffers
    from storage.records import InstanceRecord

PIECE: Final = 1 << 20
_AT_ONCE: Final[int | None] = getattr(os, "RWF_NOWAIT", None)
"""preadv(2): give what lies in memory, and wait for nothing.  Linux has it."""


class Reading:
    """The Part 10 bytes of one instance in pieces of up to `PIECE`.  Used by one thread at a time.

    The last piece is given once all bytes have been found to be those that were received, so that nothing of an
    instance that fits into one piece is given before.
    """

    def __init__(self, stream: BinaryIO, instance: InstanceRecord) -> None:
        self._stream = stream
        self._key = instance.object_key
        self._check = Check(instance)
        self._position = 0
        self._size = instance.size_bytes
        self._meta_bytes = instance.meta_bytes
        self._file = _descriptor(stream)

    @property
    def is_file(self) -> bool:
        """Whether it is read from a file, which may lie in memory, and not from a connection."""
        return self._file is not None

    @property
    def is_over(self) -> bool:
        """Whether everything has been given."""
        return self._position >= self._size

    def read(self) -> bytes:
        """Return the next piece, nothing at the end.

        Raises
        ------
        ObjectCorrupt
            In place of the last piece, where the bytes are not what was received.
        """
        if self.is_over:
            return b""
        length = min(PIECE, self._size - self._position)
        piece = self._stream.read(length) if self._file is None else _read_at(self._file, self._position, length)
        self._pass(piece, length)
        return piece

    def read_at_once(self, buffers: Buffers, before: bytes = b"") -> memoryview | None:
        """Return `before` and the next piece in one of `buffers`; None where that takes waiting, or long: call `read`.

        Raises
        ------
        ObjectCorrupt
            As `read`.
        """
        if self._file is None or _AT_ONCE is None or not self._check.is_quick:
            return None
        length = min(PIECE, self._size - self._position)
        whole = buffers.take(len(before) + length)
        whole[: len(before)] = before
        piece = whole[len(before) :]
        try:
            count = os.preadv(self._file, [piece], self._position, _AT_ONCE)
        except OSError:  # not in memory, or a file system that cannot tell; what else is wrong, `read` will say
            return None
        if count < length:
            return None
        self._pass(piece, length)
        return whole

    def close(self) -> None:
        """Close what it is read from."""
        self._stream.close()

    def _pass(self, piece: bytes | memoryview, length: int) -> None:
        self._check.update(memoryview(piece)[max(0, self._meta_bytes - self._position) :])
        self._position += length
        if len(piece) < length or (self.is_over and self._more()):
            raise ObjectCorrupt(f"object {self._key} no longer has its length")
        if self.is_over:
            self._check.finish()

    def _more(self) -> bytes:
        return self._stream.read(1) if self._file is None else os.pread(self._file, 1, self._position)


def _read_at(file: int, offset: int, length: int) -> bytes:
    """Return `length` bytes from `offset`, fewer only at the file's end."""
    piece = os.pread(file, length, offset)
    while len(piece) < length and (more := os.pread(file, length - len(piece), offset + len(piece))):
        piece += more
    return piece


def _descriptor(stream: BinaryIO) -> int | None:
    with suppress(io.UnsupportedOperation, AttributeError):
        return stream.fileno()
    return None

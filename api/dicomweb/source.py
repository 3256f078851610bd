"""The bytes of a kept data set, read where needed, never all at once."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from api.errors import DataSetUnreadable
from pacs_gateway.elements import Encoding, encoding_of
from storage.errors import ObjectCorrupt

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.records import InstanceRecord

WINDOW: Final = 64 * 1024
PIECE: Final = 1024 * 1024
MAX_INFLATED: Final = 512 * 1024 * 1024
"""Deflated data sets are inflated in memory; a longer one is a bomb, or wants another way."""

Read = Callable[[int, int], bytes]
"""(offset, length) -> that many bytes, fewer only at the end."""


class Source:
    """A data set of `size` bytes behind `read`, which is called with offsets that only grow.

    At least `window` bytes are read at a time.  Used by one thread.
    """

    def __init__(self, read: Read, size: int, window: int = WINDOW) -> None:
        self._read = read
        self.size = size
        self._least = window
        self._window = b""
        self._start = 0

    def take(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes.

        Raises
        ------
        DataSetUnreadable
            The data set ends before them.
        """
        if offset + length > self.size:
            raise DataSetUnreadable
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._window):
            kept = self._window[begin:] if begin >= 0 else b""
            self._window = kept + self._read(offset + len(kept), max(length - len(kept), self._least))
            self._start, begin = offset, 0
        taken = self._window[begin : begin + length]
        if len(taken) < length:
            raise DataSetUnreadable
        return taken

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes from `offset` in pieces, each but the first and last `PIECE` long."""
        while length:
            here = self._window[offset - self._start :] if offset >= self._start else b""
            step = min(length, len(here) - len(here) % 8 or PIECE)
            yield here[:step] if len(here) >= step else self._beyond(offset, step, here)
            offset, length = offset + step, length - step

    def _beyond(self, offset: int, length: int, here: bytes) -> bytes:
        piece = here + self._read(offset + len(here), length - len(here))
        if len(piece) < length:
            raise DataSetUnreadable
        self._window, self._start = b"", offset + length
        return piece


def stored(archive: Archive, instance: InstanceRecord) -> Source:
    """Return the data set of a kept instance, inflated where it is deflated as a whole (PS3.5 A.5)."""
    return Source(*reader(archive, instance))


def reader(archive: Archive, instance: InstanceRecord) -> tuple[Read, int]:
    """Return how to read a kept data set at any offset, inflated where it is deflated as a whole, and its size."""
    size = instance.size_bytes - instance.meta_bytes

    def read(offset: int, length: int) -> bytes:
        begin = instance.meta_bytes + offset
        with archive.objects.open(instance.object_key, offset=begin, length=length) as stream:
            return stream.read(length)

    if encoding_of(instance.transfer_syntax_uid) is not Encoding.DEFLATED:
        return read, size
    content = _inflated(_checked(read, size, instance), size)
    return (lambda offset, length: content[offset : offset + length]), len(content)


def _checked(read: Read, size: int, instance: InstanceRecord) -> Read:
    """Read from start to end; `storage.errors.ObjectCorrupt` with the last piece of what was not received."""
    digest = hashlib.sha256()

    def checked(offset: int, length: int) -> bytes:
        piece = read(offset, length)
        digest.update(piece)
        if offset + length >= size and digest.hexdigest() != instance.object_key:
            raise ObjectCorrupt(f"object {instance.object_key} no longer has its digest")
        return piece

    return checked


def _inflated(read: Read, size: int) -> bytes:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    content = bytearray()
    try:
        for offset in range(0, size, PIECE):
            content += inflate.decompress(read(offset, PIECE), MAX_INFLATED + 1 - len(content))
            if len(content) > MAX_INFLATED:
                raise DataSetUnreadable(f"the deflated data set holds more than {MAX_INFLATED} bytes")
    except zlib.error:
        raise DataSetUnreadable from None
    return bytes(content)


class Checked:
    """A `Read` over `Archive.chunks`: forward only, and `finish` tells whether the digest still holds."""

    def __init__(self, archive: Archive, instance: InstanceRecord) -> None:
        self._chunks = archive.chunks(instance)
        self._held = bytearray()
        self._position = -instance.meta_bytes

    def __call__(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`, which is not before what was read last."""
        while offset > self._position and (self._held or self._fill()):
            self._drop(min(offset - self._position, len(self._held)))
        while len(self._held) < length and self._fill():
            pass
        taken = bytes(memoryview(self._held)[:length])
        self._drop(len(taken))
        return taken

    def finish(self) -> None:
        """Read what is left; `storage.errors.ObjectCorrupt` where the bytes are not those that were received."""
        while self._fill():
            self._held.clear()

    def _fill(self) -> bool:
        chunk = next(self._chunks, b"")
        self._held += chunk
        return bool(chunk)

    def _drop(self, count: int) -> None:
        del self._held[:count]
        self._position += count

"""gzip on the way out, for JSON and XML only: pixels are compressed already, or asked for as they are (W-10)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from api.dicomweb.media import weight

if TYPE_CHECKING:
    from fastapi import Request

GZIP: Final = {"Content-Encoding": "gzip"}
_GZIP_HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_GZIP_END: Final = Struct("<II")
_BARE_FORMAT: Final = -zlib.MAX_WBITS
_FAST: Final = 1  # metadata shrinks to a tenth even so
_WELL: Final = 6
_ACCEPTED: Final = re.compile(r"\s*([\w*-]+)\s*(?:;\s*q\s*=\s*([\d.]+))?\s*")


def wanted(request: Request) -> bool:
    """Tell whether a client takes gzip (RFC 9110 12.5.3)."""
    parts = (_ACCEPTED.fullmatch(part) for part in request.headers.get("accept-encoding", "")[:1024].split(","))
    weights = {part[1].lower(): weight(part[2] or "1") for part in parts if part is not None}
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


class Squeezed(NamedTuple):
    """Text that was squeezed before: deflate blocks that end at a byte and lean on nothing before them."""

    content: bytes
    crc: int
    text_bytes: int

    @property
    def text(self) -> bytes:
        """The text itself."""
        return zlib.decompressobj(_BARE_FORMAT).decompress(self.content)


def squeezed(text: bytes) -> Squeezed:
    """Squeeze text, once and well, for any number of streams."""
    squeeze = zlib.compressobj(_WELL, zlib.DEFLATED, _BARE_FORMAT)
    content = squeeze.compress(text) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return Squeezed(content, zlib.crc32(text), len(text))


def gzipped(pieces: Iterable[bytes | Squeezed]) -> Iterator[bytes]:
    """Yield `pieces` as one gzip stream of one member, the same bytes each time: it names no time (RFC 1952).

    What is squeezed already goes out as it is.  One member, since browsers read no other.
    """
    squeeze = zlib.compressobj(_FAST, zlib.DEFLATED, _BARE_FORMAT)
    crc, size = 0, 0
    yield _GZIP_HEAD
    for piece in pieces:
        if isinstance(piece, Squeezed):
            crc, size = _crc_of_both(crc, piece.crc, piece.text_bytes), size + piece.text_bytes
            yield squeeze.flush(zlib.Z_FULL_FLUSH) + piece.content
        else:
            crc, size = zlib.crc32(piece, crc), size + len(piece)
            if made := squeeze.compress(piece):
                yield made
    yield squeeze.flush() + _GZIP_END.pack(crc, size & 0xFFFFFFFF)


def plain(pieces: Iterable[bytes | Squeezed]) -> Iterator[bytes]:
    """Yield `pieces` as text."""
    return (piece.text if isinstance(piece, Squeezed) else piece for piece in pieces)


# ------------------------------------------------------------------------- the check sum of two texts from theirs
def _crc_of_both(first: int, second: int, second_bytes: int) -> int:
    """Return the CRC-32 of two texts, one after the other: the first is moved on by the length of the second.

    A CRC is a polynomial over GF(2) modulo a fixed one; so many bytes more multiply it by x to the power of their bits.
    """
    power, bits = 1 << 31, 3  # 1, and x to the power of 2 to the power of 3: one byte
    while second_bytes:
        if second_bytes & 1:
            power = _product(_DOUBLINGS[bits & 31], power)
        second_bytes, bits = second_bytes >> 1, bits + 1
    return _product(power, first) ^ second


def _product(first: int, second: int) -> int:
    """Return the product of two polynomials modulo that of CRC-32, the lowest power in the highest bit."""
    product, bit = 0, 1 << 31
    while bit:
        if first & bit:
            product ^= second
        second = second >> 1 ^ (_POLYNOMIAL if second & 1 else 0)
        bit >>= 1
    return product


def _doublings() -> list[int]:
    """Return x to the power of 1, 2, 4, ... 2 to the power of 31."""
    found = [1 << 30]
    for _ in range(31):
        found.append(_product(found[-1], found[-1]))
    return found


_POLYNOMIAL: Final = 0xEDB88320
_DOUBLINGS: Final = _doublings()

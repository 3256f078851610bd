"""Data elements of any encoding, walked without recursion and with a limit on everything a sender can name.

A general reader of datasets recurses into sequences as deep as the sender likes and allocates what lengths say.  This
one only steps over what nobody asked for: (PS3.5 7.1, 7.5, Annex A).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from enum import Enum
from struct import Struct
from typing import Final, Literal

from pacs_gateway.errors import HeaderUnreadable

MAX_DEPTH: Final = 64
"""Sequences within sequences; real objects stay below ten."""

MAX_ELEMENTS: Final = 200_000
"""Elements stepped over before the last attribute wanted."""

MAX_INFLATED: Final = 64 * 1024 * 1024
"""Inflated bytes looked through for a header."""

SHORT_FORM: Final = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
"""VRs with a two-byte length (PS3.5 Table 7.1-2)."""

LONG_FORM: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""VRs with two reserved bytes and a four-byte length (PS3.5 Table 7.1-1); so is every VR yet to come."""

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_DELIMITERS: Final = frozenset({_ITEM, _ITEM_END, _SEQUENCE_END})

Reader = Callable[[int, int], bytes]
"""(offset, length) -> that many data set bytes, fewer only at the end."""


class Encoding(Enum):
    """How elements are written: explicit VR or not, in which byte order, deflated as a whole or not (PS3.5 A)."""

    IMPLICIT_LITTLE = (False, "little", False)
    EXPLICIT_LITTLE = (True, "little", False)
    EXPLICIT_BIG = (True, "big", False)
    DEFLATED = (True, "little", True)

    def __init__(self, explicit: bool, byteorder: Literal["little", "big"], deflated: bool) -> None:
        self.explicit = explicit
        self.byteorder = byteorder
        self.deflated = deflated


_ENCODINGS: Final = {
    "1.2.840.10008.1.2": Encoding.IMPLICIT_LITTLE,
    "1.2.840.10008.1.2.2": Encoding.EXPLICIT_BIG,
    "1.2.840.10008.1.2.1.99": Encoding.DEFLATED,
    "1.2.840.10008.1.20": Encoding.IMPLICIT_LITTLE,
    "1.2.840.113619.5.2": Encoding.IMPLICIT_LITTLE,
}


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """Return how elements are written: explicit little endian where nothing else is known (PS3.5 A.4)."""
    return _ENCODINGS.get(transfer_syntax_uid, Encoding.EXPLICIT_LITTLE)


def read_elements(
    read: Reader, encoding: Encoding, wanted: frozenset[int], last: int, max_value_bytes: int, *, welcome: int = 0
) -> dict[int, bytes]:
    """Return the values of `wanted` top-level elements, cut at `max_value_bytes`, walking no further than `last`.

    Between `last` and `welcome` elements are taken as they come: the first that is unreadable, or a sequence of
    undefined length, ends the walk without an error.

    Raises
    ------
    HeaderUnreadable
        The data set ends inside an element, holds group 0000 or 0002, nests too deep, or is not in this encoding.
    """
    source = _Window(_inflated(read) if encoding.deflated else read)
    walk = _Walk(source, encoding)
    values: dict[int, bytes] = {}
    for _ in range(MAX_ELEMENTS):
        if source.at_end(walk.position):
            return values
        tag, length = walk.element()
        if tag > last and tag not in _DELIMITERS:
            return values | _welcome(
                walk, source, wanted, welcome=welcome, tag=tag, length=length, max_value_bytes=max_value_bytes
            )
        if tag >> 16 in {0, 2}:
            raise HeaderUnreadable(f"group {tag >> 16:04x} stands inside the data set")
        begin = walk.position
        if tag in wanted and length != _UNDEFINED:
            values.setdefault(tag, source.take(begin, min(length, max_value_bytes)))
        walk.skip(tag, length)
        if tag in wanted and length == _UNDEFINED:
            values.setdefault(tag, source.take(begin, min(walk.position - begin, max_value_bytes)))
    raise HeaderUnreadable(f"more than {MAX_ELEMENTS} elements stand before the pixels")


def items_of(sequence: bytes, encoding: Encoding) -> Iterator[bytes]:
    """Yield the items of a sequence, whose value this is, or the beginning of it: those that are whole (PS3.5 7.5)."""
    walk = _Walk(_Window(lambda offset, length: sequence[offset : offset + length]), encoding)
    try:
        while walk.position < len(sequence):
            tag, length = walk.element()
            if tag != _ITEM:
                return
            begin = end = walk.position
            if length != _UNDEFINED:
                end = walk.position = begin + length
            else:
                while (element := walk.element())[0] != _ITEM_END:
                    walk.skip(*element)
                    end = walk.position
            if end > len(sequence):
                return
            yield sequence[begin:end]
    except HeaderUnreadable:
        return


def _welcome(
    walk: _Walk, source: _Window, wanted: frozenset[int], *, welcome: int, tag: int, length: int, max_value_bytes: int
) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    try:
        while tag <= welcome and length != _UNDEFINED:
            if tag in wanted:
                values.setdefault(tag, source.take(walk.position, min(length, max_value_bytes)))
            walk.skip(tag, length)
            tag, length = walk.element()
    except HeaderUnreadable:
        return values
    return values


class _Walk:
    """A position in the data set, moved from element to element."""

    def __init__(self, source: _Window, encoding: Encoding) -> None:
        order = "<" if encoding.byteorder == "little" else ">"
        self._source = source
        self._explicit = Struct(f"{order}HH2sH")
        self._implicit = Struct(f"{order}HHI")
        self._long = Struct(f"{order}I")
        self._has_vr = encoding.explicit
        self.position = 0

    def element(self) -> tuple[int, int]:
        """Read one element's tag and length, and move to its value."""
        head = self._source.take(self.position, 8)
        group, element, length = self._implicit.unpack(head)
        tag = group << 16 | element
        self.position += 8
        if not self._has_vr or tag in _DELIMITERS:
            return tag, length
        _, _, vr, length = self._explicit.unpack(head)
        if vr in SHORT_FORM:
            return tag, length
        if not (vr.isalpha() and vr.isupper()):
            raise HeaderUnreadable(f"element ({group:04x},{element:04x}) has no VR where one is due")
        (length,) = self._long.unpack(self._source.take(self.position, 4))
        self.position += 4
        return tag, length

    def skip(self, tag: int, length: int) -> None:
        """Move beyond the value of the element just read, following undefined lengths to their delimiters.

        The stack holds what each open delimiter has to be.  A value of undefined length is a sequence, or fragments
        of pixels, which have the same outer form; below an UN element it is written implicit (PS3.5 6.2.2), which
        the walk tells by the missing VR.
        """
        if tag in _DELIMITERS:
            raise HeaderUnreadable(f"a stray delimiter ({tag >> 16:04x},{tag & 0xFFFF:04x}) stands in the data set")
        if length != _UNDEFINED:
            self.position = self._source.beyond(self.position, length)
            return
        stack = [_SEQUENCE_END]
        for _ in range(MAX_ELEMENTS):
            self._step(stack)
            if not stack:
                return
        raise HeaderUnreadable("a sequence does not end")

    def _step(self, stack: list[int]) -> None:
        """Move over one item, element or delimiter within open sequences."""
        tag, length = self._nested_element()
        inside_item = stack[-1] == _ITEM_END
        if tag == stack[-1]:
            stack.pop()
        elif tag == (_ITEM if not inside_item else tag) and tag not in {_ITEM_END, _SEQUENCE_END}:
            if length != _UNDEFINED:
                self.position = self._source.beyond(self.position, length)
            elif len(stack) >= 2 * MAX_DEPTH:
                raise HeaderUnreadable(f"sequences nest deeper than {MAX_DEPTH}")
            else:
                stack.append(_SEQUENCE_END if inside_item else _ITEM_END)
        else:
            raise HeaderUnreadable("a sequence holds something that is not an item")

    def _nested_element(self) -> tuple[int, int]:
        start = self.position
        try:
            return self.element()
        except HeaderUnreadable:
            head = self._source.take(start, 8)
            self.position = start + 8
            group, element, length = self._implicit.unpack(head)
            return group << 16 | element, length


class _Window:
    """Bytes of the data set near a position, read in large pieces."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._start = 0
        self._bytes = b""

    def take(self, position: int, length: int) -> bytes:
        """Return exactly `length` bytes."""
        offset = position - self._start
        if offset < 0 or offset + length > len(self._bytes):
            self._start, offset = position, 0
            self._bytes = self._read(position, max(length, 65536))
        found = self._bytes[offset : offset + length]
        if len(found) < length:
            raise HeaderUnreadable("the data set ends inside an element")
        return found

    def at_end(self, position: int) -> bool:
        """Tell whether nothing stands at `position`."""
        offset = position - self._start
        return not 0 <= offset < len(self._bytes) and not self._read(position, 1)

    def beyond(self, position: int, length: int) -> int:
        """Return the position after a value, which has to be there to its last byte."""
        if length:
            self.take(position + length - 1, 1)
        return position + length


def _inflated(read: Reader) -> Reader:
    """Return a reader of what `read` yields, inflated up to a limit (PS3.5 A.5: raw deflate)."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = bytearray()
    taken = 0

    def read_plain(offset: int, length: int) -> bytes:
        nonlocal taken
        while len(plain) < offset + length and not inflate.eof:
            packed = inflate.unconsumed_tail
            if not packed:
                packed = read(taken, 16384)
                taken += len(packed)
            if not packed:
                break
            if len(plain) > MAX_INFLATED:
                raise HeaderUnreadable(f"the deflated header is longer than {MAX_INFLATED} bytes")
            try:
                plain.extend(inflate.decompress(packed, 65536))
            except zlib.error as error:
                raise HeaderUnreadable("the deflate stream is corrupt") from error
        return bytes(plain[offset : offset + length])

    return read_plain

"""Implicit and big endian data sets as explicit little endian: web services know nothing else (PS3.18 8.7.3).

No value is decoded, so whatever was sent, legal or not, comes out again; only byte order and framing change.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import TYPE_CHECKING, Final

from api.dicomweb.walk import ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, Kind, Step, walk
from pacs_gateway.elements import SHORT_FORM, Encoding, Reader, encoding_of, read_elements
from pacs_gateway.errors import HeaderUnreadable

if TYPE_CHECKING:
    from api.dicomweb.source import Source

EXPLICIT_LITTLE_UID: Final = "1.2.840.10008.1.2.1"

_SHORT: Final = Struct("<HH2sH")
_LONG: Final = Struct("<HH2sHI")
_ITEM: Final = Struct("<HHI")
_PIXEL_REPRESENTATION: Final = 0x00280103

UNITS: Final = {
    **dict.fromkeys(("US", "SS", "OW", "AT"), "H"),
    **dict.fromkeys(("UL", "SL", "FL", "OF", "OL"), "I"),
    **dict.fromkeys(("FD", "OD", "SV", "UV", "OV"), "Q"),
}
"""VR -> array type code of what its byte order is about (PS3.5 7.3)."""


def is_for_web(transfer_syntax_uid: str) -> bool:
    """Tell whether a data set may leave as it is stored."""
    encoding = encoding_of(transfer_syntax_uid)
    return encoding is not Encoding.IMPLICIT_LITTLE and encoding is not Encoding.EXPLICIT_BIG


def is_signed(read: Reader, encoding: Encoding) -> bool:
    """Return whether (0028,0103) Pixel Representation is 1; it decides the VR of attributes before and after it."""
    try:
        found = read_elements(read, encoding, frozenset({_PIXEL_REPRESENTATION}), _PIXEL_REPRESENTATION, 2)
    except HeaderUnreadable:
        return False
    return found.get(_PIXEL_REPRESENTATION) in {b"\1\0", b"\0\1"}


def explicit_little(source: Source, encoding: Encoding, *, signed: bool) -> Iterator[bytes]:
    """Yield the data set as explicit VR little endian; sequences and items get undefined length.

    Group lengths (gggg,0000), retired and now wrong, are left out.

    Raises
    ------
    DataSetUnreadable
        As `walk`.
    """
    for step in walk(source, encoding, signed=signed):
        yield from reframed(source, step)


def reframed(source: Source, step: Step) -> Iterator[bytes]:
    """Yield one step as explicit VR little endian; nothing for a group length."""
    if step.kind is not Kind.VALUE:
        yield from _framed(source, step)
    elif step.tag & 0xFFFF:
        yield head(step.tag, step.vr.encode(), step.length)
        yield from value_pieces(source, step)


def value_pieces(source: Source, step: Step) -> Iterable[bytes]:
    """Yield a value's bytes in little endian order."""
    pieces = source.pieces(step.start, step.length)
    unit = UNITS.get(step.vr)
    return pieces if step.order == "little" or unit is None else (_swapped(piece, unit) for piece in pieces)


def _swapped(piece: bytes, unit: str) -> bytes:
    values = array(unit)
    whole = len(piece) - len(piece) % values.itemsize
    values.frombytes(piece[:whole])
    values.byteswap()
    return values.tobytes() + piece[whole:]


def head(tag: int, vr: bytes, length: int) -> bytes:
    """Return what stands before a value of this length."""
    group, element = tag >> 16, tag & 0xFFFF
    if vr in SHORT_FORM and length <= 0xFFFF:
        return _SHORT.pack(group, element, vr, length)
    if vr in SHORT_FORM:  # too long for its VR's two bytes (PS3.5 6.2.2 note 2)
        vr = b"UN"
    return _LONG.pack(group, element, vr, 0, length)


def _framed(source: Source, step: Step) -> Iterator[bytes]:
    group, element = step.tag >> 16, step.tag & 0xFFFF
    if step.kind is Kind.SEQUENCE:
        yield _LONG.pack(group, element, b"SQ", 0, UNDEFINED)
    elif step.kind is Kind.ENCAPSULATED:
        yield _LONG.pack(group, element, b"OB", 0, UNDEFINED)
        yield from source.pieces(step.start, step.length)
    elif step.kind is Kind.ITEM:
        yield _ITEM.pack(ITEM >> 16, ITEM & 0xFFFF, UNDEFINED)
    else:
        tag = ITEM_END if step.kind is Kind.ITEM_END else SEQUENCE_END
        yield _ITEM.pack(tag >> 16, tag & 0xFFFF, 0)

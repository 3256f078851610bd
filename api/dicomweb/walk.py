"""A data set of any encoding as a flat run of steps, without recursion and without decoding a value (PS3.5 7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pydicom.datadict import dictionary_VR, private_dictionary_VR

from api.errors import DataSetUnreadable
from pacs_gateway.elements import LONG_FORM, MAX_DEPTH, SHORT_FORM, Encoding

if TYPE_CHECKING:
    from api.dicomweb.source import Source

PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
UNDEFINED: Final = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITERS: Final = frozenset({ITEM, ITEM_END, SEQUENCE_END})
_PIXEL_REPRESENTATION: Final = 0x00280103

_HEADS: Final = {
    "little": (Struct("<HHI"), Struct("<HH2sH"), Struct("<I")),
    "big": (Struct(">HHI"), Struct(">HH2sH"), Struct(">I")),
}

# What an implicit VR leaves open, as PS3.5 A.1 settles it for a little endian data set.
_SETTLED: Final = {"OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW"}

Order = Literal["little", "big"]


class Kind(Enum):
    """What a step is."""

    VALUE = auto()
    ENCAPSULATED = auto()
    """Pixel data in fragments: `length` covers its items and their delimiter."""
    SEQUENCE = auto()
    ITEM = auto()
    ITEM_END = auto()
    SEQUENCE_END = auto()


class Step(NamedTuple):
    """One element, or the border of one; `start` and `length` tell where its value lies."""

    kind: Kind
    tag: int
    vr: str
    start: int
    length: int
    order: Order


@dataclass(slots=True)
class _Level:
    """A data set, or the items of a sequence, that the walk is inside of; `end` is None until a delimiter tells."""

    end: int | None
    encoding: Encoding
    is_sequence: bool
    signed: bool
    creators: dict[int, str] = field(default_factory=dict)


def walk(source: Source, encoding: Encoding, *, signed: bool = False, until_pixels: bool = False) -> Iterator[Step]:
    """Yield the steps of a data set in their order.

    Parameters
    ----------
    source
        The data set, inflated.
    encoding
        How it is written.
    signed
        Whether its own (0028,0103) Pixel Representation is 1: it decides the VR of attributes that may precede it.
    until_pixels
        Whether to end with the step of the pixels, whose length is then as written: their fragments are not walked.

    Raises
    ------
    DataSetUnreadable
        The data set ends inside an element, nests too deep, or is not in this encoding.
    """
    levels = [_Level(source.size, encoding, is_sequence=False, signed=signed)]
    position = 0
    while True:
        level = levels[-1]
        if level.end is not None and _is_over(position, level.end, top=len(levels) == 1):
            levels.pop()
            if not levels:
                return
            yield _border(Kind.SEQUENCE_END if level.is_sequence else Kind.ITEM_END, position)
            continue
        tag, vr, length, position = _element(source, position, level)
        if until_pixels and tag in PIXELS and len(levels) == 1:
            kind = Kind.ENCAPSULATED if length == UNDEFINED else Kind.VALUE
            yield Step(kind, tag, vr, position, length, level.encoding.byteorder)
            return
        if level.is_sequence or tag in _DELIMITERS:
            step = _delimiter(levels, tag, length, position)
        else:
            step = _content(source, levels, Step(Kind.VALUE, tag, vr, position, length, level.encoding.byteorder))
        if len(levels) > 2 * MAX_DEPTH:
            raise DataSetUnreadable(f"sequences nest deeper than {MAX_DEPTH}")
        if step.kind in {Kind.VALUE, Kind.ENCAPSULATED}:
            position += step.length
            if position > source.size:
                raise DataSetUnreadable
        yield step


def _is_over(position: int, end: int, *, top: bool) -> bool:
    if top:  # less than an element's head is padding
        return position + 8 > end
    if position > end:
        raise DataSetUnreadable
    return position == end


def _border(kind: Kind, position: int) -> Step:
    return Step(kind, 0, "", position, 0, "little")


def _delimiter(levels: list[_Level], tag: int, length: int, position: int) -> Step:
    """Enter an item, or leave an item or a sequence."""
    level = levels[-1]
    if level.is_sequence and tag == ITEM:
        end = None if length == UNDEFINED else position + length
        levels.append(_Level(end, level.encoding, is_sequence=False, signed=level.signed))
        return _border(Kind.ITEM, position)
    if len(levels) > 1 and tag == (SEQUENCE_END if level.is_sequence else ITEM_END):
        levels.pop()
        return _border(Kind.SEQUENCE_END if level.is_sequence else Kind.ITEM_END, position)
    raise DataSetUnreadable


def _content(source: Source, levels: list[_Level], step: Step) -> Step:
    """Step over a value, enter a sequence, or find the end of encapsulated pixel data."""
    level = levels[-1]
    if step.length == UNDEFINED and step.vr not in {"SQ", "UN"}:
        if not level.encoding.explicit and step.tag not in PIXELS:
            return _enter(levels, step, level.encoding)
        return step._replace(kind=Kind.ENCAPSULATED, length=_fragments_end(source, step) - step.start)
    if step.vr == "SQ":
        return _enter(levels, step, level.encoding)
    if step.length == UNDEFINED:  # a sequence hidden as UN is implicit little endian (PS3.5 6.2.2 note 4)
        return _enter(levels, step, Encoding.IMPLICIT_LITTLE)
    _learn(source, level, step)
    return step


def _enter(levels: list[_Level], step: Step, encoding: Encoding) -> Step:
    end = None if step.length == UNDEFINED else step.start + step.length
    levels.append(_Level(end, encoding, is_sequence=True, signed=levels[-1].signed))
    return step._replace(kind=Kind.SEQUENCE, vr="SQ")


def _learn(source: Source, level: _Level, step: Step) -> None:
    """Note what the VR of later elements hangs on."""
    if step.tag == _PIXEL_REPRESENTATION and step.length == 2:
        level.signed = source.take(step.start, 2) in {b"\1\0", b"\0\1"}
    elif step.tag >> 16 & 1 and 0x10 <= step.tag & 0xFFFF <= 0xFF and step.length <= 64:
        level.creators[step.tag] = source.take(step.start, step.length).decode("ascii", "replace").strip("\0 ")


def _fragments_end(source: Source, step: Step) -> int:
    """Return where the fragments of encapsulated pixel data end, their delimiter included (PS3.5 A.4)."""
    head = _HEADS[step.order][0]
    position = step.start
    while True:
        group, element, length = head.unpack(source.take(position, 8))
        position += 8
        if (group, element) == (0xFFFE, 0xE0DD):
            return position
        if (group, element) != (0xFFFE, 0xE000) or length == UNDEFINED:
            raise DataSetUnreadable
        position += length


def _element(source: Source, position: int, level: _Level) -> tuple[int, str, int, int]:
    """Return tag, VR and length of the element at `position`, and where its value starts."""
    plain, explicit, long = _HEADS[level.encoding.byteorder]
    head = source.take(position, 8)
    group, element, length = plain.unpack(head)
    tag = group << 16 | element
    if tag in _DELIMITERS:
        return tag, "", length, position + 8
    if not level.encoding.explicit:
        return tag, _implied_vr(tag, level), length, position + 8
    _, _, vr, length = explicit.unpack(head)
    if vr in SHORT_FORM:
        return tag, vr.decode(), length, position + 8
    if vr not in LONG_FORM and not (vr.isalpha() and vr.isupper()):
        raise DataSetUnreadable
    return tag, vr.decode(), long.unpack(source.take(position + 8, 4))[0], position + 12


def _implied_vr(tag: int, level: _Level) -> str:
    group, element = tag >> 16, tag & 0xFFFF
    if element == 0:
        return "UL"
    try:
        if group & 1:
            if 0x10 <= element <= 0xFF:
                return "LO"
            vr = private_dictionary_VR(tag, level.creators.get(group << 16 | element >> 8, ""))
        else:
            vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    if vr == "US or SS":
        return "SS" if level.signed else "US"
    return _SETTLED.get(vr, vr)

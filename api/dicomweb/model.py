"""The DICOM JSON Model (PS3.18 F): from a data set's bytes, and from values that we hold ourselves."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword

from api.dicomweb.explicit import value_pieces
from api.dicomweb.walk import PIXELS, Kind, Step, walk
from pacs_gateway.charset import Encodings, decode_text, encodings_of

if TYPE_CHECKING:
    from api.dicomweb.source import Source
    from pacs_gateway.elements import Encoding

Element = dict[str, Any]
DataSet = dict[str, Element]

BULK_BYTES: Final = 1024
"""Longer values become a BulkDataURI, where their VR allows one; pixel data always does."""

_WHOLE_TEXTS: Final = ("LT", "ST", "UR", "UT")
_TEXTS: Final = ("AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI")
_FORMATS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "SV": "q", "UV": "Q"}
_BINARY: Final = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
_BULK_VRS: Final = frozenset({*_BINARY, *_FORMATS, "DS", "IS", "LT", "ST", "UC", "UT"})
"""PS3.18 F.2.2."""

_INTEGER: Final = re.compile(r"[+-]?\d{1,15}")
_DECIMAL: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_LINES: Final = re.compile(rb"([\r\n\t\f]+)")
_EXACT: Final = 2**53
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_CHARSET: Final = 0x00080005


# ------------------------------------------------------------------------------------------- from values we hold
def element(keyword: str, value: object) -> tuple[str, Element]:
    """Return an attribute's tag and its JSON; None, an empty text and an empty tuple give one without Value."""
    tag, vr = place_of(keyword)
    values = list(value) if isinstance(value, tuple | list) else [value]
    values = [name_groups(part) if vr == "PN" else part for part in values if part not in {None, ""}]
    return tag, {"vr": vr, "Value": values} if values else {"vr": vr}


@cache
def place_of(keyword: str) -> tuple[str, str]:
    """Return an attribute's tag, as JSON writes it, and its VR."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise LookupError(keyword)
    return f"{tag:08X}", dictionary_VR(tag)


def name_groups(name: object) -> dict[str, str]:
    """Return a person name's groups, those that hold something (PS3.18 F.2.2)."""
    if "=" not in (alone := str(name)):
        return {"Alphabetic": alone} if alone else {}
    return {group: part for group, part in zip(_GROUPS, alone.split("="), strict=False) if part}


# ------------------------------------------------------------------------------------------ from a data set's bytes
@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where in the data set the reader is: how its text is coded, and the path of its bulk data."""

    encodings: Encodings
    bulk_url: str
    path: tuple[str, ...] = ()
    longest: int = BULK_BYTES

    def uri(self, tag: int) -> str:
        return "/".join((self.bulk_url, *self.path, f"{tag:08X}"))


def as_model(
    source: Source, encoding: Encoding, *, bulk_url: str, signed: bool = False, longest: int = BULK_BYTES
) -> DataSet:
    """Return a data set in the DICOM JSON Model: sorted tags, no group length, bulk data as URIs below `bulk_url`.

    Bulk are pixels, and values of more than `longest` bytes.

    Text that does not fit its character set is replaced; a number that is none stays a string; a binary value whose
    length does not fit its VR goes out as UN.  Nothing is left out.

    Raises
    ------
    DataSetUnreadable
        As `walk`.
    """
    place = _Place(encodings=encodings_of(b""), bulk_url=bulk_url, longest=longest)
    return _data_set(source, walk(source, encoding, signed=signed), place)


def _data_set(source: Source, steps: Iterator[Step], place: _Place) -> DataSet:
    found: DataSet = {}
    for step in steps:
        if step.kind is Kind.ITEM_END:
            break
        if step.kind is Kind.SEQUENCE:
            inner = replace(place, path=(*place.path, f"{step.tag:08X}"))
            made = _sequence(source, steps, inner)
        else:
            made = _value(source, step, place)
        if step.tag == _CHARSET and step.length <= BULK_BYTES:
            codecs = encodings_of(source.take(step.start, step.length))
            place = replace(place, encodings=codecs)
        if step.tag & 0xFFFF and step.tag >> 16 > 2:
            found.setdefault(f"{step.tag:08X}", made)
    return dict(sorted(found.items()))


def _sequence(source: Source, steps: Iterator[Step], place: _Place) -> Element:
    items: list[DataSet] = []
    for step in steps:
        if step.kind is Kind.SEQUENCE_END:
            break
        inner = replace(place, path=(*place.path, str(len(items))))
        items.append(_data_set(source, steps, inner))
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def _value(source: Source, step: Step, place: _Place) -> Element:
    if step.kind is Kind.ENCAPSULATED:
        return {"vr": "OB" if step.tag in PIXELS else step.vr, "BulkDataURI": place.uri(step.tag)}
    if step.length == 0:
        return {"vr": step.vr}
    if is_bulk(step, place.longest):
        return {"vr": step.vr, "BulkDataURI": place.uri(step.tag)}
    vr = _true_vr(step)
    return _READERS.get(vr, _inline)(vr, b"".join(value_pieces(source, step)), place.encodings)


def is_bulk(step: Step, longest: int = BULK_BYTES) -> bool:
    """Tell whether metadata give a step's value as a BulkDataURI."""
    if step.kind is not Kind.VALUE or not step.length:
        return step.kind is Kind.ENCAPSULATED
    return step.tag in PIXELS or (step.length > longest and step.vr in _BULK_VRS)


def _true_vr(step: Step) -> str:
    """Return the VR of a known attribute that was sent as UN, where a reader of ours loses nothing by it."""
    if step.vr != "UN" or not dictionary_has_tag(step.tag):
        return step.vr
    vr = dictionary_VR(step.tag)
    return vr if vr in _READERS else step.vr


def find(steps: Iterator[Step], path: tuple[str, ...]) -> Step | None:
    """Return the step of the value that a bulk data path names, None where there is none."""
    return next((step for place, step in placed(steps) if place == path), None)


def placed(steps: Iterator[Step]) -> Iterator[tuple[tuple[str, ...], Step]]:
    """Yield the values among steps, each with its bulk data path."""
    trail: list[str] = []
    count: list[int] = []
    for step in steps:
        if step.kind is Kind.SEQUENCE:
            trail.append(f"{step.tag:08X}")
            count.append(-1)
        elif step.kind is Kind.ITEM:
            count[-1] += 1
        elif step.kind is Kind.SEQUENCE_END:
            trail.pop()
            count.pop()
        elif step.kind in {Kind.VALUE, Kind.ENCAPSULATED}:
            above = [part for pair in zip(trail, map(str, count), strict=True) for part in pair]
            yield (*above, f"{step.tag:08X}"), step


# ------------------------------------------------------------------------------------------------ VR -> JSON values
def _text(value: bytes, encodings: Encodings) -> str:
    """Decode text, its line ends and its leading spaces kept."""
    lines = _LINES.split(value.rstrip(b"\0 "))
    return "".join(part.decode("ascii") if place % 2 else _line(part, encodings) for place, part in enumerate(lines))


def _line(part: bytes, encodings: Encodings) -> str:
    leading = len(part) - len(part.lstrip(b" "))
    trailing = len(part) - len(part.rstrip(b" ")) if leading < len(part) else 0
    return " " * leading + decode_text(part, encodings) + " " * trailing


def _of_values(vr: str, values: list[Any]) -> Element:
    return {"vr": vr, "Value": values} if any(value is not None for value in values) else {"vr": vr}


def _texts(vr: str, value: bytes, encodings: Encodings) -> Element:
    parts = [part.strip(" \0") for part in _text(value, encodings).split("\\")]
    return _of_values(vr, [part or None for part in parts])


def _whole_text(vr: str, value: bytes, encodings: Encodings) -> Element:
    return _of_values(vr, [_text(value, encodings) or None])


def _names(vr: str, value: bytes, encodings: Encodings) -> Element:
    return _of_values(vr, [name_groups(part.strip()) or None for part in _text(value, encodings).split("\\")])


def _number_texts(vr: str, value: bytes, encodings: Encodings) -> Element:
    read = _integer if vr == "IS" else _decimal
    return _of_values(
        vr, [read(part.strip()) if part.strip() else None for part in _text(value, encodings).split("\\")]
    )


def _integer(text: str) -> int | str:
    return int(text) if _INTEGER.fullmatch(text) else text


def _decimal(text: str) -> float | int | str:
    """Return a number where a double holds it exactly as written, else the text (PS3.18 F.2.3)."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if not _DECIMAL.fullmatch(text) or sum(letter.isdigit() for letter in text) > 15:
        return text
    number = float(text)
    return number if math.isfinite(number) else text


def _numbers(vr: str, value: bytes, encodings: Encodings) -> Element:
    unit = Struct(f"<{_FORMATS[vr]}")
    if len(value) % unit.size:
        return _inline("UN", value, encodings)
    return _of_values(vr, [_safe(number) for (number,) in unit.iter_unpack(value)])


def _safe(number: float) -> float | str:
    """Return what JSON can hold: NaN, infinities and integers beyond a double's reach as text."""
    if isinstance(number, float):
        return number if math.isfinite(number) else {True: "NaN", False: str(number)}[math.isnan(number)]
    return number if -_EXACT <= number <= _EXACT else str(number)


def _tags(vr: str, value: bytes, encodings: Encodings) -> Element:
    pair = Struct("<HH")
    if len(value) % pair.size:
        return _inline("UN", value, encodings)
    return _of_values(vr, [f"{group:04X}{number:04X}" for group, number in pair.iter_unpack(value)])


def _inline(vr: str, value: bytes, _: Encodings) -> Element:
    return {"vr": vr, "InlineBinary": base64.b64encode(value).decode()}


_Reader = Callable[[str, bytes, Encodings], Element]

_READERS: Final[Mapping[str, _Reader]] = {
    **dict.fromkeys(_TEXTS, _texts),
    **dict.fromkeys(_WHOLE_TEXTS, _whole_text),
    **dict.fromkeys(_FORMATS, _numbers),
    **dict.fromkeys(("IS", "DS"), _number_texts),
    "PN": _names,
    "AT": _tags,
}

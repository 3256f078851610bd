"""A data set of the DICOM JSON Model as explicit VR little endian bytes (PS3.5 7.1.2, PS3.18 F.2).

Text that is not plain ASCII is written as UTF-8, and (0008,0005) Specific Character Set then says so.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from struct import Struct
from typing import Any, Final

import orjson
from pydicom.valuerep import format_number_as_ds

from api.dicomweb.model import DataSet, Element
from pacs_gateway.elements import MAX_DEPTH, SHORT_FORM
from pacs_gateway.errors import HeaderUnreadable

_SHORT: Final = Struct("<HH2sH")
_LONG: Final = Struct("<HH2sHI")
_ITEM: Final = Struct("<HHI")
_PAIR: Final = Struct("<HH")
_UNDEFINED: Final = 0xFFFFFFFF
_TAG: Final = re.compile("[0-9A-Fa-f]{8}")
_CHARSET: Final = "00080005"
_PIXELS: Final = "7FE00010"
LEFT_OUT: Final = frozenset({"00083002", "00081190"})
"""What an answer of ours adds: (0008,3002) Available Transfer Syntax UID and (0008,1190) Retrieve URL."""

_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "SV": "q", "UV": "Q"}
_TEXTS: Final = ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
_BINARY: Final = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")


class Bulk:
    """A value that came apart from its data set."""

    def __init__(self, length: int, pieces: Callable[[], Iterator[bytes]], *, encapsulated: bool = False) -> None:
        self.length = length
        self.pieces = pieces
        self.encapsulated = encapsulated


Find = Callable[[str, str], Bulk]
"""(tag, BulkDataURI) -> the value; `HeaderUnreadable` where none came."""


def write(model: DataSet, find: Find) -> Iterator[bytes]:
    """Yield a data set's bytes; sequences and items get undefined length.

    Raises
    ------
    HeaderUnreadable
        A tag, a VR or a value is none, a value does not fit its VR, or a bulk value did not come.
    """
    try:
        unicode = not orjson.dumps(model).isascii()
    except TypeError:  # half a surrogate pair, or a number beyond 64 bits
        raise HeaderUnreadable("the metadata holds what no value can") from None
    if unicode:
        model = {**model, _CHARSET: {"vr": "CS", "Value": ["ISO_IR 192"]}}
    return _data_set(model, find, depth=0, unicode=unicode)


def _data_set(model: DataSet, find: Find, *, depth: int, unicode: bool) -> Iterator[bytes]:
    if depth > MAX_DEPTH:
        raise HeaderUnreadable(f"sequences nest deeper than {MAX_DEPTH}")
    if not isinstance(model, dict) or not all(_TAG.fullmatch(tag) for tag in model):
        raise HeaderUnreadable("a data set is not an object of tags")
    for tag in sorted(model, key=str.upper):
        group, number = int(tag[:4], 16), int(tag[4:], 16)
        is_inherited = depth > 0 and unicode and tag == _CHARSET
        if group <= 2 or number == 0 or is_inherited or (depth == 0 and tag in LEFT_OUT):
            continue
        made = model[tag]
        vr = made.get("vr") if isinstance(made, dict) else None
        if vr == "SQ":
            yield _LONG.pack(group, number, b"SQ", 0, _UNDEFINED)
            yield from _items(made, find, depth=depth, unicode=unicode)
        elif "BulkDataURI" in (made if isinstance(made, dict) else {}):
            yield from _bulk(group, number, str(vr), find(tag.upper(), str(made["BulkDataURI"])))
        else:
            value = _value(made)
            yield _head(group, number, str(vr), len(value)) + value


def _items(made: Element, find: Find, *, depth: int, unicode: bool) -> Iterator[bytes]:
    for item in _values(made):
        yield _ITEM.pack(0xFFFE, 0xE000, _UNDEFINED)
        yield from _data_set({} if item is None else item, find, depth=depth + 1, unicode=unicode)
        yield _ITEM.pack(0xFFFE, 0xE00D, 0)
    yield _ITEM.pack(0xFFFE, 0xE0DD, 0)


def _bulk(group: int, number: int, vr: str, value: Bulk) -> Iterator[bytes]:
    if vr not in _WRITERS or vr == "PN":
        raise HeaderUnreadable("a bulk value has a VR that has none")
    if value.encapsulated:
        yield _LONG.pack(group, number, b"OB", 0, _UNDEFINED)
        yield from value.pieces()
        return
    yield _head(group, number, vr, value.length + value.length % 2)
    yield from value.pieces()
    yield (b" " if vr in _TEXTS else b"\0") * (value.length % 2)


def _head(group: int, number: int, vr: str, length: int) -> bytes:
    if length >= _UNDEFINED:
        raise HeaderUnreadable("a value is longer than 4 GiB")
    named = vr.encode()
    if named in SHORT_FORM and length <= 0xFFFF:
        return _SHORT.pack(group, number, named, length)
    return _LONG.pack(group, number, b"UN" if named in SHORT_FORM else named, 0, length)


def _values(made: Element) -> list[Any]:
    values = made.get("Value", [])
    if not isinstance(values, list):
        raise HeaderUnreadable("the values of an attribute are no array")
    return values


def _value(made: object) -> bytes:
    if not isinstance(made, dict) or made.get("vr") not in _WRITERS:
        raise HeaderUnreadable("an attribute has no VR, or an unknown one")
    vr = str(made["vr"])
    try:
        value = _inline(made) if "InlineBinary" in made else _WRITERS[vr](vr, _values(made))
    except (ValueError, TypeError, AttributeError, OverflowError, struct.error):
        raise HeaderUnreadable(f"a value does not fit its VR {vr}") from None
    padding = b"\0" if vr == "UI" or vr in _BINARY else b" "
    return value + padding * (len(value) % 2)


def _inline(made: Element) -> bytes:
    try:
        return base64.b64decode(made["InlineBinary"], validate=True)
    except binascii.Error:
        raise HeaderUnreadable("InlineBinary is not base 64") from None


def _texts(_: str, values: list[Any]) -> bytes:
    return "\\".join("" if value is None else _is_text(value) for value in values).encode()


def _is_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(type(value).__name__)
    return value


def _decimals(_: str, values: list[Any]) -> bytes:
    return "\\".join(map(_decimal, values)).encode("ascii")


def _decimal(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, float):
        text = repr(value)
        return text if len(text) <= 16 else format_number_as_ds(value)  # (PS3.5 6.2, VR DS: 16 bytes)
    return str(_is_integer(value))


def _is_integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(type(value).__name__)
    return value


def _numbers(vr: str, values: list[Any]) -> bytes:
    read: Callable[[Any], float] = float if vr in {"FL", "FD"} else _whole
    return b"".join(Struct(f"<{_NUMBERS[vr]}").pack(read(value)) for value in values)


def _whole(value: object) -> int:
    return int(value) if isinstance(value, str) else _is_integer(value)


def _tags(_: str, values: list[Any]) -> bytes:
    if not all(_TAG.fullmatch(value) for value in values):
        raise ValueError("no tag")
    return b"".join(_PAIR.pack(int(value[:4], 16), int(value[4:], 16)) for value in values)


def _names(_: str, values: list[Any]) -> bytes:
    return "\\".join(_name(value or {}) for value in values).encode()


def _name(value: Mapping[str, object]) -> str:
    return "=".join(_is_text(value.get(group, "")) for group in _GROUPS).rstrip("=")


def _none(vr: str, values: list[Any]) -> bytes:
    if values:
        raise ValueError(vr)
    return b""


_WRITERS: Final[Mapping[str, Callable[[str, list[Any]], bytes]]] = {
    **dict.fromkeys(_TEXTS, _texts),
    **dict.fromkeys(("DS", "IS"), _decimals),
    **dict.fromkeys(_NUMBERS, _numbers),
    **dict.fromkeys(_BINARY, _none),
    "AT": _tags,
    "PN": _names,
}

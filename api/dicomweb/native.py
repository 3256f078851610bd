"""DICOM XML, the Native DICOM Model (PS3.19 A.1): the same words as DICOM JSON, in both directions.

Reading takes no document type at all, so neither entities nor anything outside the document can be named (R-47).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

from api.dicomweb.model import DataSet, Element
from api.errors import BodyRejected

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
MAX_DEPTH: Final = 256
"""Elements within elements; 64 nested sequences are 129."""

_HEAD: Final = f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
_FORBIDDEN: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINES: Final = {"\r": "&#13;"}
"""A parser would make a line feed of it."""

_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")


# ------------------------------------------------------------------------------------------------------ writing
def as_xml(model: DataSet) -> bytes:
    """Return a data set of the DICOM JSON Model as a document.

    Characters that XML cannot hold have U+FFFD in their place.
    """
    return "".join((_HEAD, *_attributes(model), "</NativeDicomModel>")).encode()


def _attributes(model: DataSet) -> Iterator[str]:
    """Yield attributes; private ones name their creator instead of their block (PS3.19 A.1.5).

    Where a group has two blocks of one creator, the name says only which is the first: the other keeps its block.
    """
    first = {(tag[:4], _first(made)): tag for tag, made in reversed(model.items()) if _is_creator(tag)}
    creators = {tag: creator for (_, creator), tag in first.items()}
    for tag, made in model.items():
        creator = creators.get(f"{tag[:4]}00{tag[4:6]}", "") if int(tag[3], 16) % 2 else ""
        named = {
            "tag": f"{tag[:4]}00{tag[6:]}" if creator else tag,
            "vr": made["vr"],
            "keyword": keyword_for_tag(int(tag, 16)),
            "privateCreator": creator,
        }
        told = "".join(f" {name}={quoteattr(_legal(value))}" for name, value in named.items() if value)
        yield f"<DicomAttribute{told}>"
        yield from _content(made)
        yield "</DicomAttribute>"


def _is_creator(tag: str) -> bool:
    return int(tag[3], 16) % 2 == 1 and tag[4:6] == "00" and tag[6:] >= "10"


def _first(creator: Element) -> str:
    return str(next(iter(creator.get("Value", [])), "") or "")


def _content(made: Element) -> Iterator[str]:
    if "BulkDataURI" in made:
        yield f"<BulkData uri={quoteattr(made['BulkDataURI'])}/>"
    elif "InlineBinary" in made:
        yield f"<InlineBinary>{made['InlineBinary']}</InlineBinary>"
    write = _WRITERS.get(made["vr"], _value)
    for number, value in enumerate(made.get("Value", []), 1):
        yield from write(number, value)


def _value(number: int, value: object) -> Iterator[str]:
    yield f'<Value number="{number}">{"" if value is None else _text(value)}</Value>'


def _item(number: int, value: DataSet) -> Iterator[str]:
    yield f'<Item number="{number}">'
    yield from _attributes(value)
    yield "</Item>"


def _name(number: int, value: Mapping[str, str] | None) -> Iterator[str]:
    yield f'<PersonName number="{number}">'
    for group in _GROUPS:
        if value and group in value:
            parts = zip(_COMPONENTS, value[group].split("^", len(_COMPONENTS) - 1), strict=False)
            inner = "".join(f"<{part}>{_text(said)}</{part}>" for part, said in parts if said)
            yield f"<{group}>{inner}</{group}>"
    yield "</PersonName>"


_WRITERS: Final[Mapping[str, Callable[[int, Any], Iterator[str]]]] = {"SQ": _item, "PN": _name}


def _text(value: object) -> str:
    return escape(_legal(str(value)), _LINES)


def _legal(text: str) -> str:
    return _FORBIDDEN.sub("�", text)


# ------------------------------------------------------------------------------------------------------ reading
def from_xml(pieces: Iterable[bytes]) -> DataSet:
    """Return the data set of a document in the DICOM JSON Model; numbers stay text.

    Raises
    ------
    BodyRejected
        It is not well-formed, not a Native DICOM Model, nests too deep, or declares a document type.
    """
    reader = _Reader()
    parser = ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        for piece in pieces:
            parser.Parse(piece, False)
        parser.Parse(b"", True)
    except ExpatError as error:
        raise BodyRejected(f"the document is not well-formed XML (line {error.lineno})") from None
    return reader.model


class _Reader:
    """What a parser calls."""

    def __init__(self) -> None:
        self.model: DataSet = {}
        self._data_sets: list[DataSet] = []
        self._attributes: list[Element] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self._name: dict[str, dict[str, str]] = {}
        self._number = 0

    def refuse(self, *_: object) -> None:
        """Refuse a document type."""
        raise BodyRejected("a document type declaration is not taken")

    def start(self, named: str, attributes: dict[str, str]) -> None:
        """Enter an element."""
        space, _, name = named.rpartition(" ")
        parent = self._path[-1] if self._path else ""
        if space not in {"", NAMESPACE} or parent not in _PARENTS.get(name, ()):
            raise BodyRejected("the document is not a Native DICOM Model (PS3.19 A.1)")
        self._path.append(name)
        if len(self._path) > MAX_DEPTH:
            raise BodyRejected(f"elements nest deeper than {MAX_DEPTH}")
        self._text.clear()
        if name == "NativeDicomModel":
            self._data_sets.append(self.model)
        elif name == "DicomAttribute":
            self._begin_attribute(attributes)
        elif name == "BulkData":
            self._attributes[-1]["BulkDataURI"] = attributes.get("uri", "")
        elif name in {"Value", "Item", "PersonName"}:
            self._begin_value(name, attributes)

    def _begin_attribute(self, attributes: dict[str, str]) -> None:
        tag = attributes.get("tag", "").upper()
        creator = attributes.get("privateCreator", "")
        if creator and re.fullmatch("[0-9A-F]{4}00[0-9A-F]{2}", tag):
            tag = f"{tag[:4]}{_block(self._data_sets[-1], tag[:4], creator)}{tag[6:]}"
        if not re.fullmatch("[0-9A-F]{8}", tag) or tag in self._data_sets[-1]:
            raise BodyRejected("an attribute has no tag, or is there twice")
        self._attributes.append({"vr": attributes.get("vr", "")})
        self._data_sets[-1][tag] = self._attributes[-1]

    def _begin_value(self, name: str, attributes: dict[str, str]) -> None:
        values: list[Any] = self._attributes[-1].setdefault("Value", [])
        number = attributes.get("number", "")
        if not number.isdecimal() or len(number) > 6 or not len(values) < int(number) <= len(values) + 1000:
            raise BodyRejected("the numbers of an attribute's values do not ascend from 1")
        values.extend([None] * (int(number) - len(values)))
        if name == "Item":
            values[-1] = {}
            self._data_sets.append(values[-1])
        elif name == "PersonName":
            self._name = {}

    def text(self, text: str) -> None:
        """Take text; between elements it is white space, or nothing that counts."""
        self._text.append(text)

    def end(self, _: str) -> None:
        """Leave an element."""
        name, text = self._path.pop(), "".join(self._text)
        self._text.clear()
        if name == "Value":
            self._attributes[-1]["Value"][-1] = text or None
        elif name == "InlineBinary":
            self._attributes[-1]["InlineBinary"] = "".join(text.split())
        elif name in _COMPONENTS:
            self._name.setdefault(self._path[-1], {})[name] = text
        elif name == "PersonName":
            self._attributes[-1]["Value"][-1] = {
                group: said for group, parts in self._name.items() if (said := _joined(parts))
            } or None
        elif name == "DicomAttribute":
            self._attributes.pop()
        elif name in {"Item", "NativeDicomModel"}:
            self._data_sets.pop()


def _block(model: DataSet, group: str, creator: str) -> str:
    """Return the block of a private creator in a data set, reserved where it has none yet (PS3.5 7.8.1)."""
    blocks = [f"{number:02X}" for number in range(0x10, 0x100)]
    for block in blocks:
        if model.get(f"{group}00{block}", {}).get("Value") == [creator]:
            return block
    for block in blocks:
        if f"{group}00{block}" not in model:
            model[f"{group}00{block}"] = {"vr": "LO", "Value": [creator]}
            return block
    raise BodyRejected("a group has more private creators than blocks")


def _joined(parts: Mapping[str, str]) -> str:
    return "^".join(parts.get(component, "") for component in _COMPONENTS).rstrip("^")


_PARENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "NativeDicomModel": ("",),
    "DicomAttribute": ("NativeDicomModel", "Item"),
    **dict.fromkeys(("Value", "Item", "PersonName", "BulkData", "InlineBinary"), ("DicomAttribute",)),
    **dict.fromkeys(_GROUPS, ("PersonName",)),
    **dict.fromkeys(_COMPONENTS, _GROUPS),
}

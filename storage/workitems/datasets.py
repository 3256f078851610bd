"""Data sets of the DICOM JSON Model by keyword (PS3.18 F.2), as far as workitems need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

Element = dict[str, Any]
DataSet = dict[str, Element]


def tag(keyword: str) -> str:
    """Return the key of an attribute."""
    number = tag_for_keyword(keyword)
    if number is None:
        raise LookupError(keyword)
    return f"{number:08X}"


def values(model: Mapping[str, Element], keyword: str) -> list[Any]:
    """Return the values of an attribute, those that say something: empty where it is absent or empty."""
    found = model.get(tag(keyword), {}).get("Value", [])
    return [value for value in found if value not in (None, "", {})] if dictionary_VR(keyword) != "SQ" else found


def items(model: Mapping[str, Element], keyword: str) -> list[DataSet]:
    """Return the items of a sequence."""
    return [item or {} for item in values(model, keyword)]


def first(model: Mapping[str, Element], keyword: str) -> str | None:
    """Return the first value of an attribute as text, None where there is none."""
    found = values(model, keyword)
    return str(found[0]) if found else None


def put(model: DataSet, keyword: str, *found: object) -> None:
    """Set an attribute to these values, to none where there are none."""
    made: Element = {"vr": dictionary_VR(keyword)}
    model[tag(keyword)] = {**made, "Value": list(found)} if found else made


def made_of(pairs: Iterable[tuple[str, object]]) -> DataSet:
    """Return a data set of one value each; None and an empty list give an attribute without value."""
    model: DataSet = {}
    for keyword, value in pairs:
        put(model, keyword, *(value if isinstance(value, list) else [] if value is None else [value]))
    return dict(sorted(model.items()))


def chosen(model: Mapping[str, Element], keywords: Iterable[str]) -> DataSet:
    """Return the attributes of these keywords that a data set has."""
    wanted = {tag(keyword) for keyword in keywords}
    return {key: element for key, element in model.items() if key in wanted}


def code(value: str, scheme: str, meaning: str) -> DataSet:
    """Return the item of a code; beyond 16 characters the value is a long one (PS3.3 8.1)."""
    keyword = "CodeValue" if len(value) <= 16 else "LongCodeValue"
    return made_of([(keyword, value), ("CodingSchemeDesignator", scheme), ("CodeMeaning", meaning)])


def walk(model: Mapping[str, Element]) -> Iterator[tuple[str, Element]]:
    """Yield every attribute, those of items included."""
    for key, element in model.items():
        yield key, element
        if element.get("vr") == "SQ":
            for item in element.get("Value", []):
                yield from walk(item or {})

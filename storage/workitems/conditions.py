"""Conditions of attributes of types 1C and 2C, as far as a workitem itself tells them (PS3.4 Tables CC.2.5-2a to -3).

An attribute whose condition is not met may not be there, unless the table says that it may (PS3.5 7.4.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from storage.workitems import datasets
from storage.workitems.datasets import DataSet

Nest = Sequence[DataSet]
"""The data set and the items around an attribute, the innermost last."""

Test = Callable[[Nest], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """When an attribute is wanted, when else it may have a value, and both in words: "wanted where ..."."""

    wanted: Test
    allowed: Test
    says: str


def _always(_: Nest) -> bool:
    return True


def _never(_: Nest) -> bool:
    return False


def where(test: Test, says: str) -> Condition:
    """Return the condition of an attribute that is wanted so, and may be there otherwise."""
    return Condition(test, _always, says)


def only(test: Test, says: str) -> Condition:
    """Return the condition of an attribute that is wanted so, and not allowed otherwise."""
    return Condition(test, test, says)


def at_most(test: Test, says: str) -> Condition:
    """Return the condition of an attribute of which is told only where it may be, not whether it is wanted."""
    return Condition(_never, test, says)


# --------------------------------------------------------------------------------------------------- beside and around
def _has(*keywords: str) -> Test:
    return lambda nest: any(datasets.values(nest[-1], keyword) for keyword in keywords)


def _lacks(keyword: str) -> Test:
    return lambda nest: not datasets.values(nest[-1], keyword)


def _is(keyword: str, value: str) -> Test:
    return lambda nest: _text(nest[-1], keyword) == value


def _is_around(keyword: str, value: str) -> Test:
    return lambda nest: _text(nest[-2], keyword) == value


def _text(item: DataSet, keyword: str) -> str:
    return (datasets.first(item, keyword) or "").strip()


# --------------------------------------------------------------------------------------------------------------- codes
SHORT: Final = 16
"""Characters that a Code Value holds (VR SH)."""

_CODES: Final = ("CodeValue", "LongCodeValue", "URNCodeValue")
_URN_OR_URL: Final = re.compile(r"urn:[a-z0-9][a-z0-9-]*:.+|[a-z][a-z0-9+.-]*://.+", re.IGNORECASE | re.DOTALL)


def _code_is(test: Callable[[str], bool]) -> Test:
    """Return the test of a code's value, whichever of the three attributes it stands in."""

    def holds(nest: Nest) -> bool:
        value = next(filter(None, (_text(nest[-1], keyword) for keyword in _CODES)), "")
        return bool(value) and test(value)

    return holds


def _is_urn(value: str) -> bool:
    return _URN_OR_URL.fullmatch(value) is not None


SHORT_CODE: Final = only(
    _code_is(lambda value: not _is_urn(value) and len(value) <= SHORT),
    f"of a code of at most {SHORT} characters that is no URN or URL",
)
LONG_CODE: Final = only(
    _code_is(lambda value: not _is_urn(value) and len(value) > SHORT),
    f"of a code of more than {SHORT} characters that is no URN or URL",
)
URN_CODE: Final = only(_code_is(_is_urn), "of a code that is a URN or URL")
WITH_A_CODE: Final = where(_has("CodeValue", "LongCodeValue"), "with CodeValue or LongCodeValue")
WITH_A_SCHEME: Final = at_most(_has("CodingSchemeDesignator"), "with CodingSchemeDesignator")


# ------------------------------------------------------------------------------------------------- content, identifiers
def of_type(value_type: str) -> Condition:
    """Return the condition of the value of a content item: its Value Type says which it has."""
    return only(_is("ValueType", value_type), f"where ValueType is {value_type}")


WITH_UNIVERSAL_ID: Final = only(_has("UniversalEntityID"), "with UniversalEntityID")


# ----------------------------------------------------------------------------------------------- instances, their study
_PATIENTS: Final = "1.2.840.10008.5.1.4.1.1."
_NO_PATIENTS: Final = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(200\.[1345679]|201\.\d+)(\.\d+)*", re.ASCII)
"""Defined procedure protocols, protocol approvals, inventories: stored, but of no patient (PS3.4 Table GG.3-1)."""

_OTHER_PATIENTS: Final = frozenset({"1.2.840.10008.5.1.4.34.7", "1.2.840.10008.5.1.4.34.10"})
_NO_STUDIES: Final = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.(38|39|43|44|45)\.1", re.ASCII)
"""Hanging protocols, palettes, implant templates."""


def _is_of_a_study(sop_class_uid: str) -> bool:
    """Tell whether instances of a class belong to a study and a series; of one that we do not know it is not told."""
    if sop_class_uid in _OTHER_PATIENTS:
        return True
    return sop_class_uid.startswith(_PATIENTS) and not _NO_PATIENTS.fullmatch(sop_class_uid)


def _refers_to_a_study(nest: Nest) -> bool:
    classes = [
        _text(reference, "ReferencedSOPClassUID") for reference in datasets.items(nest[-1], "ReferencedSOPSequence")
    ]
    return _is("TypeOfInstances", "DICOM")(nest) and any(map(_is_of_a_study, classes))


OF_A_STUDY: Final = Condition(
    _refers_to_a_study,
    _is("TypeOfInstances", "DICOM"),
    "where TypeOfInstances is DICOM and ReferencedSOPSequence names instances of a study",
)
OF_A_DOCUMENT: Final = only(_is_around("TypeOfInstances", "CDA"), "where TypeOfInstances is CDA")
WITHOUT_SEGMENTS: Final = at_most(_lacks("ReferencedSegmentNumber"), "without ReferencedSegmentNumber")
WITHOUT_FRAMES: Final = at_most(_lacks("ReferencedFrameNumber"), "without ReferencedFrameNumber")

_DICOM_PLACES: Final = ("DICOMStorageSequence", "STOWRSStorageSequence")


def _makes_a_study(nest: Nest) -> bool:
    """Tell whether a workitem says where the DICOM objects that it makes go, unless they are of no patient."""
    places = datasets.items(nest[-1], "OutputDestinationSequence")
    return any(
        _has(*_DICOM_PLACES)([place]) and not _is_of_no_study(_text(place, "ReferencedSOPClassUID")) for place in places
    )


def _is_of_no_study(sop_class_uid: str) -> bool:
    return bool(_NO_PATIENTS.fullmatch(sop_class_uid) or _NO_STUDIES.fullmatch(sop_class_uid))


MAKES_A_STUDY: Final = where(
    _makes_a_study, "where OutputDestinationSequence says where DICOM objects of a patient are stored"
)

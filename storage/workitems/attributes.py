"""What a workitem holds, as data beside PS3.4 Table CC.2.5-3: what must come, may be set, must be there at the end.

Attributes that are not listed are of type 3 in every column: kept and given back.  An attribute of type 1C or 2C has
its condition beside it where a workitem tells whether it is met; one without is taken either way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from storage.workitems import conditions, datasets
from storage.workitems.conditions import Condition, Nest
from storage.workitems.datasets import DataSet
from storage.workitems.errors import WorkitemInvalid
from storage.workitems.states import WorkitemState

SOP_CLASS_UID: Final = "1.2.840.10008.5.1.4.34.6.1"
"""Unified Procedure Step - Push: the class of every workitem, whoever asks (PS3.4 CC.3.1)."""

NO: Final = "Not allowed"
EMPTY: Final = "2/2, empty"
"""Of type 2, and created empty: only the performer fills it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: requirement types of user and server for N-CREATE and N-SET, final state code, match and return key.

    A match key of ``*`` is that of the sequence around it.
    """

    keyword: str
    create: str
    change: str
    final: str = "O"
    match: str = "-"
    back: str = "-"
    items: tuple[Row, ...] = ()
    one_of: tuple[str, ...] = ()
    """One of these an item must have: each is of type 1C, and wanted where all others are missing."""
    when: Condition | None = None


def _sequence(  # noqa: PLR0917 - the columns of a row, in their order
    keyword: str,
    create: str,
    change: str,
    final: str,
    match: str,
    back: str,
    macro: tuple[tuple[Row, ...], tuple[str, ...]],
) -> Row:
    return Row(keyword, create, change, final, match, back, *macro)


# ------------------------------------------------------------------------------------- the macros, CC.2.5-2a to -2g
_CODE: Final = (
    (
        Row("CodeValue", "1C/1C", "1C/1C", match="*", when=conditions.SHORT_CODE),
        Row("CodingSchemeDesignator", "1C/1C", "1C/1C", match="*", when=conditions.WITH_A_CODE),
        Row("CodingSchemeVersion", "1C/1C", "1C/1C", when=conditions.WITH_A_SCHEME),
        Row("CodeMeaning", "1/1", "1/1"),
        Row("LongCodeValue", "1C/1C", "1C/1C", match="*", when=conditions.LONG_CODE),
        Row("URNCodeValue", "1C/1C", "1C/1C", match="*", when=conditions.URN_CODE),
    ),
    ("CodeValue", "LongCodeValue", "URNCodeValue"),
)


def _value(keyword: str, value_type: str, macro: tuple[tuple[Row, ...], tuple[str, ...]] = ((), ())) -> Row:
    """Return the row of a content item's value; 1/1 there for N-SET, but no item has the values of all types."""
    return Row(keyword, "1C/1C", "1C/1C", "O", "-", "-", *macro, when=conditions.of_type(value_type))


_ITEM: Final = (
    Row("ValueType", "1/1", "1/1"),
    _sequence("ConceptNameCodeSequence", "1/1", "1/1", "O", "-", "-", _CODE),
    _value("DateTime", "DATETIME"),
    _value("Date", "DATE"),
    _value("Time", "TIME"),
    _value("PersonName", "PNAME"),
    _value("UID", "UIDREF"),
    _value("TextValue", "TEXT"),
    _value("ConceptCodeSequence", "CODE", _CODE),
    _value("NumericValue", "NUMERIC"),
    _value("MeasurementUnitsCodeSequence", "NUMERIC", _CODE),
)
_CONTENT: Final = ((*_ITEM, Row("ContentItemModifierSequence", "3/3", "3/3", items=_ITEM)), ())
_REFERENCE: Final = (
    (
        Row("ReferencedSOPClassUID", "1/1", "1/1", match="*"),
        Row("ReferencedSOPInstanceUID", "1/1", "1/1", match="*"),
    ),
    (),
)
_REPOSITORY: Final = (Row("RepositoryUniqueID", "1/1", "1/1"), Row("HomeCommunityID", "3/2", "3/2"))
_INSTANCES: Final = (
    (
        Row("TypeOfInstances", "1/1", "1/1"),
        Row("StudyInstanceUID", "1C/1", "1C/1", match="*", when=conditions.OF_A_STUDY),
        Row("SeriesInstanceUID", "1C/1", "1C/1", match="*", when=conditions.OF_A_STUDY),
        Row(
            "ReferencedSOPSequence",
            "1/1",
            "1/1",
            items=(
                *_REFERENCE[0],
                Row("HL7InstanceIdentifier", "1C/1", "1C/1", when=conditions.OF_A_DOCUMENT),
                Row("ReferencedFrameNumber", "1C/1", "1C/1", when=conditions.WITHOUT_SEGMENTS),
                Row("ReferencedSegmentNumber", "1C/1", "1C/1", when=conditions.WITHOUT_FRAMES),
            ),
        ),
        Row("DICOMRetrievalSequence", "1C/1", "1C/1", items=(Row("RetrieveAETitle", "1/1", "1/1"),)),
        Row(
            "DICOMMediaRetrievalSequence",
            "1C/1",
            "1C/1",
            items=(Row("StorageMediaFileSetID", "2/2", "2/2"), Row("StorageMediaFileSetUID", "1/1", "1/1")),
        ),
        Row("WADORetrievalSequence", "1C/1", "1C/1", items=(Row("RetrieveURI", "1/1", "1/1"),)),
        Row("XDSRetrievalSequence", "1C/1", "1C/1", items=_REPOSITORY),
        Row("WADORSRetrievalSequence", "1C/1", "1C/1", items=(Row("RetrieveURL", "1/1", "1/1"),)),
    ),
    (
        "DICOMRetrievalSequence",
        "DICOMMediaRetrievalSequence",
        "WADORetrievalSequence",
        "WADORSRetrievalSequence",
        "XDSRetrievalSequence",
    ),
)
_DESIGNATOR: Final = (
    (
        Row("LocalNamespaceEntityID", "1C/1", "1C/1", match="*"),
        Row("UniversalEntityID", "1C/1", "1C/1", match="*"),
        Row("UniversalEntityIDType", "1C/1", "1C/1", match="*", when=conditions.WITH_UNIVERSAL_ID),
    ),
    ("LocalNamespaceEntityID", "UniversalEntityID"),
)
_QUALIFIERS: Final = (
    # 2/2 there, but for the type of the ID: PS3.3 Table 10-18 has them as optional, so that senders leave them out
    (
        Row("UniversalEntityID", "3/2", "3/2"),
        Row("UniversalEntityIDType", "1C/1", "1C/1", when=conditions.WITH_UNIVERSAL_ID),
        Row("IdentifierTypeCode", "3/2", "3/2"),
        _sequence("AssigningFacilitySequence", "3/2", "3/2", "O", "-", "-", _DESIGNATOR),
        _sequence("AssigningJurisdictionCodeSequence", "3/2", "3/2", "O", "-", "-", _CODE),
        _sequence("AssigningAgencyOrDepartmentCodeSequence", "3/2", "3/2", "O", "-", "-", _CODE),
    ),
    (),
)
_STORAGE: Final = (
    (
        Row("ReferencedSOPClassUID", "1C/1", "1C/1"),
        Row("DICOMStorageSequence", "1C/1", "1C/1", items=(Row("DestinationAE", "1/1", "1/1"),)),
        Row("STOWRSStorageSequence", "1C/1", "1C/1", items=(Row("StorageURL", "1/1", "1/1"),)),
        Row("XDSStorageSequence", "1C/1", "1C/1", items=_REPOSITORY),
    ),
    ("DICOMStorageSequence", "STOWRSStorageSequence", "XDSStorageSequence"),
)

# ---------------------------------------------------------------------------------------------------------- the table
TABLE: Final[tuple[Row, ...]] = (
    # SOP Common; (0008,1195) Transaction UID is no attribute here: it is a lock, and never given out
    Row("SOPClassUID", "-/1", NO, "R", "O", "1"),
    Row("SOPInstanceUID", NO, NO, "R", "U", "1"),
    # Scheduled Procedure Information
    Row("ScheduledProcedureStepPriority", "1/1", "3/1", "R", "R", "1"),
    Row("ScheduledProcedureStepModificationDateTime", "-/1", "-/1", "R", "O", "3"),
    Row("ProcedureStepLabel", "1/1", "3/1", "O", "R", "1"),
    Row("WorklistLabel", "3/1", "3/1", "O", "R", "1"),  # 2/1 there: we fill it in, so it may be missing too
    _sequence("ScheduledProcessingParametersSequence", "2/2", "3/2", "O", "-", "2", _CONTENT),
    _sequence("ScheduledStationNameCodeSequence", "2/2", "3/2", "O", "R", "2", _CODE),
    _sequence("ScheduledStationClassCodeSequence", "2/2", "3/2", "O", "R", "2", _CODE),
    _sequence("ScheduledStationGeographicLocationCodeSequence", "2/2", "3/2", "O", "R", "2", _CODE),
    Row(
        "ScheduledHumanPerformersSequence",
        "2C/2C",
        "3/2",
        "O",
        "R",
        "2",
        items=(
            _sequence("HumanPerformerCodeSequence", "1/1", "1/1", "O", "R", "1", _CODE),
            Row("HumanPerformerName", "1/1", "1/1", "O", "O", "3"),
            Row("HumanPerformerOrganization", "1/1", "1/1", "O", "O", "3"),
        ),
    ),
    Row("ScheduledProcedureStepStartDateTime", "1/1", "3/1", "R", "R", "1"),
    Row("ExpectedCompletionDateTime", "3/1", "3/1", "O", "R", "3"),
    Row("ScheduledProcedureStepExpirationDateTime", "3/3", "3/3", "O", "O", "3"),
    _sequence("ScheduledWorkitemCodeSequence", "2/2", "3/1", "O", "R", "2", _CODE),
    Row("CommentsOnTheScheduledProcedureStep", "2/2", "3/1", "O", "-", "3"),
    Row("InputReadinessState", "1/1", "3/1", "R", "R", "1"),
    _sequence("InputInformationSequence", "2/2", "3/2", "O", "O", "2", _INSTANCES),
    Row("StudyInstanceUID", "1C/2", "3/2", "O", "O", "2", when=conditions.MAKES_A_STUDY),
    _sequence("OutputDestinationSequence", "3/3", "3/3", "O", "-", "3", _STORAGE),
    # Relationship
    Row("PatientName", "2/2", NO, "O", "R", "2"),
    Row("PatientID", "1C/2", NO, "O", "R", "2", when=conditions.MAKES_A_STUDY),
    Row("IssuerOfPatientID", "2/2", NO, "O", "R", "2"),
    _sequence("IssuerOfPatientIDQualifiersSequence", "2/2", NO, "O", "-", "2", _QUALIFIERS),
    Row(
        "OtherPatientIDsSequence",
        "2/2",
        "3/3",
        "O",
        "O",
        "2",
        items=(
            Row("PatientID", "1/1", "1/1", "O", "O", "1"),
            # 2/2 there, and not allowed in N-SET, which could then set no other ID of another issuer
            Row("IssuerOfPatientID", "3/2", "3/2", "O", "R", "2"),
            _sequence("IssuerOfPatientIDQualifiersSequence", "3/2", "3/2", "O", "-", "2", _QUALIFIERS),
        ),
    ),
    Row("PatientBirthDate", "2/2", NO, "O", "R", "2"),
    Row("PatientSex", "2/2", NO, "O", "R", "2"),
    _sequence("ReferencedPatientPhotoSequence", "3/3", "3/3", "O", "-", "3", _INSTANCES),
    Row("AdmissionID", "2/2", NO, "O", "R", "2"),
    _sequence("IssuerOfAdmissionIDSequence", "2/2", NO, "O", "R", "2", _DESIGNATOR),
    Row("AdmittingDiagnosesDescription", "2/2", NO, "O", "-", "2"),
    _sequence("AdmittingDiagnosesCodeSequence", "2/2", NO, "O", "-", "2", _CODE),
    Row(
        "ReferencedRequestSequence",
        "2/2",
        NO,
        "O",
        "R",
        "2",
        items=(
            Row("StudyInstanceUID", "1/1", NO, "O", "O", "1"),
            Row("AccessionNumber", "2/2", NO, "O", "R", "2"),
            _sequence("IssuerOfAccessionNumberSequence", "2/2", NO, "O", "R", "2", _DESIGNATOR),
            Row("PlacerOrderNumberImagingServiceRequest", "3/1", NO, "O", "-", "1C"),
            _sequence("OrderPlacerIdentifierSequence", "2/2", NO, "O", "-", "2", _DESIGNATOR),
            Row("FillerOrderNumberImagingServiceRequest", "3/1", NO, "O", "-", "1C"),
            _sequence("OrderFillerIdentifierSequence", "2/2", NO, "O", "-", "2", _DESIGNATOR),
            Row("RequestedProcedureID", "2/2", NO, "O", "R", "2"),
            Row("RequestedProcedureDescription", "2/2", NO, "O", "-", "2"),
            _sequence("RequestedProcedureCodeSequence", "2/2", NO, "O", "-", "2", _CODE),
            Row("RequestingService", "3/1", "3/1", "O", "R", "3"),
        ),
    ),
    _sequence("ReplacedProcedureStepSequence", "1C/1C", NO, "O", "R", "3", _REFERENCE),
    # Patient Medical
    Row("MedicalAlerts", "3/2", "3/2", "O", "-", "2C"),
    Row("PregnancyStatus", "3/2", "3/2", "O", "-", "2C"),
    Row("SpecialNeeds", "3/2", "3/2", "O", "-", "2C"),
    # Progress Information
    Row("ProcedureStepState", "1/1", NO, "R", "R", "1"),
    Row(
        "ProcedureStepProgressInformationSequence",
        EMPTY,
        "3/2",
        "X",
        "-",
        "2",
        items=(
            Row("ProcedureStepProgress", NO, "3/1"),
            Row("ProcedureStepProgressDescription", NO, "3/1"),
            Row("ProcedureStepProgressParametersSequence", NO, "3/3", items=_CONTENT[0]),
            Row(
                "ProcedureStepCommunicationsURISequence",
                NO,
                "3/1",
                items=(Row("ContactURI", NO, "1/1"), Row("ContactDisplayName", NO, "3/1")),
            ),
            Row("ProcedureStepCancellationDateTime", NO, "3/1", "X"),
            Row("ReasonForCancellation", NO, "3/1"),
            _sequence("ProcedureStepDiscontinuationReasonCodeSequence", NO, "3/1", "X", "-", "-", _CODE),
        ),
    ),
    # Performed Procedure Information
    Row(
        "UnifiedProcedureStepPerformedProcedureSequence",
        EMPTY,
        "3/2",
        "P",
        items=(
            Row(
                "ActualHumanPerformersSequence",
                NO,
                "3/1",
                "RC",
                back="1C",
                items=(
                    _sequence("HumanPerformerCodeSequence", NO, "3/1", "RC", "-", "-", _CODE),
                    Row("HumanPerformerName", NO, "3/1", "RC"),
                    Row("HumanPerformerOrganization", NO, "3/1"),
                ),
            ),
            _sequence("PerformedStationNameCodeSequence", NO, "3/2", "P", "-", "3", _CODE),
            _sequence("PerformedStationClassCodeSequence", NO, "3/2", "O", "-", "-", _CODE),
            _sequence("PerformedStationGeographicLocationCodeSequence", NO, "3/2", "O", "-", "-", _CODE),
            Row("PerformedProcedureStepStartDateTime", NO, "3/1", "P"),
            Row("PerformedProcedureStepDescription", NO, "3/1"),
            Row("CommentsOnThePerformedProcedureStep", NO, "3/1"),
            _sequence("PerformedWorkitemCodeSequence", NO, "3/1", "P", "-", "-", _CODE),
            _sequence("PerformedProcessingParametersSequence", NO, "3/1", "O", "-", "-", _CONTENT),
            Row("PerformedProcedureStepEndDateTime", NO, "3/1", "P", "-", "1C"),
            # P as well, but where nothing was made it may have no items; it is there, since N-SET has it as type 2
            _sequence("OutputInformationSequence", NO, "2/2", "O", "-", "-", _INSTANCES),
        ),
    ),
)

REQUEST: Final[tuple[Row, ...]] = (
    Row("ReasonForCancellation", NO, "3/1"),
    _sequence("ProcedureStepDiscontinuationReasonCodeSequence", NO, "3/1", "O", "-", "-", _CODE),
    Row("ContactURI", NO, "3/1"),
    Row("ContactDisplayName", NO, "3/1"),
)
"""What may be said with a request to cancel a workitem (PS3.4 Table CC.2.2-1)."""

ENUMERATED: Final[Mapping[str, frozenset[str]]] = {
    "ScheduledProcedureStepPriority": frozenset({"HIGH", "MEDIUM", "LOW"}),
    "InputReadinessState": frozenset({"INCOMPLETE", "UNAVAILABLE", "READY"}),
}
_DATETIMES: Final = tuple(row.keyword for row in TABLE if row.keyword.endswith("DateTime"))
DATETIME: Final = re.compile(r"(\d{4}(?:\d{2}){0,5})(\.\d{1,6})?([+-]\d{4})?", re.ASCII)
_SERVERS_OWN: Final = frozenset({"SOPClassUID", "SOPInstanceUID", "ScheduledProcedureStepModificationDateTime"})
COLUMNS: Final = (*sorted(_SERVERS_OWN), "ProcedureStepState")
"""What a workitem has beside its attributes."""
RETURNED: Final = frozenset(row.keyword for row in TABLE if row.back in {"1", "2", "2C"})
"""What an answer to a search carries in any case."""

EMPTY_IF_UNKNOWN: Final = tuple(row.keyword for row in TABLE if row.back == "2")
"""What a workitem that is given out has in any case, without value where nobody has set it."""

RETURNED_IF_SET: Final[Mapping[str, tuple[str, ...]]] = {
    row.keyword: tuple(item.keyword for item in row.items if item.back == "1C")
    for row in TABLE
    if row.keyword not in RETURNED and any(item.back == "1C" for item in row.items)
}
"""Sequence -> what of its items an answer to a search carries where it has a value (type 1C)."""


# ----------------------------------------------------------------------------------------------------------- checking
def check_created(model: DataSet) -> None:
    """Return where a workitem may be created of this data set.

    Raises
    ------
    WorkitemInvalid
        The sentence names every attribute that is missing, without value, not allowed, or not one of its values.
    """
    locked = ["TransactionUID is not empty"] if datasets.values(model, "TransactionUID") else []
    _refuse([*locked, *_wrong([model], TABLE, "create"), *_odd_values(model)])
    state = datasets.first(model, "ProcedureStepState")
    if state != WorkitemState.SCHEDULED:
        raise WorkitemInvalid("ProcedureStepState of a new workitem is SCHEDULED")


def check_set(model: DataSet) -> None:
    """Return where these attributes of a workitem may be set.

    Raises
    ------
    WorkitemInvalid
        As `check_created`.
    """
    _refuse([*_wrong([model], TABLE, "change"), *_odd_values(model)])


def check_request(model: DataSet) -> None:
    """Return where this may be said with a request to cancel a workitem.

    Raises
    ------
    WorkitemInvalid
        As `check_created`.
    """
    _refuse([*_wrong([model], REQUEST, "change")], "CC.2.2-1")


def missing_for(model: DataSet, state: WorkitemState) -> list[str]:
    """Return the attributes without which a workitem cannot become COMPLETED or CANCELED (PS3.4 CC.2.5.1.1).

    What is of code RC is wanted if it is known, which only the performer can tell.
    """
    codes = {"R", "P"} if state is WorkitemState.COMPLETED else {"R", "X"}
    return [path for path in _unfinished(model, TABLE, codes) if path not in COLUMNS]


def _refuse(problems: list[str], table: str = "CC.2.5-3") -> None:
    if problems:
        shown = ", ".join(problems[:32]) + (f" and {len(problems) - 32} more" if len(problems) > 32 else "")
        raise WorkitemInvalid(f"the data set does not satisfy PS3.4 Table {table}: {shown}")


def _wrong(nest: Nest, rows: tuple[Row, ...], column: str, above: str = "") -> Iterator[str]:
    model = nest[-1]
    for row in rows:
        path = above + row.keyword
        requirement = row.create if column == "create" else row.change
        present = datasets.tag(row.keyword) in model
        valued = bool(datasets.values(model, row.keyword))
        if requirement == NO:
            if present and row.keyword not in _SERVERS_OWN:
                yield f"{path} is not allowed"
            continue
        broken = _of_condition(row, requirement, nest, present=present, valued=valued)
        if broken:
            yield f"{path} {broken}"
        else:
            yield from _of_type(path, requirement, present=present, valued=valued)
        for item in datasets.items(model, row.keyword) if row.items or row.one_of else []:
            yield from _wrong((*nest, item), row.items, column, f"{path}.")
            if row.one_of and not any(datasets.values(item, keyword) for keyword in row.one_of):
                yield f"{path} has an item without {' or '.join(row.one_of)}"


def _of_type(path: str, requirement: str, *, present: bool, valued: bool) -> Iterator[str]:
    user, _, server = requirement.partition("/")
    if requirement == EMPTY:
        if valued:
            yield f"{path} is not empty"
        elif not present:
            yield f"{path} is missing"
    elif user == "1":
        if not valued:
            yield f"{path} {_lack(present=present)}"
    elif user == "2":
        if not present:
            yield f"{path} is missing"
    elif present and not valued and server.startswith("1") and path != "WorklistLabel":
        yield f"{path} has no value"


def _of_condition(row: Row, requirement: str, nest: Nest, *, present: bool, valued: bool) -> str | None:
    """Return how an attribute breaks its condition, None where it does not or has none."""
    if row.when is None or "C" not in requirement:
        return None
    if row.when.wanted(nest) and not valued:
        return f"{_lack(present=present)}, wanted {row.when.says}"
    return None if not valued or row.when.allowed(nest) else f"is allowed only {row.when.says}"


def _lack(*, present: bool) -> str:
    return "has no value" if present else "is missing"


def _odd_values(model: DataSet) -> Iterator[str]:
    for keyword, allowed in ENUMERATED.items():
        if not set(map(str, datasets.values(model, keyword))) <= allowed or len(datasets.values(model, keyword)) > 1:
            yield f"{keyword} is not one of {', '.join(sorted(allowed))}"
    for keyword in _DATETIMES:
        if not all(DATETIME.fullmatch(str(value)) for value in datasets.values(model, keyword)):
            yield f"{keyword} is no date and time"
    if datasets.first(model, "SOPClassUID") not in {None, SOP_CLASS_UID}:
        yield f"SOPClassUID is not {SOP_CLASS_UID}"


def _unfinished(model: DataSet, rows: tuple[Row, ...], codes: set[str], above: str = "") -> Iterator[str]:
    for row in rows:
        path = above + row.keyword
        if row.final in codes and not datasets.values(model, row.keyword):
            yield path
        for item in datasets.items(model, row.keyword) if row.items else []:
            yield from _unfinished(item, row.items, codes, f"{path}.")

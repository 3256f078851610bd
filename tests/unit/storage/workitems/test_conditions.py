"""What a workitem must have for what else it has (PS3.4 Tables CC.2.5-2a to -3, PS3.5 7.4.2).  W-60, W-62."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from storage.workitems import attributes
from storage.workitems.attributes import TABLE, Row, check_created, check_set
from storage.workitems.errors import WorkitemInvalid
from tests.workitems import Model, code, content, data_set, instances, performed, workitem

CT, PALETTE, PRIVATE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.39.1", "1.2.3.4"
INVENTORY = "1.2.840.10008.5.1.4.1.1.201.1"
LONG = "a-code-of-more-than-16"
URN = "urn:oid:1.2.840.10008"
NAMES = "ScheduledStationNameCodeSequence"
INPUT = "InputInformationSequence"
PARAMETERS = "ScheduledProcessingParametersSequence"
SHORT_ONLY = "of a code of at most 16 characters that is no URN or URL"
LONG_ONLY = "of a code of more than 16 characters that is no URN or URL"
URN_ONLY = "of a code that is a URN or URL"


def said_of(model: Model) -> str:
    """Return what is wrong with a new workitem, nothing where it may be created."""
    try:
        check_created(model)
    except WorkitemInvalid as error:
        return str(error).partition("CC.2.5-3: ")[2]
    return ""


def meaning(**changed: Any) -> Model:
    return data_set(**{"CodeMeaning": "A meaning", **changed})


# --------------------------------------------------------------------------------------------------- codes, CC.2.5-2a
@pytest.mark.parametrize(
    "item",
    [
        meaning(CodeValue="NODE1", CodingSchemeDesignator="99SITE"),
        meaning(CodeValue="NODE1", CodingSchemeDesignator="99SITE", CodingSchemeVersion="1"),
        meaning(LongCodeValue=LONG, CodingSchemeDesignator="99SITE"),
        meaning(URNCodeValue=URN),
        meaning(URNCodeValue="https://site.example/codes/1"),
        meaning(URNCodeValue=URN, CodingSchemeDesignator="99SITE"),
    ],
)
def test_a_code_has_its_value_where_its_length_and_kind_want_it(item: Model) -> None:
    assert not said_of(workitem(**{NAMES: [item]}))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (
            meaning(CodeValue="NODE1"),
            [f"{NAMES}.CodingSchemeDesignator is missing, wanted with CodeValue or LongCodeValue"],
        ),
        (
            meaning(LongCodeValue=LONG, CodingSchemeDesignator=None),
            [f"{NAMES}.CodingSchemeDesignator has no value, wanted with CodeValue or LongCodeValue"],
        ),
        (
            meaning(LongCodeValue="NODE1", CodingSchemeDesignator="99SITE"),
            [
                f"{NAMES}.CodeValue is missing, wanted {SHORT_ONLY}",
                f"{NAMES}.LongCodeValue is allowed only {LONG_ONLY}",
            ],
        ),
        (
            meaning(CodeValue=LONG, CodingSchemeDesignator="99SITE"),
            [
                f"{NAMES}.CodeValue is allowed only {SHORT_ONLY}",
                f"{NAMES}.LongCodeValue is missing, wanted {LONG_ONLY}",
            ],
        ),
        (
            meaning(LongCodeValue=URN, CodingSchemeDesignator="99SITE"),
            [
                f"{NAMES}.LongCodeValue is allowed only {LONG_ONLY}",
                f"{NAMES}.URNCodeValue is missing, wanted {URN_ONLY}",
            ],
        ),
        (
            meaning(URNCodeValue="NODE1"),
            [
                f"{NAMES}.CodeValue is missing, wanted {SHORT_ONLY}",
                f"{NAMES}.URNCodeValue is allowed only {URN_ONLY}",
            ],
        ),
        (
            meaning(CodeValue="NODE1", CodingSchemeDesignator="99SITE", LongCodeValue=LONG),
            [f"{NAMES}.LongCodeValue is allowed only {LONG_ONLY}"],
        ),
        (
            meaning(URNCodeValue=URN, CodingSchemeVersion="1"),
            [f"{NAMES}.CodingSchemeVersion is allowed only with CodingSchemeDesignator"],
        ),
        (meaning(), [f"{NAMES} has an item without CodeValue or LongCodeValue or URNCodeValue"]),
    ],
)
def test_a_code_that_breaks_a_condition_is_refused_with_what_is_wanted(item: Model, said: list[str]) -> None:
    assert said_of(workitem(**{NAMES: [item]})) == ", ".join(said)


def test_codes_within_other_sequences_have_the_same_conditions() -> None:
    human = data_set(
        HumanPerformerCodeSequence=[meaning(CodeValue="H7")],
        HumanPerformerName={"Alphabetic": "Lan"},
        HumanPerformerOrganization="A",
    )
    assert said_of(workitem(ScheduledHumanPerformersSequence=[human])) == (
        "ScheduledHumanPerformersSequence.HumanPerformerCodeSequence.CodingSchemeDesignator is missing, "
        "wanted with CodeValue or LongCodeValue"
    )


# --------------------------------------------------------------------------------------------- parameters, CC.2.5-2b
VALUES: dict[str, dict[str, Any]] = {
    "DATETIME": {"DateTime": "20260301080000"},
    "DATE": {"Date": "20260301"},
    "TIME": {"Time": "080000"},
    "PNAME": {"PersonName": {"Alphabetic": "Lan"}},
    "UIDREF": {"UID": "1.2.3"},
    "TEXT": {"TextValue": "x"},
    "CODE": {"ConceptCodeSequence": [code("110004", "Computer Aided Detection")]},
    "NUMERIC": {"NumericValue": 1, "MeasurementUnitsCodeSequence": [code("mm", "millimetre", "UCUM")]},
}


@pytest.mark.parametrize("value_type", VALUES)
def test_a_parameter_has_the_value_that_its_type_says_and_no_other(value_type: str) -> None:
    right = content(value_type, **VALUES[value_type])
    assert not said_of(workitem(**{PARAMETERS: [right]}))
    lacking = [
        f"{PARAMETERS}.{keyword} is missing, wanted where ValueType is {value_type}" for keyword in VALUES[value_type]
    ]
    assert said_of(workitem(**{PARAMETERS: [content(value_type)]})) == ", ".join(lacking)
    for other, values in VALUES.items():
        if other != value_type:
            said = said_of(workitem(**{PARAMETERS: [right | data_set(**values)]}))
            assert said == ", ".join(
                f"{PARAMETERS}.{keyword} is allowed only where ValueType is {other}" for keyword in values
            )


def test_a_modifier_of_a_parameter_is_a_content_item_too() -> None:
    modified = content("TEXT", TextValue="x", ContentItemModifierSequence=[content("DATE")])
    assert said_of(workitem(**{PARAMETERS: [modified]})) == (
        f"{PARAMETERS}.ContentItemModifierSequence.Date is missing, wanted where ValueType is DATE"
    )


# ---------------------------------------------------------------------------------------------- instances, CC.2.5-2c


def cda(**changed: Any) -> Model:
    reference = data_set(
        ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.104.2", ReferencedSOPInstanceUID="1.2.3.1", **changed
    )
    told = instances(TypeOfInstances="CDA", ReferencedSOPSequence=[reference])
    return {key: element for key, element in told.items() if key not in {"0020000D", "0020000E"}}


def without(model: Model, *keywords: str) -> Model:
    left_out = set(data_set(**dict.fromkeys(keywords)))
    return {key: element for key, element in model.items() if key not in left_out}


@pytest.mark.parametrize(
    "item",
    [
        instances(),
        without(instances(PALETTE), "StudyInstanceUID", "SeriesInstanceUID"),
        without(instances(INVENTORY), "StudyInstanceUID", "SeriesInstanceUID"),
        without(instances(PRIVATE), "StudyInstanceUID", "SeriesInstanceUID"),
        instances(PRIVATE),
        cda(HL7InstanceIdentifier="1.2.3^4"),
        without(
            instances(DICOMRetrievalSequence=[data_set(RetrieveAETitle="ARCHIVE")]),
            "WADORSRetrievalSequence",
        ),
    ],
)
def test_instances_are_named_as_their_type_and_class_want_it(item: Model) -> None:
    assert not said_of(workitem(**{INPUT: [item]}))


PLACES = (
    "DICOMRetrievalSequence",
    "DICOMMediaRetrievalSequence",
    "WADORetrievalSequence",
    "WADORSRetrievalSequence",
    "XDSRetrievalSequence",
)
WHERE_A_STUDY = "where TypeOfInstances is DICOM and ReferencedSOPSequence names instances of a study"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (without(instances(), "StudyInstanceUID"), [f"{INPUT}.StudyInstanceUID is missing, wanted {WHERE_A_STUDY}"]),
        (without(instances(), "SeriesInstanceUID"), [f"{INPUT}.SeriesInstanceUID is missing, wanted {WHERE_A_STUDY}"]),
        (
            cda(HL7InstanceIdentifier="1.2.3^4") | data_set(StudyInstanceUID="2.25.77"),
            [f"{INPUT}.StudyInstanceUID is allowed only {WHERE_A_STUDY}"],
        ),
        (
            cda(),
            [f"{INPUT}.ReferencedSOPSequence.HL7InstanceIdentifier is missing, wanted where TypeOfInstances is CDA"],
        ),
        (
            instances(HL7InstanceIdentifier="1.2.3^4"),
            [f"{INPUT}.ReferencedSOPSequence.HL7InstanceIdentifier is allowed only where TypeOfInstances is CDA"],
        ),
        (
            instances(ReferencedFrameNumber=1, ReferencedSegmentNumber=1),
            [
                f"{INPUT}.ReferencedSOPSequence.ReferencedFrameNumber is allowed only without ReferencedSegmentNumber",
                f"{INPUT}.ReferencedSOPSequence.ReferencedSegmentNumber is allowed only without ReferencedFrameNumber",
            ],
        ),
        (
            without(instances(), "WADORSRetrievalSequence"),
            [f"{INPUT} has an item without {' or '.join(PLACES)}"],
        ),
        (
            instances(WADORSRetrievalSequence=[data_set()]),
            [f"{INPUT}.WADORSRetrievalSequence.RetrieveURL is missing"],
        ),
    ],
)
def test_instances_that_break_a_condition_are_refused_with_what_is_wanted(item: Model, said: list[str]) -> None:
    assert said_of(workitem(**{INPUT: [item]})) == ", ".join(said)


# -------------------------------------------------------------------------------------- identifiers, CC.2.5-2d and -2e
def test_a_universal_identifier_has_its_type_and_none_has_one_without() -> None:
    path = "IssuerOfAdmissionIDSequence"
    for item, said in (
        (data_set(LocalNamespaceEntityID="BVCR"), ""),
        (data_set(UniversalEntityID="1.2.3", UniversalEntityIDType="ISO"), ""),
        (
            data_set(UniversalEntityID="1.2.3"),
            f"{path}.UniversalEntityIDType is missing, wanted with UniversalEntityID",
        ),
        (
            data_set(LocalNamespaceEntityID="BVCR", UniversalEntityIDType="ISO"),
            f"{path}.UniversalEntityIDType is allowed only with UniversalEntityID",
        ),
        (data_set(), f"{path} has an item without LocalNamespaceEntityID or UniversalEntityID"),
    ):
        assert said_of(workitem(**{path: [item]})) == said


def test_the_issuer_of_a_patients_id_is_looked_at_too() -> None:
    path = "IssuerOfPatientIDQualifiersSequence"
    facility = data_set(AssigningFacilitySequence=[data_set(UniversalEntityID="1.2.3")])
    assert said_of(workitem(**{path: [data_set(UniversalEntityID="1.2.3", UniversalEntityIDType="ISO")]})) == ""
    assert said_of(workitem(**{path: [facility]})) == (
        f"{path}.AssigningFacilitySequence.UniversalEntityIDType is missing, wanted with UniversalEntityID"
    )
    other = data_set(PatientID="BHYT1", **{path: [data_set(UniversalEntityID="1.2.3")]})
    with pytest.raises(WorkitemInvalid, match=f"OtherPatientIDsSequence.{path}.UniversalEntityIDType is missing"):
        check_set(data_set(OtherPatientIDsSequence=[other]))


# ------------------------------------------------------------------------------------------- the whole table, CC.2.5-3
def destination(place: str = "STOWRSStorageSequence", sop_class_uid: str | None = None) -> Model:
    found = {
        "DICOMStorageSequence": data_set(DestinationAE="ARCHIVE"),
        "STOWRSStorageSequence": data_set(StorageURL="https://archive.example/dicom-web"),
        "XDSStorageSequence": data_set(RepositoryUniqueID="1.2.3"),
    }
    told = data_set(**{place: [found[place]]})
    return told if sop_class_uid is None else told | data_set(ReferencedSOPClassUID=sop_class_uid)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "PatientID"])
@pytest.mark.parametrize("place", ["DICOMStorageSequence", "STOWRSStorageSequence"])
def test_a_workitem_that_says_where_its_objects_go_names_the_study_and_the_patient(keyword: str, place: str) -> None:
    wanted = f"{keyword} has no value, wanted where OutputDestinationSequence says where DICOM objects of a patient are"
    made = workitem(**{keyword: None, "OutputDestinationSequence": [destination(place)]})
    assert said_of(made).startswith(wanted)
    assert said_of(without(made, keyword)).startswith(wanted.replace("has no value", "is missing"))
    assert not said_of(workitem(OutputDestinationSequence=[destination(place)]))


@pytest.mark.parametrize(
    "places",
    [
        None,
        [destination("XDSStorageSequence")],
        [destination(sop_class_uid=PALETTE)],
        [destination(sop_class_uid=INVENTORY)],
    ],
)
def test_nothing_tells_of_a_study_where_no_objects_of_one_are_to_be_made(places: list[Model] | None) -> None:
    assert not said_of(workitem(StudyInstanceUID=None, PatientID=None, OutputDestinationSequence=places))


def test_a_destination_says_where_it_is() -> None:
    path = "OutputDestinationSequence"
    assert said_of(workitem(**{path: [data_set()]})) == (
        f"{path} has an item without DICOMStorageSequence or STOWRSStorageSequence or XDSStorageSequence"
    )
    assert said_of(workitem(**{path: [data_set(DICOMStorageSequence=[data_set()])]})) == (
        f"{path}.DICOMStorageSequence.DestinationAE is missing"
    )


def test_what_is_set_has_the_same_conditions_but_for_the_study_which_may_be_blanked() -> None:
    with pytest.raises(WorkitemInvalid, match=f"{NAMES}.CodingSchemeDesignator is missing, wanted with CodeValue"):
        check_set(data_set(**{NAMES: [meaning(CodeValue="NODE1")]}))
    with pytest.raises(WorkitemInvalid, match="SeriesInstanceUID is missing, wanted where"):
        check_set(performed(OutputInformationSequence=[without(instances(), "SeriesInstanceUID")]))
    check_set(data_set(StudyInstanceUID=None, OutputDestinationSequence=[destination()]))
    check_set(performed(OutputInformationSequence=[instances()]))


# -------------------------------------------------------------------------------------------------------- the data
def rows(table: tuple[Row, ...] = TABLE, above: str = "") -> Iterator[tuple[str, Row]]:
    for row in table:
        yield above + row.keyword, row
        yield from rows(row.items, f"{above}{row.keyword}.")


def test_each_conditional_attribute_has_a_condition_an_alternative_or_a_reason() -> None:
    """Those that have neither of the first two stand in the conformance statement, with the reason."""
    alternatives = {f"{path}.{keyword}" for path, row in rows() for keyword in row.one_of}
    untold = {
        path.rpartition(".")[2]
        for path, row in rows()
        if "C" in row.create + row.change and row.create != attributes.NO and row.when is None
        if path not in alternatives
    }
    assert untold == {"ReferencedSOPClassUID", "ReplacedProcedureStepSequence", "ScheduledHumanPerformersSequence"}


def test_only_conditional_attributes_have_a_condition() -> None:
    assert all("C/" in row.create + row.change for _, row in rows() if row.when is not None)

"""The table of attributes against the dictionary and against itself; moments in the forms that DICOM writes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword

from storage.matching import BY_VR, MatchRejected
from storage.workitems import moments
from storage.workitems.attributes import TABLE, Row, check_created, check_set, missing_for
from storage.workitems.errors import WorkitemInvalid
from storage.workitems.keys import MATCHED
from storage.workitems.states import WorkitemState
from tests.workitems import data_set, performed, workitem


def rows(table: tuple[Row, ...] = TABLE) -> Iterator[Row]:
    for row in table:
        yield row
        yield from rows(row.items)


def test_every_row_names_an_attribute_and_has_codes_that_mean_something() -> None:
    for row in rows():
        assert tag_for_keyword(row.keyword) is not None
        assert row.final in {"R", "RC", "P", "X", "O"}
        assert row.match in {"U", "R", "O", "-", "*"}
        assert not (row.items or row.one_of) or dictionary_VR(row.keyword) == "SQ"


def test_every_required_key_of_the_standard_is_matched() -> None:
    code = ("CodeValue", "CodingSchemeDesignator", "LongCodeValue", "URNCodeValue")
    designator = ("LocalNamespaceEntityID", "UniversalEntityID", "UniversalEntityIDType")
    required = {
        "ScheduledProcedureStepPriority",
        "ProcedureStepLabel",
        "WorklistLabel",
        *(f"ScheduledStationNameCodeSequence.{part}" for part in code),
        *(f"ScheduledStationClassCodeSequence.{part}" for part in code),
        *(f"ScheduledStationGeographicLocationCodeSequence.{part}" for part in code),
        *(f"ScheduledHumanPerformersSequence.HumanPerformerCodeSequence.{part}" for part in code),
        "ScheduledProcedureStepStartDateTime",
        "ExpectedCompletionDateTime",
        *(f"ScheduledWorkitemCodeSequence.{part}" for part in code),
        "InputReadinessState",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "OtherPatientIDsSequence.IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "AdmissionID",
        *(f"IssuerOfAdmissionIDSequence.{part}" for part in designator),
        "ReferencedRequestSequence.AccessionNumber",
        *(f"ReferencedRequestSequence.IssuerOfAccessionNumberSequence.{part}" for part in designator),
        "ReferencedRequestSequence.RequestedProcedureID",
        "ReferencedRequestSequence.RequestingService",
        "ReplacedProcedureStepSequence.ReferencedSOPClassUID",
        "ReplacedProcedureStepSequence.ReferencedSOPInstanceUID",
        "ProcedureStepState",
    }
    assert {path for path, match in MATCHED.items() if match == "R"} == required
    assert {path for path, match in MATCHED.items() if match == "U"} == {"SOPInstanceUID"}
    assert all(dictionary_VR(path.rpartition(".")[2]) in {*BY_VR, "DT"} for path in MATCHED)


def test_a_workitem_needs_what_its_end_requires() -> None:
    made = workitem()
    assert missing_for(made, WorkitemState.COMPLETED) == ["UnifiedProcedureStepPerformedProcedureSequence"]
    assert missing_for(made, WorkitemState.CANCELED) == ["ProcedureStepProgressInformationSequence"]
    assert missing_for(made | performed(), WorkitemState.COMPLETED) == []
    without = performed()
    del without["00741216"]["Value"][0]["00404028"]
    assert missing_for(made | without, WorkitemState.COMPLETED) == [
        "UnifiedProcedureStepPerformedProcedureSequence.PerformedStationNameCodeSequence"
    ]
    canceled = data_set(ProcedureStepProgressInformationSequence=[data_set(ReasonForCancellation="x")])
    assert missing_for(made | canceled, WorkitemState.CANCELED) == [
        "ProcedureStepProgressInformationSequence.ProcedureStepCancellationDateTime",
        "ProcedureStepProgressInformationSequence.ProcedureStepDiscontinuationReasonCodeSequence",
    ]


def test_each_attribute_of_type_one_and_two_is_missed() -> None:
    check_created(workitem())
    for row in TABLE:
        if row.create.startswith(("1/", "2/")):
            made = workitem()
            del made[f"{tag_for_keyword(row.keyword):08X}"]
            with pytest.raises(WorkitemInvalid, match=f"{row.keyword} is missing"):
                check_created(made)


def test_what_is_not_listed_may_be_set() -> None:
    check_set(data_set(PatientComments="x", ScheduledProcedureStepExpirationDateTime="2026"))


@pytest.mark.parametrize(
    ("key", "first", "last"),
    [
        ("20240105", "20240105000000.000000", "20240105235959.999999"),
        ("2024-2025", "20240101000000.000000", "20251231235959.999999"),
        ("202402", "20240201000000.000000", "20240229235959.999999"),
        ("20240105080000.5", "20240105080000.500000", "20240105080000.599999"),
        ("20240105080000+0700", "20240105010000.000000", "20240105010000.999999"),
        ("20240105080000 0700-", "20240105010000.000000", None),
        ("-20240105", None, "20240105235959.999999"),
        ("20240105-0500", "20240105050000.000000", "20240106045959.999999"),
        ("20240105080000-0500-20240106", "20240105130000.000000", "20240106235959.999999"),
    ],
)
def test_a_key_of_moments_covers_what_it_says(key: str, first: str | None, last: str | None) -> None:
    assert moments.sortable_ends(key) == (first, last)


@pytest.mark.parametrize("key", ["x", "-", "20241301", "20240231", "20240105-x", "2024-2025-2026", "20240105+9900"])
def test_a_key_that_is_no_moment_is_refused(key: str) -> None:
    with pytest.raises(MatchRejected):
        moments.between(key)


def test_moments_that_cannot_be_are_no_keys() -> None:
    assert moments.comparable("20240231") is None
    assert moments.comparable("00010101000000+1400") is None
    assert moments.comparable("2024") == "20240101000000.000000"

"""Result objects: what they say, that they say it alike whenever they are made, and what they are not made of."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pydicom
import pytest

from models import registry
from models.reference.dicom import head_ct_study, radiograph_study
from models.reference.identity import LABEL_EN, LABEL_VI
from storage.records import Finding, JobId, Outcome, ResultId, ResultRecord, TriageResult

pytest.importorskip("highdicom", reason="result objects need the extra `ai`")

from inference.errors import ReportImpossible
from inference.reports import ko, sc, seg, sr
from inference.reports.making import make
from inference.reports.told import Told, as_part10

AT = datetime(2026, 3, 1, 7, 8, 9, 1234, tzinfo=UTC)
NAME = "Nguyễn^Thị Đào"


@pytest.fixture(scope="module")
def head():
    return head_ct_study(1, haemorrhage=True, patient_name=NAME)[:6]


def told_of(images, *, model="head-ct-haemorrhage", outcome=Outcome.FLAGGED, reason=None, key=2, revision=1, masks=()):
    card = registry.card(model)
    uid = str(images[key].SOPInstanceUID)
    findings = [
        Finding(
            code=spec.code,
            name_en=spec.name_en,
            name_vi=spec.name_vi,
            score=0.83 if outcome is Outcome.FLAGGED else 0.02,
            threshold=spec.operating_point.threshold,
            operating_point=spec.operating_point.name,
            positive=outcome is Outcome.FLAGGED,
            urgency=str(spec.urgency),
            key_instance_uid=uid,
            key_series_uid=str(images[key].SeriesInstanceUID),
        )
        for spec in card.findings
    ]
    result = TriageResult(
        outcome=outcome,
        reason=reason,
        findings=tuple(findings) if reason is None else (),
        raises=True,
        provenance={"input_sha256": "ab" * 32},
    )
    record = ResultRecord(
        id=ResultId("1"),
        job_id=JobId("2"),
        revision=revision,
        model_id=card.id,
        model_version=card.version,
        model_digest=card.digest,
        created_at=AT,
        superseded_by=None,
        result=result,
    )
    pictures = {uid: np.full((40, 60, 3), 90, np.uint8)}
    return Told(result=record, card=card, images=images, pictures=pictures, masks=dict(masks))


def masks_of(told, code):
    mask = np.zeros((len(told.images), told.images[0].Rows, told.images[0].Columns), dtype=bool)
    mask[1:3, 10:20, 15:40] = True
    return told.__class__(
        result=told.result, card=told.card, images=told.images, pictures=told.pictures, masks={code: mask}
    ), mask


def reread(dataset):
    return pydicom.dcmread(io.BytesIO(as_part10(dataset)))


def words_of(dataset):
    """Return the meanings of every code and the text of every content item, in order."""
    found = []
    for item in dataset.ContentSequence:
        for keyword in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
            found += [str(code.CodeMeaning) for code in item.get(keyword, [])]
        if "ContentSequence" in item:
            found += words_of(item)
    return found


def texts_of(dataset):
    """Return the text of every content item, in order."""
    found = []
    for item in dataset.ContentSequence:
        found += [str(item.TextValue)] if "TextValue" in item else []
        found += texts_of(item) if "ContentSequence" in item else []
    return found


def contribution_of(dataset):
    """Return what our machine says of its part in an object."""
    items = reread(dataset).ContributingEquipmentSequence
    return next(str(item.ContributionDescription) for item in items if item.Manufacturer == "Roi")


def tracking_of(dataset):
    """Return the UIDs in a report's content, those of observer and tracking among them."""
    found = []
    for item in dataset.ContentSequence:
        found += [str(item.UID)] if "UID" in item else []
        found += tracking_of(item) if "ContentSequence" in item else []
    return found


@pytest.mark.parametrize("form", [sr, ko, sc])
def test_an_object_is_of_the_study_and_its_patient_and_of_a_series_of_its_own(head, form):
    """A-1: the study's identity word for word, new series and instance, in a range and with words of their own."""
    made = reread(form.build(told_of(head)))
    source = head[0]
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate", "AccessionNumber"):
        assert made.get(keyword) == source.get(keyword), keyword
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert 9000 < made.SeriesNumber < 9100
    assert made.SeriesDescription.startswith("head-ct-haemorrhage AI")
    assert made.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("form", [sr, ko, sc])
def test_an_object_names_the_machine_that_made_it(head, form):
    """A-2, A-8."""
    told = told_of(head)
    made = reread(form.build(told))
    assert made.ManufacturerModelName == told.card.id
    assert made.DeviceSerialNumber == told.card.digest
    assert made.SoftwareVersions == told.card.version
    (ours,) = [item for item in made.ContributingEquipmentSequence if item.Manufacturer == "Roi"]
    assert ours.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"


@pytest.mark.parametrize("form", [sr, ko, sc])
def test_the_same_result_makes_the_same_bytes_and_another_revision_other_uids(head, form):
    first, again = as_part10(form.build(told_of(head))), as_part10(form.build(told_of(head)))
    assert first == again
    later = reread(form.build(told_of(head, revision=2)))
    assert later.SOPInstanceUID != reread(form.build(told_of(head))).SOPInstanceUID


def test_a_report_is_a_device_s_and_never_final(head):
    """A-4."""
    made = reread(sr.build(told_of(head)))
    assert (made.CompletionFlag, made.VerificationFlag, made.PreliminaryFlag) == (
        "PARTIAL",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    assert "Device" in words_of(made)
    assert "Person" not in words_of(made)


def test_a_report_tells_present_absent_and_not_suitable_apart(head):
    """A-10: what was not analysed never looks like nothing found."""
    flagged = words_of(sr.build(told_of(head)))
    negative = words_of(sr.build(told_of(head, outcome=Outcome.NOT_FLAGGED)))
    unsuitable = words_of(sr.build(told_of(head, outcome=Outcome.NOT_SUITABLE, reason="contrast")))
    assert "Present" in flagged
    assert "Absent" not in flagged
    assert "Absent" in negative
    assert "Present" not in negative
    assert "Not suitable: contrast" in unsuitable
    assert not {"Present", "Absent"} & set(unsuitable)


def test_a_run_that_failed_is_told_as_that_in_a_report_and_nowhere_else(head):
    """A-10."""
    told = told_of(head, outcome=Outcome.FAILED, reason="timeout")
    words = words_of(sr.build(told))
    assert "Failed, not analysed: timeout" in words
    assert not {"Present", "Absent"} & set(words)
    assert [form.build(told) for form in (ko, sc, seg)] == [None] * 3


def test_a_result_of_a_model_that_is_no_longer_installed_is_told_with_that_warning(head):
    told = replace(told_of(head, outcome=Outcome.FAILED, reason="weights"), card=None)
    assert "This model is no longer installed." in texts_of(sr.build(told))


@pytest.mark.parametrize("form", [sr, ko, sc])
def test_the_warning_of_a_model_stands_in_every_object_in_both_languages(head, form):
    told = told_of(head)
    said = contribution_of(form.build(told))
    assert (LABEL_EN in said, LABEL_VI in said) == (True, True)


def test_a_shadow_result_says_so_in_every_object(head):
    told = told_of(head)
    shadow = replace(told, result=replace(told.result, result=replace(told.result.result, raises=False)))
    assert "Shadow result, moves nothing" in words_of(sr.build(shadow))
    assert "Shadow result, moves nothing" not in words_of(sr.build(told))
    for form in (sr, ko, sc):
        said = contribution_of(form.build(shadow))
        assert "Shadow result" in said
        assert "chạy thử" in said


def test_a_later_revision_s_report_names_the_one_before_and_tracks_the_same_finding(head):
    """A-5; triage results are versioned, never replaced."""
    first = make(told_of(head), ["sr"])[0].named
    later = sr.build(replace(told_of(head, revision=2), follows=first))
    (study,) = later.PredecessorDocumentsSequence
    (named,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert (named.ReferencedSOPInstanceUID, named.ReferencedSOPClassUID) == (first.sop_instance_uid, later.SOPClassUID)
    assert tracking_of(later) == tracking_of(sr.build(told_of(head)))
    assert later.SOPInstanceUID != first.sop_instance_uid


def test_a_retracted_result_has_one_more_report_that_says_so_and_follows_the_first(head):
    first, *_ = made = make(told_of(head), ["sr", "ko", "sc"])
    (retraction,) = make(replace(told_of(head), follows=first.named, is_retracted=True), ["sr", "ko", "sc"])
    read = pydicom.dcmread(io.BytesIO(retraction.content))
    assert "Retracted" in words_of(read)
    assert not {"Present", "Absent"} & set(words_of(read))
    assert read.SeriesInstanceUID == first.named.series_instance_uid
    assert read.SOPInstanceUID not in {each.named.sop_instance_uid for each in made}
    assert read.PredecessorDocumentsSequence[0].StudyInstanceUID == head[0].StudyInstanceUID


def test_what_was_not_flagged_has_neither_key_images_nor_a_picture(head):
    told = told_of(head, outcome=Outcome.NOT_FLAGGED)
    assert ko.build(told) is None
    assert sc.build(told) is None


def test_the_evidence_names_every_image_that_was_looked_at(head):
    """A-6."""
    (study,) = sr.build(told_of(head)).CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    named = {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence}
    assert named == {image.SOPInstanceUID for image in head}


def test_a_finding_is_tracked_by_one_uid_in_report_and_segmentation(head):
    """A-5."""
    told, _ = masks_of(told_of(head), "phantom-hyperdensity")
    (segment,) = seg.build(told).SegmentSequence
    assert str(segment.TrackingUID) in str(sr.build(told))


def test_a_segmentation_holds_the_mask_on_the_images_it_was_made_of(head):
    """A-3, A-6."""
    highdicom = pytest.importorskip("highdicom")
    told, mask = masks_of(told_of(head), "phantom-hyperdensity")
    made = highdicom.seg.segread(io.BytesIO(as_part10(seg.build(told))))
    uids = [str(image.SOPInstanceUID) for image in head]
    pixels = made.get_pixels_by_source_instance(
        uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(pixels[..., 0].astype(bool), mask)
    assert made.FrameOfReferenceUID == head[0].FrameOfReferenceUID
    (segment,) = made.SegmentSequence
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
    assert as_part10(seg.build(told)) == as_part10(seg.build(told))


def test_a_mask_of_another_size_is_refused(head):
    told = told_of(head, masks={"phantom-hyperdensity": np.ones((2, 3, 3), dtype=bool)})
    with pytest.raises(ReportImpossible, match="mask"):
        seg.build(told)


def test_a_picture_has_its_banner_above_the_image_and_covers_nothing(head):
    """A-7, A-9."""
    made = reread(sc.build(told_of(head)))
    picture = np.asarray(made.pixel_array)
    assert made.BurnedInAnnotation == "YES"
    assert list(made.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    height = 40 * (512 // 40 + 1)
    below, banner = picture[-height:], picture[:-height]
    assert (below == 90).all()
    assert (banner == (255, 221, 0)).all(axis=-1).any()
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == head[2].SOPInstanceUID


def test_a_radiograph_s_findings_stand_each_in_a_group_of_its_own():
    images = radiograph_study(3, findings=frozenset({"effusion"}), patient_name=NAME)
    report = sr.build(told_of(images, model="chest-radiograph", key=0))
    assert words_of(report).count("Tracking Identifier") == 3


def test_images_of_two_studies_are_no_result(head):
    with pytest.raises(ReportImpossible, match="several studies"):
        told_of([head[0], *head_ct_study(2, haemorrhage=False)[:2]])

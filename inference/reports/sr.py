"""A result as a structured report: Comprehensive 3D SR, template TID 1500 Measurement Report (PS3.16).

It is evidence, not a report: partial, unverified, preliminary, its observer a device.  A negative run says that a
finding is absent; a run that was not suitable says why, and never that nothing was found (A-10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from inference.reports.told import SCHEME, Told, code_of, finished
from storage.records import Outcome

if TYPE_CHECKING:
    from storage.records import Finding, ResultObject

FORM: Final = "sr"
DESCRIPTION: Final = "findings (not diagnostic)"

_PROCEDURES: Final = {
    "CT": ("25045-6", "CT unspecified body region"),
    "DX": ("43468-8", "XR unspecified body region"),
    "CR": ("43468-8", "XR unspecified body region"),
}
"""Modality -> LOINC code of the procedure, as unspecific as what is known of it."""
_PROBABILITY: Final = CodedConcept("C108339", "NCIt", "Probability")
_STATUS: Final = CodedConcept("analysis-status", SCHEME, "Analysis status")
_MOST_SOURCES: Final = 64
"""So many source images are named in a group of measurements; the evidence names all."""


def build(told: Told) -> Dataset:
    """Return the report of a result; every run has one (A-10)."""
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=told.observer()),
        procedure_reported=_procedure(told),
        imaging_measurements=_groups(told),
        title=codes.DCM.ImagingMeasurementReport,
    )
    dataset = Comprehensive3DSR(
        evidence=list(told.images),
        content=report,
        is_complete=False,
        is_final=False,
        is_verified=False,
        coding_schemes=told.scheme(),
        previous_versions=[_reference(told.follows)] if told.follows is not None else None,
        **told.series(FORM, 1, description=DESCRIPTION),
        **told.equipment(),
    )
    return finished(dataset, told, description=DESCRIPTION)


def _procedure(told: Told) -> CodedConcept:
    value, meaning = _PROCEDURES.get(str(told.images[0].get("Modality", "")), ("18748-4", "Diagnostic imaging study"))
    return CodedConcept(value, "LN", meaning)


def _groups(told: Told) -> list[MeasurementsAndQualitativeEvaluations]:
    result = told.result.result
    if told.is_retracted:
        return [_without_answer(told, "retracted", "Retracted")]
    if result.outcome is Outcome.NOT_SUITABLE:
        reason = result.reason or "unknown"
        return [_without_answer(told, f"ns:{reason}", f"Not suitable: {reason}")]
    if result.outcome is Outcome.FAILED:
        reason = result.reason or "unknown"
        return [_without_answer(told, f"failed:{reason}", f"Failed, not analysed: {reason}")]
    return [_of_finding(told, finding) for finding in result.findings]


def _of_finding(told: Told, finding: Finding) -> MeasurementsAndQualitativeEvaluations:
    """Tell one finding: present or absent at its operating point, and its score (A-12, A-13)."""
    presence = codes.SCT.Present if finding.positive else codes.SCT.Absent
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=told.tracking(finding),
        finding_type=code_of(finding),
        algorithm_id=told.algorithm,
        measurements=[Measurement(name=_PROBABILITY, value=round(finding.score, 6), unit=codes.UCUM.NoUnits)],
        qualitative_evaluations=[
            QualitativeEvaluation(name=code_of(finding), value=presence),
            *([_status("shadow", "Shadow result, moves nothing")] if told.is_shadow else []),
        ],
        source_images=_sources(told, finding.key_instance_uid if finding.positive else None),
    )


def _without_answer(told: Told, code: str, meaning: str) -> MeasurementsAndQualitativeEvaluations:
    """Tell why nothing is said of any finding."""
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=told.uid(code), identifier="analysis status"),
        algorithm_id=told.algorithm,
        qualitative_evaluations=[_status(code, meaning)],
        source_images=_sources(told, None),
    )


def _status(code: str, meaning: str) -> QualitativeEvaluation:
    return QualitativeEvaluation(name=_STATUS, value=CodedConcept(code, SCHEME, meaning))


def _reference(before: ResultObject) -> Dataset:
    """Return what highdicom asks of a predecessor: the UIDs that it is referred to by."""
    named = Dataset()
    named.SOPClassUID, named.SOPInstanceUID = before.sop_class_uid, before.sop_instance_uid
    named.StudyInstanceUID, named.SeriesInstanceUID = before.study_instance_uid, before.series_instance_uid
    return named


def _sources(told: Told, key_instance_uid: str | None) -> list[SourceImageForMeasurementGroup]:
    named = [image for image in told.images if key_instance_uid in {None, str(image.SOPInstanceUID)}]
    return [
        SourceImageForMeasurementGroup(
            referenced_sop_class_uid=image.SOPClassUID, referenced_sop_instance_uid=image.SOPInstanceUID
        )
        for image in named[:_MOST_SOURCES]
    ]

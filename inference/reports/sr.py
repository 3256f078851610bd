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
from pydicom.sr.codedict import codes

from inference.reports.told import SCHEME, Told, code_of, finished
from storage.records import Outcome

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from storage.records import Finding

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


def build(told: Told) -> Dataset | None:
    """Return the report of a result; None for a run that failed, of which there is nothing to tell."""
    if told.result.result.outcome is Outcome.FAILED:
        return None
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
        **told.series(FORM, 1, description=DESCRIPTION),
        **told.equipment(),
    )
    return finished(dataset, told, description=DESCRIPTION)


def _procedure(told: Told) -> CodedConcept:
    value, meaning = _PROCEDURES.get(str(told.images[0].get("Modality", "")), ("18748-4", "Diagnostic imaging study"))
    return CodedConcept(value, "LN", meaning)


def _groups(told: Told) -> list[MeasurementsAndQualitativeEvaluations]:
    result = told.result.result
    if result.outcome is Outcome.NOT_SUITABLE:
        return [_not_suitable(told)]
    return [_of_finding(told, finding) for finding in result.findings]


def _of_finding(told: Told, finding: Finding) -> MeasurementsAndQualitativeEvaluations:
    """Tell one finding: present or absent at its operating point, and its score (A-12, A-13)."""
    presence = codes.SCT.Present if finding.positive else codes.SCT.Absent
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=told.tracking(finding),
        finding_type=code_of(finding),
        algorithm_id=told.algorithm,
        measurements=[Measurement(name=_PROBABILITY, value=round(finding.score, 6), unit=codes.UCUM.NoUnits)],
        qualitative_evaluations=[QualitativeEvaluation(name=code_of(finding), value=presence)],
        source_images=_sources(told, finding.key_instance_uid if finding.positive else None),
    )


def _not_suitable(told: Told) -> MeasurementsAndQualitativeEvaluations:
    reason = told.result.result.reason or "unknown"
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=told.uid("not suitable"), identifier="not suitable"),
        algorithm_id=told.algorithm,
        qualitative_evaluations=[
            QualitativeEvaluation(name=_STATUS, value=CodedConcept(f"ns:{reason}", SCHEME, f"Not suitable: {reason}"))
        ],
        source_images=_sources(told, None),
    )


def _sources(told: Told, key_instance_uid: str | None) -> list[SourceImageForMeasurementGroup]:
    named = [image for image in told.images if key_instance_uid in {None, str(image.SOPInstanceUID)}]
    return [
        SourceImageForMeasurementGroup(
            referenced_sop_class_uid=image.SOPClassUID, referenced_sop_instance_uid=image.SOPInstanceUID
        )
        for image in named[:_MOST_SOURCES]
    ]

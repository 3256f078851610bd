"""Workitems as they are given out: the kept attributes and what stands beside them; a triage job as a workitem."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from api.dicomweb.model import DataSet, element, name_groups
from storage.records import InstanceRecord, JobState
from storage.workitems import datasets
from storage.workitems.attributes import EMPTY_IF_UNKNOWN, RETURNED, RETURNED_IF_SET, SOP_CLASS_UID
from storage.workitems.datasets import code, made_of
from storage.workitems.keys import JOB_CODE, JOB_LABEL, JOB_WORKLIST, station_of
from storage.workitems.moments import written
from storage.workitems.records import JobStep, Workitem

if TYPE_CHECKING:
    from storage.catalog.event_reports import Event

_EVENT_REPORT: Final = 0x0100
_HAS_DATA_SET: Final = 0x0000
_UNKNOWN: Final = made_of((keyword, None) for keyword in EMPTY_IF_UNKNOWN)
_CODE: Final = code(*JOB_CODE)
_FAILED: Final = code("110513", "DCM", "Discontinued for unspecified reason")


def as_model(found: Workitem | JobStep, base: str, instances: Sequence[InstanceRecord] = ()) -> DataSet:
    """Return a workitem; never its Transaction UID (PS3.18 11.5.3.3).

    `instances` are the input of a job, where they are told.
    """
    told = _of_job(found, base, instances) if isinstance(found, JobStep) else found.attributes
    beside = made_of(
        [
            ("SpecificCharacterSet", "ISO_IR 192"),
            ("SOPClassUID", SOP_CLASS_UID),
            ("SOPInstanceUID", found.uid),
            ("ProcedureStepState", found.state),
            ("ScheduledProcedureStepModificationDateTime", written(_changed(found))),
        ]
    )
    return dict(sorted((_UNKNOWN | told | beside).items()))


def as_answer(model: DataSet, wanted: Iterable[str]) -> DataSet:
    """Return what an answer to a search carries: the attributes it always does, and those wanted (PS3.18 11.9.2)."""
    tops = {path.partition(".")[0] for path in wanted}
    if "all" in tops:
        return model
    known = [keyword for keyword in (*RETURNED, *tops, "SpecificCharacterSet") if element_exists(keyword)]
    return dict(sorted({**_set_within(model), **datasets.chosen(model, known)}.items()))


def _set_within(model: DataSet) -> DataSet:
    """Return what is given of sequences that are not given whole: what their items have of type 1C."""
    made: DataSet = {}
    for sequence, keywords in RETURNED_IF_SET.items():
        set_items = [datasets.chosen(item, keywords) for item in datasets.items(model, sequence)]
        if any(set_items):
            datasets.put(made, sequence, *set_items)
    return made


def element_exists(keyword: str) -> bool:
    """Tell whether a keyword is one of the dictionary: a private tag is none."""
    try:
        datasets.tag(keyword)
    except LookupError:
        return False
    return True


def as_frame(event: Event, message_id: int) -> DataSet:
    """Return an event as it leaves through a channel: the command's attributes and its own (PS3.18 11.13)."""
    command = [
        ("AffectedSOPClassUID", SOP_CLASS_UID),
        ("CommandField", _EVENT_REPORT),
        ("MessageID", message_id),
        ("CommandDataSetType", _HAS_DATA_SET),
        ("AffectedSOPInstanceUID", event.workitem_uid),
        ("EventTypeID", int(event.type)),
    ]
    return dict(sorted({**dict(element(keyword, value) for keyword, value in command), **event.attributes}.items()))


def _changed(found: Workitem | JobStep) -> Any:  # noqa: ANN401 - a time
    if isinstance(found, Workitem):
        return found.modified_at
    return found.ended_at or found.claimed_at or found.created_at


# ------------------------------------------------------------------------------------------------------- triage jobs
def _of_job(step: JobStep, base: str, instances: Sequence[InstanceRecord]) -> DataSet:
    """Return a job's attributes: everything that Table CC.2.5-3 wants of a workitem that a server makes itself."""
    job, subject = step.job, step.subject
    station = station_of(job)
    pairs: list[tuple[str, object]] = [
        ("ScheduledProcedureStepPriority", "HIGH" if step.is_urgent else "MEDIUM"),
        ("ProcedureStepLabel", JOB_LABEL),
        ("WorklistLabel", JOB_WORKLIST),
        ("ScheduledProcessingParametersSequence", None),
        ("ScheduledStationNameCodeSequence", station),
        ("ScheduledStationClassCodeSequence", None),
        ("ScheduledStationGeographicLocationCodeSequence", None),
        ("ScheduledProcedureStepStartDateTime", written(step.created_at)),
        ("ScheduledWorkitemCodeSequence", _CODE),
        ("CommentsOnTheScheduledProcedureStep", None),
        ("InputReadinessState", "READY"),
        ("InputInformationSequence", _input(step, base, instances)),
        ("StudyInstanceUID", job.study_instance_uid),
        ("PatientName", name_groups(subject.patient_name) if subject.patient_name else None),
        ("PatientID", subject.patient_id),
        ("IssuerOfPatientID", subject.issuer_of_patient_id),
        ("PatientBirthDate", subject.patient_birth_date),
        ("PatientSex", subject.patient_sex),
        ("ReferencedRequestSequence", _request(step)),
        ("ProcedureStepProgressInformationSequence", _progress(step)),
        ("UnifiedProcedureStepPerformedProcedureSequence", _performed(step, station)),
    ]
    return made_of(pairs)


def _input(step: JobStep, base: str, instances: Sequence[InstanceRecord]) -> list[DataSet]:
    """Return where the input is: the study, or each of its series with its instances."""
    study = step.job.study_instance_uid
    if not instances:
        return [_access(study, f"{base}/studies/{study}", [])]
    by_series = groupby(instances, key=lambda instance: instance.series_instance_uid)
    return [
        _access(study, f"{base}/studies/{study}/series/{series}", [_reference(one) for one in of_series], series)
        for series, of_series in by_series
    ]


def _access(study: str, url: str, references: list[DataSet], series: str | None = None) -> DataSet:
    pairs: list[tuple[str, object]] = [
        ("TypeOfInstances", "DICOM"),
        ("StudyInstanceUID", study),
        ("ReferencedSOPSequence", references),
        ("WADORSRetrievalSequence", made_of([("RetrieveURL", url)])),
    ]
    return made_of([*pairs, ("SeriesInstanceUID", series)] if series else pairs)


def _reference(instance: InstanceRecord) -> DataSet:
    return made_of(
        [
            ("ReferencedSOPClassUID", instance.sop_class_uid),
            ("ReferencedSOPInstanceUID", instance.sop_instance_uid),
        ]
    )


def _request(step: JobStep) -> DataSet:
    empty = (
        "IssuerOfAccessionNumberSequence",
        "OrderPlacerIdentifierSequence",
        "OrderFillerIdentifierSequence",
        "RequestedProcedureID",
        "RequestedProcedureDescription",
        "RequestedProcedureCodeSequence",
    )
    known = [
        ("StudyInstanceUID", step.job.study_instance_uid),
        ("AccessionNumber", step.subject.accession_number),
    ]
    return made_of([*known, *((keyword, None) for keyword in empty)])


def _progress(step: JobStep) -> DataSet | None:
    if step.retracted_why is not None:
        told = f"The result was retracted: {step.retracted_why}"
        return made_of([("ProcedureStepProgressDescription", told)])
    if step.job.state not in {JobState.FAILED, JobState.OPTED_OUT} or step.ended_at is None:
        return None
    return made_of(
        [
            ("ProcedureStepCancellationDateTime", written(step.ended_at)),
            ("ReasonForCancellation", step.job.reason),
            ("ProcedureStepDiscontinuationReasonCodeSequence", _FAILED),
        ]
    )


def _performed(step: JobStep, station: DataSet) -> DataSet | None:
    if step.claimed_at is None:
        return None
    return made_of(
        [
            ("PerformedStationNameCodeSequence", station),
            ("PerformedProcedureStepStartDateTime", written(step.claimed_at)),
            ("PerformedWorkitemCodeSequence", _CODE),
            ("PerformedProcedureStepEndDateTime", None if step.ended_at is None else written(step.ended_at)),
            ("OutputInformationSequence", None),
        ]
    )

"""A worklist entry as plain data: what the API answers and the page shows, made in one place."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from api import choices, words
from api.viewer import link_to
from inference.priority import place_reason
from storage.catalog.deployments import Mode
from storage.records import Coverage, OrderPriority, ResultRecord, StudyRecord, WorklistEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.context import ApiContext
    from models.contract import ModelCard
    from storage.records import CoverageRecord, Finding

Entry = dict[str, Any]

_STUDY_FACTS = (
    "study_date",
    "study_time",
    "accession_number",
    "study_id",
    "study_description",
    "referring_physician_name",
)
_PATIENT_FACTS = ("patient_id", "issuer_of_patient_id", "patient_name", "patient_birth_date", "patient_sex")
_TIMES = ("received_first", "received_last", "completed_at", "ready_at", "due_at")


def as_entry(entry: WorklistEntry, context: ApiContext, *, place: int | None = None) -> Entry:
    """Return one worklist row; `place` counts from 1 in the whole list."""
    row = _row(entry, context, place)
    return {**row, "viewer": link_to(row) if context.viewers.installed() else None}


def _row(entry: WorklistEntry, context: ApiContext, place: int | None) -> Entry:
    study = entry.study
    reason = place_reason(entry)
    received = [series for series in entry.series if not series.made_here]
    return {
        "place": place,
        "place_reason": {"vi": reason.vi, "en": reason.en},
        "urgency": urgency_of(study),
        "study_instance_uid": study.study_instance_uid,
        "patient": _facts(study, _PATIENT_FACTS),
        "identity_conflict": study.identity_conflict,
        "study": {**_facts(study, _STUDY_FACTS), "modalities": sorted({each.modality for each in received} - {None})},
        "series": [_without_study(asdict(series)) for series in entry.series],
        "series_count": len(received),
        "instance_count": sum(series.instance_count for series in received),
        **_facts(study, _TIMES),
        "completion_reason": study.completion_reason,
        "completion_probability": study.completion_probability,
        "priority": {
            "order": study.order_priority,
            "ai": study.ai_urgency,
            "manual": study.manual_priority,
            "manual_by": study.manual_by,
        },
        "state": study.state,
        "revision": study.revision,
        "coverage": [_coverage(line, study, context) for line in entry.coverage],
        "findings": [
            _finding(finding, record, context.card(record.model_id))
            for record in entry.results
            if record.provisional is None or record.superseded_by is None
            for finding in record.result.findings
        ],
    }


def as_results(records: Iterable[ResultRecord], context: ApiContext) -> list[Entry]:
    """Return whole results, newest first, superseded ones marked."""
    return [_result(record, context.card(record.model_id)) for record in records]


def urgency_of(study: StudyRecord) -> str:
    """Return how soon the row wants a reader: the most urgent of order, person and AI.

    A person's STAT goes before the order's priority and the model's; AI only raises.
    """
    asked = {
        "critical": OrderPriority.STAT in {study.order_priority, study.manual_priority}
        or study.ai_urgency == "critical",
        "urgent": OrderPriority.URGENT in {study.order_priority, study.manual_priority} or study.ai_urgency == "urgent",
    }
    return next((level for level, is_asked in asked.items() if is_asked), "routine")


def _facts(study: StudyRecord, names: Iterable[str]) -> Entry:
    return {name: getattr(study, name) for name in names}


def _without_study(fields: Entry) -> Entry:
    return {name: value for name, value in fields.items() if name != "study_instance_uid"}


def _label(card: ModelCard | None, record: ResultRecord | None = None) -> Entry:
    """Return what must stand on every result of a model; a model no longer installed keeps a warning."""
    if card is None:
        label = words.Text(vi="Mô hình không còn được cài đặt.", en="This model is no longer installed.")
    else:
        label = words.Text(vi=card.label_vi, en=card.label_en)
    if record is not None and _is_research(record):
        label = words.Text(vi=f"{words.RESEARCH.vi} {label.vi}", en=f"{words.RESEARCH.en} {label.en}")
    return {"vi": label.vi, "en": label.en}


def _is_research(record: ResultRecord) -> bool:
    """Tell whether the model worked here on a signed research statement."""
    site = record.result.provenance.get("site")
    return isinstance(site, dict) and site.get("mode") == Mode.RESEARCH


def _coverage(line: CoverageRecord, study: StudyRecord, context: ApiContext) -> Entry:
    text = words.COVERAGE[line.coverage]
    card = context.card(line.model_id)
    named = replace(line, revision=line.revision or study.revision)
    return {
        **asdict(named),
        "text": {"vi": text.vi, "en": text.en},
        "reason_text": _reason(line.reason),
        "title": card.title if card else line.model_id,
        "label": _label(card) if line.coverage is not Coverage.NO_MODEL_APPLIES and line.model_id else None,
        "outdated": named.revision != study.revision,
    }


def _reason(code: str | None) -> Entry | None:
    """Return what a reason code says, in both languages."""
    if code is None:
        return None
    text = words.REASONS.get(code) or words.UNASKED.get(code) or words.Text(vi=code, en=code)
    return {"vi": text.vi, "en": text.en}


def _finding(finding: Finding, record: ResultRecord, card: ModelCard | None) -> Entry:
    fields = asdict(finding)
    name = {"vi": fields.pop("name_vi"), "en": fields.pop("name_en")}
    return {**fields, "name": name, **_provenance(record), "label": _label(card, record)}


def _provenance(record: ResultRecord) -> Entry:
    return {
        "result_id": record.id,
        "model_id": record.model_id,
        "model_version": record.model_version,
        "model_digest": record.model_digest,
        "revision": record.revision,
        "superseded_by": record.superseded_by,
        "provisional": record.provisional,
        "shadow": not record.result.raises,
        "retracted": _retraction(record),
    }


def _retraction(record: ResultRecord) -> Entry | None:
    if record.retracted_at is None:
        return None
    return {"at": record.retracted_at, "by": record.retracted_by, "why": record.retracted_why}


def _result(record: ResultRecord, card: ModelCard | None) -> Entry:
    findings = [_finding(finding, record, card) for finding in record.result.findings]
    told = asdict(replace(record.result, findings=()))
    del told["inputs"]  # hundreds of UIDs, which the report names
    return {
        **_provenance(record),
        "created_at": record.created_at,
        "label": _label(card, record),
        **told,
        "findings": findings,
        "reported_at": record.reported_at,
        "objects": [asdict(each) for each in record.objects],
        "selection_text": _both(choices.selection_text(record.result.provenance)),
        "marks_text": _both(choices.marks_text(record.result.provenance)),
    }


def _both(text: words.Text | None) -> Entry | None:
    return None if text is None else {"vi": text.vi, "en": text.en}

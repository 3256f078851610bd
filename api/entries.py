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
    from storage.catalog.guard import Guard
    from storage.records import CoverageRecord, Feedback, Finding

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
_TIMES = ("received_first", "received_last", "completed_at", "ready_at", "due_without_ai")


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
        "urgency": urgency_of(entry),
        "study_instance_uid": study.study_instance_uid,
        "patient": _facts(study, _PATIENT_FACTS),
        "identity_conflict": study.identity_conflict,
        "study": {**_facts(study, _STUDY_FACTS), "modalities": sorted({each.modality for each in received} - {None})},
        "series": [_without_study(asdict(series)) for series in entry.series],
        "series_count": len(received),
        "instance_count": sum(series.instance_count for series in received),
        **_facts(study, _TIMES),
        "due_at": entry.due_at,
        "completion_reason": study.completion_reason,
        "completion_probability": study.completion_probability,
        "priority": {
            "order": study.order_priority,
            "ai": study.ai_urgency,
            "manual": study.manual_priority,
            "manual_by": study.manual_by,
        },
        "opened": _opened(study, context),
        "reported": _reported(study),
        "alert": alerts(entry),
        "state": study.state,
        "revision": study.revision,
        "coverage": [_coverage(line, study, context) for line in entry.coverage],
        "findings": [
            _finding(finding, record, context.card(record.model_id), entry.feedback.get(record.id, ()))
            for record in entry.results
            if record.provisional is None or record.superseded_by is None
            for finding in record.result.findings
        ],
    }


def as_result(record: ResultRecord, context: ApiContext) -> Entry:
    """Return one result, without what readers said of it."""
    return _result(record, context.card(record.model_id), ())


def as_results(entry: WorklistEntry, context: ApiContext) -> list[Entry]:
    """Return a study's whole results, newest first, superseded ones marked."""
    return [
        _result(record, context.card(record.model_id), entry.feedback.get(record.id, ())) for record in entry.results
    ]


def as_flag_rate(guarded: Guard | None) -> Entry:
    """Return whether too many studies are flagged for flags to tell anything, with what to say of it."""
    if guarded is None or not guarded.is_on:
        return {"high": False, "since": None, "waiting": None, "flagged": None, "text": None}
    counted = {"flagged": guarded.flagged, "waiting": guarded.waiting}
    said = words.FLAG_RATE_HIGH.filled(**counted).both()
    return {"high": True, "since": guarded.since, **counted, "text": said}


def urgency_of(entry: WorklistEntry) -> str:
    """Return how soon the row wants a reader: the most urgent of order, person and, where it counts, AI.

    A person's STAT goes before the order's priority and the model's; AI only raises.
    """
    study = entry.study
    ai = study.ai_urgency if entry.ai_counts else None
    asked = {
        "critical": OrderPriority.STAT in {study.order_priority, study.manual_priority} or ai == "critical",
        "urgent": OrderPriority.URGENT in {study.order_priority, study.manual_priority} or ai == "urgent",
    }
    return next((level for level, is_asked in asked.items() if is_asked), "routine")


def alerts(entry: WorklistEntry) -> bool:
    """Tell whether the row may call for attention: flagged as critical, and nobody has opened it yet."""
    study = entry.study
    return entry.ai_counts and study.ai_urgency == "critical" and study.opened_at is None and study.waits


def _opened(study: StudyRecord, context: ApiContext) -> Entry | None:
    """Return who has the study open; the end of the lease is not told, since it moves without anything happening."""
    return {"by": study.opened_by, "at": study.opened_at} if study.is_open(context.clock()) else None


def _reported(study: StudyRecord) -> Entry | None:
    if study.reported_revision is None:
        return None
    told = {"by": study.reported_by, "at": study.reported_at, "revision": study.reported_revision}
    return {**told, "again": study.waits}


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
    return label.both()


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
        "text": text.both(),
        "reason_text": _reason(line.reason),
        "title": card.title if card else line.model_id,
        "label": _label(card) if line.coverage is not Coverage.NO_MODEL_APPLIES and line.model_id else None,
        "outdated": named.revision != study.revision,
    }


def _reason(code: str | None) -> Entry | None:
    """Return what a reason code says, in both languages."""
    if code is None:
        return None
    return (words.REASONS.get(code) or words.UNASKED.get(code) or words.Text.alike(code)).both()


def _finding(finding: Finding, record: ResultRecord, card: ModelCard | None, said: Iterable[Feedback]) -> Entry:
    fields = asdict(finding)
    name = {"vi": fields.pop("name_vi"), "en": fields.pop("name_en")}
    words_on_it = [
        {"by": each.by, "verdict": each.verdict, "at": each.at} for each in said if each.finding == finding.code
    ]
    return {**fields, "name": name, **_provenance(record), "label": _label(card, record), "feedback": words_on_it}


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


def _result(record: ResultRecord, card: ModelCard | None, said: tuple[Feedback, ...]) -> Entry:
    findings = [_finding(finding, record, card, said) for finding in record.result.findings]
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
    return None if text is None else text.both()

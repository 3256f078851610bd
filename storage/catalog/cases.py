"""What a model said of the studies here, with what tells one study from another, and what readers made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.records import Outcome, ResultId, StudyUid

if TYPE_CHECKING:
    from storage.database import Transaction

_results, _studies, _series = schema.results, schema.studies, schema.series
_feedback = schema.feedback
_AGREES: Final = {"agree": True, "disagree": False, "missed": False}
"""What a reader's verdict says of the model's; any other says nothing of who was right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One study that a model was asked about; of several revisions the last, retracted or not."""

    study_instance_uid: StudyUid
    result_id: ResultId
    at: datetime
    outcome: Outcome
    reason: str
    """Why there is no answer, where there is none."""
    images: int
    """How many instances were looked at."""
    scores: Mapping[str, float]
    """By finding code; empty where the model gave no answer."""
    flagged: Mapping[str, bool]
    """By finding code, whether it was above the threshold in force then."""
    sex: str
    birth_date: str
    study_date: str
    manufacturer: str
    station: str

    @property
    def analysed(self) -> bool:
        """Whether the model gave an answer."""
        return self.outcome in {Outcome.FLAGGED, Outcome.NOT_FLAGGED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What readers made of one finding of one result: of each the last word, and of these the last."""

    result_id: ResultId
    finding_code: str
    agrees: bool


def of_model(tx: Transaction, digest: str, *, since: datetime | None = None) -> list[Case]:
    """Return what a model said, oldest first."""
    facts = (
        _studies.c.study_instance_uid,
        _studies.c.patient_sex,
        _studies.c.patient_birth_date,
        _studies.c.study_date,
    )
    used = sa.and_(
        _series.c.study_pk == _results.c.study_pk, _series.c.series_instance_uid == _results.c.series_instance_uid
    )
    query = (
        sa.select(_results, *facts, _series.c.manufacturer, _series.c.station_name)
        .join_from(_results, _studies, _studies.c.id == _results.c.study_pk)
        .outerjoin(_series, used)
        .where(_results.c.model_digest == digest, _results.c.superseded_by.is_(None))
        .order_by(_results.c.created_at, _results.c.id)
    )
    if since is not None:
        query = query.where(_results.c.created_at >= since)
    return [_as_case(row) for row in tx.execute(query)]


def verdicts(tx: Transaction, digest: str) -> list[Verdict]:
    """Return what readers made of a model's findings."""
    query = (
        sa.select(_feedback)
        .join(_results, _results.c.id == _feedback.c.result_id)
        .where(_results.c.model_digest == digest)
        .order_by(_feedback.c.id)
    )
    of_readers: dict[tuple[str, str, str], sa.Row[Any]] = {}
    for row in tx.execute(query):
        of_readers[row.result_id, row.finding_code, row.actor] = row
    last: dict[tuple[str, str], Verdict] = {}
    for row in sorted(of_readers.values(), key=lambda row: row.id):
        if row.verdict in _AGREES:
            agrees = _AGREES[row.verdict]
            said = Verdict(result_id=ResultId(row.result_id), finding_code=row.finding_code, agrees=agrees)
            last[row.result_id, row.finding_code] = said
    return list(last.values())


def _as_case(row: sa.Row[Any]) -> Case:
    return Case(
        study_instance_uid=StudyUid(row.study_instance_uid),
        result_id=ResultId(row.id),
        at=row.created_at,
        outcome=Outcome(row.outcome),
        reason=row.reason or "",
        images=int(row.provenance.get("input_instances", 0)),
        scores={finding["code"]: finding["score"] for finding in row.findings},
        flagged={finding["code"]: finding["positive"] for finding in row.findings},
        sex=row.patient_sex or "",
        birth_date=row.patient_birth_date or "",
        study_date=row.study_date or "",
        manufacturer=row.manufacturer or "",
        station=row.station_name or "",
    )

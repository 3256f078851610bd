"""The times of many runs: what each result says of its stages, and what came after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.records import JobState, Outcome, ResultId, StudyState

if TYPE_CHECKING:
    from storage.database import Transaction

_results, _jobs, _studies, _showings = schema.results, schema.jobs, schema.studies, schema.showings

MOST: Final = 20_000
"""Runs looked at: the newest, where there are more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """One run that has ended; `times` as in `TriageResult`, `asked_at` when its job was made."""

    result_id: ResultId
    model_id: str
    outcome: Outcome
    created_at: datetime
    asked_at: datetime
    times: Mapping[str, float]
    shown_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """A job that has not ended; `received_last` is when its study's last image came."""

    model_id: str
    state: JobState
    created_at: datetime
    received_last: datetime
    completed_at: datetime | None


def ended_since(tx: Transaction, since: datetime, *, model: str | None = None, limit: int = MOST) -> list[Timed]:
    """Return the runs on whole series that ended at `since` or later, newest first."""
    query = (
        sa.select(_results, _jobs.c.created_at.label("asked_at"), _showings.c.shown_at)
        .join_from(_results, _jobs, _jobs.c.id == _results.c.job_id)
        .outerjoin(_showings, _showings.c.result_id == _results.c.id)
        .where(_results.c.created_at >= since, _results.c.provisional.is_(None))
        .where(*([] if model is None else [_results.c.model_id == model]))
        .order_by(_results.c.created_at.desc(), _results.c.id)
        .limit(limit)
    )
    return [_as_timed(row) for row in tx.execute(query)]


def open_jobs(tx: Transaction, *, limit: int = MOST) -> list[Open]:
    """Return the jobs that wait or run, the oldest first."""
    query = (
        sa.select(
            _jobs.c.model_id, _jobs.c.state, _jobs.c.created_at, _studies.c.received_last, _studies.c.completed_at
        )
        .join_from(_jobs, _studies, _studies.c.id == _jobs.c.study_pk)
        .where(_jobs.c.state.in_((JobState.WAITING, JobState.RUNNING)), _jobs.c.provisional == 0)
        .order_by(_jobs.c.created_at)
        .limit(limit)
    )
    return [Open(**{**row._mapping, "state": JobState(row.state)}) for row in tx.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name for a row's columns


def _as_timed(row: sa.Row[Any]) -> Timed:
    return Timed(
        result_id=ResultId(row.id),
        model_id=row.model_id,
        outcome=Outcome(row.outcome),
        created_at=row.created_at,
        asked_at=row.asked_at,
        times=row.times,
        shown_at=row.shown_at,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """The jobs of one model in one state: how many, and when the oldest was made."""

    model_id: str
    state: JobState
    jobs: int
    oldest: datetime


def queued(tx: Transaction, *, made_since: datetime | None = None) -> list[Queued]:
    """Return the open jobs by model and state; with `made_since`, every job made since."""
    chosen = (
        _jobs.c.state.in_((JobState.WAITING, JobState.RUNNING))
        if made_since is None
        else _jobs.c.created_at >= made_since
    )
    oldest = sa.func.min(_jobs.c.created_at, type_=schema.UtcTime).label("oldest")
    query = (
        sa.select(_jobs.c.model_id, _jobs.c.state, sa.func.count().label("jobs"), oldest)
        .where(chosen, _jobs.c.provisional == 0)
        .group_by(_jobs.c.model_id, _jobs.c.state)
    )
    return [Queued(**{**row._mapping, "state": JobState(row.state)}) for row in tx.execute(query)]  # noqa: SLF001 - as above


def unsettled(tx: Transaction) -> dict[str, int]:
    """Return how many studies are not triaged yet, by their state."""
    query = (
        sa.select(_studies.c.state, sa.func.count().label("studies"))
        .where(_studies.c.state.in_((StudyState.RECEIVING, StudyState.COMPLETE)), _studies.c.instance_count > 0)
        .group_by(_studies.c.state)
    )
    return {row.state: row.studies for row in tx.execute(query)}

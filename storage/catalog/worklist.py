"""The reading worklist: one row per study in the order to read, with what AI did and did not do."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import feedback, guard, results, studies
from storage.catalog.jobs import as_job
from storage.catalog.reading import WAITS
from storage.catalog.targets import RANK, wait_of
from storage.records import (
    Coverage,
    CoverageRecord,
    Job,
    JobState,
    OrderPriority,
    Outcome,
    ResultRecord,
    StudyRecord,
    StudyUid,
    Waiting,
    WorklistEntry,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from storage.database import Transaction

_studies, _jobs = schema.studies, schema.jobs


def page(
    tx: Transaction,
    *,
    targets: Mapping[OrderPriority, timedelta],
    limit: int,
    offset: int = 0,
    by_name: bool = False,
    of: Waiting = Waiting.WAITING,
) -> list[WorklistEntry]:
    """Return entries in reading order: a person's STAT first, then due time, clinical priority and `ready_at`.

    The due time is `due_at`, or, while too many studies are flagged, the one without AI.  A study that is still
    receiving for the first time has none; it stands where its order and arrival would put it, so that it is seen even
    where nothing ever completes it.  What was read stands by when that was, the newest first.  `by_name` gives them as
    a Vietnamese list of names, those without a name last.
    """
    order = reading_order(targets, ai_counts=not guard.is_on(tx))
    if of is Waiting.REPORTED:
        order = [_studies.c.reported_at.desc(), _studies.c.id]
    if by_name:
        order = [_studies.c.patient_name_order.nulls_last(), _studies.c.id]
    query = sa.select(_studies).where(studies.IN_SIGHT, *_PARTS[of]).order_by(*order)
    rows = tx.execute(query.limit(limit).offset(offset))
    return _entries(tx, [studies.as_study(row) for row in rows])


def entry(tx: Transaction, uid: StudyUid) -> WorklistEntry:
    """Return one study's entry; `CatalogueUnknown` where it is not here."""
    return _entries(tx, [studies.get(tx, uid)])[0]


def coverage_of(
    tx: Transaction, found: Sequence[StudyRecord], ended: Mapping[StudyUid, tuple[ResultRecord, ...]]
) -> dict[StudyUid, tuple[CoverageRecord, ...]]:
    """Return what is true of each study's models, as its entry says; `ended` are the results of these studies."""
    uids = [study.study_instance_uid for study in found]
    all_jobs = _jobs_of(tx, uids)
    return {
        study.study_instance_uid: _coverage(
            study, all_jobs[study.study_instance_uid], ended.get(study.study_instance_uid, ())
        )
        for study in found
    }


def count(tx: Transaction, of: Waiting = Waiting.WAITING) -> int:
    """Return how many studies a part of the worklist holds."""
    return counts(tx)[of]


def counts(tx: Transaction) -> dict[Waiting, int]:
    """Return how many studies each part of the worklist holds, by one look at them."""
    waiting = sa.func.coalesce(sa.func.sum(sa.case((WAITS, 1), else_=0)), 0)
    query = sa.select(waiting, sa.func.count()).select_from(_studies).where(studies.IN_SIGHT)
    waits, everything = (int(each) for each in tx.execute(query).one())
    return {Waiting.WAITING: waits, Waiting.REPORTED: everything - waits, Waiting.ALL: everything}


_PARTS: Mapping[Waiting, tuple[sa.ColumnElement[bool], ...]] = {
    Waiting.WAITING: (WAITS,),
    Waiting.REPORTED: (sa.not_(WAITS),),
    Waiting.ALL: (),
}


def reading_order(targets: Mapping[OrderPriority, timedelta], *, ai_counts: bool) -> list[sa.ColumnElement[Any]]:
    """Return the key of the reading list."""
    stat_first = sa.case((_studies.c.manual_priority == OrderPriority.STAT, 0), else_=1)
    arrived = sa.type_coerce(_studies.c.received_first, sa.BigInteger)
    due_at = sa.type_coerce(_studies.c.due_at, sa.BigInteger)
    without_ai = sa.type_coerce(_studies.c.due_without_ai, sa.BigInteger)
    known = (due_at,) if ai_counts else (without_ai, due_at)
    due = sa.func.coalesce(*known, arrived + wait_of(targets))
    ready = sa.func.coalesce(sa.type_coerce(_studies.c.ready_at, sa.BigInteger), arrived)
    return [stat_first, due, RANK, ready, _studies.c.id]


def _entries(tx: Transaction, found: list[StudyRecord]) -> list[WorklistEntry]:
    uids = [study.study_instance_uid for study in found]
    all_series = studies.series_of(tx, uids)
    all_results = results.of_studies(tx, uids)
    all_jobs = _jobs_of(tx, uids)
    said = feedback.current(tx, [record.id for records in all_results.values() for record in records])
    ai_counts = not guard.is_on(tx)
    return [
        WorklistEntry(
            study=study,
            series=all_series.get(study.study_instance_uid, ()),
            coverage=_coverage(
                study, all_jobs[study.study_instance_uid], all_results.get(study.study_instance_uid, ())
            ),
            results=all_results.get(study.study_instance_uid, ()),
            feedback={
                record.id: said[record.id]
                for record in all_results.get(study.study_instance_uid, ())
                if record.id in said
            },
            ai_counts=ai_counts,
        )
        for study in found
    ]


def _jobs_of(tx: Transaction, uids: Iterable[StudyUid]) -> dict[StudyUid, list[Job]]:
    query = (
        sa.select(_jobs, _studies.c.study_instance_uid)
        .join_from(_jobs, _studies, _studies.c.id == _jobs.c.study_pk)
        .where(_studies.c.study_instance_uid.in_(list(uids)), _jobs.c.provisional == 0)
        .order_by(_jobs.c.revision)
    )
    found: dict[StudyUid, list[Job]] = defaultdict(list)
    for row in tx.execute(query):
        found[StudyUid(row.study_instance_uid)].append(as_job(row))
    return found


def _coverage(study: StudyRecord, jobs: list[Job], ended: tuple[ResultRecord, ...]) -> tuple[CoverageRecord, ...]:
    """Judge each model by its newest job; a study without jobs has one line that says so.

    A newest result that is superseded was withdrawn: what it judged is hidden or gone, and nothing left asks the model.
    A provisional flag is a mark on its model's line, which waits for the series to be complete.
    """
    withdrawn = {record.job_id for record in ended if record.superseded_by is not None}
    newest = {job.model_id: job for job in jobs}
    newest = {model: job for model, job in newest.items() if job.id not in withdrawn}
    provisional = {
        record.model_id: record.provisional
        for record in ended
        if record.provisional is not None and record.superseded_by is None
    }
    if not newest and not provisional:
        known = study.completed_at is not None
        return (CoverageRecord(model_id="", coverage=Coverage.NO_MODEL_APPLIES if known else Coverage.WAITING),)
    by_job = {record.job_id: record for record in ended}
    lines = [_of_job(job, by_job.get(job.id)) for job in newest.values()]
    lines += [CoverageRecord(model_id=model, coverage=Coverage.WAITING) for model in provisional if model not in newest]
    return tuple(replace(line, provisional=provisional.get(line.model_id)) for line in lines)


_OF_STATE = {
    JobState.WAITING: Coverage.WAITING,
    JobState.RUNNING: Coverage.RUNNING,
    JobState.FAILED: Coverage.FAILED,
    JobState.OPTED_OUT: Coverage.OPTED_OUT,
}
_OF_OUTCOME = {
    Outcome.FLAGGED: Coverage.ANALYSED,
    Outcome.NOT_FLAGGED: Coverage.ANALYSED,
    Outcome.NOT_SUITABLE: Coverage.NOT_SUITABLE,
    Outcome.FAILED: Coverage.FAILED,
}


def _of_job(job: Job, ended: ResultRecord | None) -> CoverageRecord:
    if ended is None:
        return CoverageRecord(
            model_id=job.model_id, coverage=_OF_STATE[job.state], reason=job.reason, revision=job.revision
        )
    return CoverageRecord(
        model_id=job.model_id,
        coverage=_OF_OUTCOME[ended.result.outcome],
        reason=ended.result.reason,
        outcome=ended.result.outcome,
        revision=job.revision,
        retracted=ended.retracted_at is not None,
    )

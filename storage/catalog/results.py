"""Triage results: entered once per job, superseded by a later revision's, retracted by a person, never changed."""

from __future__ import annotations

import secrets
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import audit, changes, inputs
from storage.catalog.studies import IN_SIGHT
from storage.errors import CatalogueUnknown
from storage.records import (
    Finding,
    JobId,
    Outcome,
    ResultId,
    ResultObject,
    ResultRecord,
    StudyUid,
    TriageResult,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import Job

_results, _studies = schema.results, schema.studies
_STANDS_PROVISIONALLY = (_results.c.provisional.is_not(None), _results.c.superseded_by.is_(None))


def add(tx: Transaction, job: Job, result: TriageResult, *, now: datetime) -> ResultId:
    """Enter the result of a job; older results of the same model on the study become superseded.

    A provisional flag takes no other result's place, and the next result on all of the series takes its own, saying
    whether it confirms it.
    """
    study_pk = tx.execute(
        sa.select(_studies.c.id).where(_studies.c.study_instance_uid == job.study_instance_uid)
    ).scalar_one()
    new = ResultId(secrets.token_hex(16))
    superseded_by = _newest_revision(tx, study_pk, job)
    tx.execute(
        sa.insert(_results).values(
            id=new,
            job_id=job.id,
            study_pk=study_pk,
            revision=job.revision,
            model_id=job.model_id,
            model_version=job.model_version,
            model_digest=job.model_digest,
            outcome=result.outcome,
            reason=result.reason,
            detail=result.detail,
            findings=[asdict(finding) for finding in result.findings],
            urgency=result.urgency,
            raises=result.raises,
            series_instance_uid=result.series_instance_uid,
            series_reasons=dict(result.series_reasons),
            provenance=dict(result.provenance),
            times=dict(result.times),
            created_at=now,
            superseded_by=superseded_by,
            provisional=job.provisional or None,
        )
    )
    if job.provisional:
        detail = {"model": job.model_id, "slices": job.provisional}
        uid, revision = job.study_instance_uid, job.revision
        changes.append(tx, "provisional-flagged", at=now, study=uid, revision=revision, detail=detail)
        return new
    _settle_provisional(tx, study_pk, job, result, now)
    inputs.note(tx, new, result.inputs)
    _supersede_older(tx, study_pk, job, now)
    return new


def retract_provisional(
    tx: Transaction, study: StudyUid, *, revision: int, but: Collection[str], now: datetime
) -> None:
    """Retract the provisional flags of models, `but` of those named, that will not see all of the series."""
    study_pk = sa.select(_studies.c.id).where(_studies.c.study_instance_uid == study).scalar_subquery()
    left = (_results.c.study_pk == study_pk, *_STANDS_PROVISIONALLY, _results.c.model_id.not_in(but))
    for model in tx.execute(
        sa.update(_results).where(*left).values(superseded_by=revision).returning(_results.c.model_id)
    ):
        detail = {"model": model.model_id, "outcome": None}
        changes.append(tx, "provisional-retracted", at=now, study=study, revision=revision, detail=detail)


def withdraw(tx: Transaction, study: StudyUid, *, revision: int, now: datetime) -> None:
    """Mark every result of a study as superseded by a revision: some of what they judged is there no longer."""
    study_pk = sa.select(_studies.c.id).where(_studies.c.study_instance_uid == study).scalar_subquery()
    current = (_results.c.study_pk == study_pk, _results.c.superseded_by.is_(None))
    withdrawn = tx.execute(sa.update(_results).where(*current).values(superseded_by=revision)).rowcount
    if withdrawn:
        changes.append(tx, "result-superseded", at=now, study=study, revision=revision, detail={"results": withdrawn})


def retract(tx: Transaction, result: ResultId, *, by: str, why: str, now: datetime) -> tuple[StudyUid, bool]:
    """Note that a result holds no longer; return its study, and whether that was news.

    What was found stays as it was: whoever acted on it must be able to see on what.  The change tells everybody who
    was told of the result.

    Raises
    ------
    CatalogueUnknown
        There is no such result.
    """
    query = (
        sa.select(_results.c.revision, _results.c.model_id, _studies.c.study_instance_uid)
        .join_from(_results, _studies, _studies.c.id == _results.c.study_pk)
        .where(_results.c.id == result)
    )
    row = tx.execute(query).one_or_none()
    if row is None:
        raise CatalogueUnknown("there is no such result")
    study = StudyUid(row.study_instance_uid)
    standing = (_results.c.id == result, _results.c.retracted_at.is_(None))
    change = sa.update(_results).where(*standing)
    news = tx.execute(change.values(retracted_at=now, retracted_by=by, retracted_why=why)).rowcount > 0
    if news:
        detail = {"result": result, "model": row.model_id, "reason": why}
        audit.append(tx, actor=by, action="result-retracted", subject=study, at=now, detail=detail)
        told = {"result": result, "model": row.model_id}
        changes.append(tx, "result-retracted", at=now, study=study, revision=row.revision, detail=told)
    return study, news


def one(tx: Transaction, result: ResultId) -> ResultRecord:
    """Return one result.

    Raises
    ------
    CatalogueUnknown
        There is no such result.
    """
    row = tx.execute(sa.select(_results).where(_results.c.id == result)).one_or_none()
    if row is None:
        raise CatalogueUnknown("there is no such result")
    return as_result(row)


def get(tx: Transaction, result: ResultId) -> tuple[StudyUid, ResultRecord]:
    """Return one result, and whose it is; `CatalogueUnknown` where it is not here."""
    query = (
        sa.select(_studies.c.study_instance_uid, _results)
        .join_from(_results, _studies, _studies.c.id == _results.c.study_pk)
        .where(_results.c.id == result, IN_SIGHT)
    )
    row = tx.execute(query).one_or_none()
    if row is None:
        raise CatalogueUnknown(f"no result {result}")
    return StudyUid(row.study_instance_uid), as_result(row)


def of_studies(tx: Transaction, uids: Iterable[StudyUid]) -> dict[StudyUid, tuple[ResultRecord, ...]]:
    """Return all results of each study, newest first."""
    query = (
        sa.select(_studies.c.study_instance_uid, _results)
        .join_from(_results, _studies, _studies.c.id == _results.c.study_pk)
        .where(_studies.c.study_instance_uid.in_(list(uids)))
        .order_by(_results.c.revision.desc(), _results.c.created_at.desc())
    )
    found: dict[StudyUid, list[ResultRecord]] = defaultdict(list)
    for row in tx.execute(query):
        found[StudyUid(row.study_instance_uid)].append(as_result(row))
    return {uid: tuple(rows) for uid, rows in found.items()}


def _settle_provisional(tx: Transaction, study_pk: int, job: Job, result: TriageResult, now: datetime) -> None:
    """Let the result on all of a series take the place of a provisional flag; tell whether it says the same."""
    of_model = (_results.c.study_pk == study_pk, _results.c.model_id == job.model_id)
    flagged = tx.execute(
        sa.update(_results)
        .where(*of_model, *_STANDS_PROVISIONALLY, _results.c.revision <= job.revision)
        .values(superseded_by=job.revision)
        .returning(_results.c.findings)
    ).scalars()
    before = {finding["code"] for findings in flagged for finding in findings if finding["positive"]}
    if before:
        lost = sorted(before - {finding.code for finding in result.findings if finding.positive})
        kind = "provisional-retracted" if lost else "provisional-confirmed"
        detail = {"model": job.model_id, "outcome": result.outcome, **({"findings": lost} if lost else {})}
        changes.append(tx, kind, at=now, study=job.study_instance_uid, revision=job.revision, detail=detail)


def find(tx: Transaction, result: ResultId) -> tuple[StudyUid, ResultRecord] | None:
    """Return one result and the study that it judges, None where there is none of this id."""
    query = (
        sa.select(_studies.c.study_instance_uid, _results)
        .join_from(_results, _studies, _studies.c.id == _results.c.study_pk)
        .where(_results.c.id == result)
    )
    row = tx.execute(query).one_or_none()
    return None if row is None else (StudyUid(row.study_instance_uid), as_result(row))


def _newest_revision(tx: Transaction, study_pk: int, job: Job) -> int | None:
    """Return the later revision that already has a result of this model, where a slow run ends after it."""
    query = sa.select(sa.func.max(_results.c.revision)).where(
        _results.c.study_pk == study_pk, _results.c.model_id == job.model_id, _results.c.revision > job.revision
    )
    newest: int | None = tx.execute(query).scalar_one()
    return newest


def _supersede_older(tx: Transaction, study_pk: int, job: Job, now: datetime) -> None:
    older = tx.execute(
        sa.update(_results)
        .where(
            _results.c.study_pk == study_pk,
            _results.c.model_id == job.model_id,
            _results.c.revision < job.revision,
            _results.c.superseded_by.is_(None),
            _results.c.provisional.is_(None),
        )
        .values(superseded_by=job.revision)
    )
    if older.rowcount:
        detail = {"model": job.model_id, "results": older.rowcount}
        changes.append(
            tx, "result-superseded", at=now, study=job.study_instance_uid, revision=job.revision, detail=detail
        )


def as_result(row: sa.Row[Any]) -> ResultRecord:
    """Return the record of a row of `schema.results`, but for what the model looked at."""
    result = TriageResult(
        outcome=Outcome(row.outcome),
        reason=row.reason,
        detail=row.detail,
        findings=tuple(Finding(**finding) for finding in row.findings),
        urgency=row.urgency,
        raises=row.raises,
        series_instance_uid=row.series_instance_uid,
        series_reasons=row.series_reasons,
        provenance=row.provenance,
        times=row.times,
    )
    return ResultRecord(
        id=ResultId(row.id),
        job_id=JobId(row.job_id),
        revision=row.revision,
        model_id=row.model_id,
        model_version=row.model_version,
        model_digest=row.model_digest,
        created_at=row.created_at,
        superseded_by=row.superseded_by,
        provisional=row.provisional,
        result=result,
        retracted_at=row.retracted_at,
        retracted_by=row.retracted_by,
        retracted_why=row.retracted_why,
        reported_at=row.reported_at,
        objects=tuple(ResultObject(**each) for each in row.objects or ()),
    )

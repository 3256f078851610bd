"""Triage results: entered once per job, superseded by a later revision's, never changed."""

from __future__ import annotations

import secrets
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import changes
from storage.catalog.studies import IN_SIGHT
from storage.errors import CatalogueUnknown
from storage.records import Finding, JobId, Outcome, ResultId, ResultRecord, StudyUid, TriageResult

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import Job

_results, _studies = schema.results, schema.studies


def add(tx: Transaction, job: Job, result: TriageResult, *, now: datetime) -> ResultId:
    """Enter the result of a job; older results of the same model on the study become superseded."""
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
        )
    )
    _supersede_older(tx, study_pk, job, now)
    return new


def withdraw(tx: Transaction, study: StudyUid, *, revision: int, now: datetime) -> None:
    """Mark every result of a study as superseded by a revision: some of what they judged is there no longer."""
    study_pk = sa.select(_studies.c.id).where(_studies.c.study_instance_uid == study).scalar_subquery()
    current = (_results.c.study_pk == study_pk, _results.c.superseded_by.is_(None))
    withdrawn = tx.execute(sa.update(_results).where(*current).values(superseded_by=revision)).rowcount
    if withdrawn:
        changes.append(tx, "result-superseded", at=now, study=study, revision=revision, detail={"results": withdrawn})


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
    return StudyUid(row.study_instance_uid), _as_result(row)


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
        found[StudyUid(row.study_instance_uid)].append(_as_result(row))
    return {uid: tuple(rows) for uid, rows in found.items()}


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
        )
        .values(superseded_by=job.revision)
    )
    if older.rowcount:
        detail = {"model": job.model_id, "results": older.rowcount}
        changes.append(
            tx, "result-superseded", at=now, study=job.study_instance_uid, revision=job.revision, detail=detail
        )


def _as_result(row: sa.Row[Any]) -> ResultRecord:
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
        result=result,
    )

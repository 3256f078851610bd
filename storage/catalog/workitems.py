"""Rows of the workitems that others made, and what is read of triage jobs seen as workitems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.catalog.jobs import as_job
from storage.catalog.upsert import insert_new
from storage.errors import CatalogueUnknown
from storage.workitems import keys
from storage.workitems.errors import WorkitemExists, WorkitemGone
from storage.workitems.records import JobStep, Subject, Workitem, WorkitemUid, job_of_uid
from storage.workitems.states import FINAL, WorkitemState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from storage.database import Transaction
    from storage.search import Match
    from storage.workitems.datasets import DataSet

_workitems, _keys, _subscriptions = schema.workitems, schema.workitem_keys, schema.workitem_subscriptions
_jobs, _studies = schema.jobs, schema.studies

_IS_HERE: Final = _workitems.c.gone_at.is_(None)
_FORGOTTEN: Final[DataSet] = {}


# ------------------------------------------------------------------------------------------------------------ one
def add(tx: Transaction, workitem: Workitem) -> None:
    """Enter a new workitem; `WorkitemExists` where its UID is taken, by one that is gone too."""
    row = {
        "sop_instance_uid": workitem.uid,
        "state": workitem.state,
        "attributes": workitem.attributes,
        "created_at": workitem.created_at,
        "modified_at": workitem.modified_at,
    }
    if find_job(tx, workitem.uid) is not None or not insert_new(tx, _workitems, row):
        raise WorkitemExists
    _enter_keys(tx, workitem)


def find(tx: Transaction, uid: WorkitemUid) -> Workitem | JobStep:
    """Return a workitem, or the job that this UID names.

    Raises
    ------
    CatalogueUnknown
        There is none, as far as we know.
    WorkitemGone
        There was one.
    """
    row = tx.execute(sa.select(_workitems).where(_workitems.c.sop_instance_uid == uid)).one_or_none()
    if row is not None:
        return _as_workitem(row)
    job = find_job(tx, uid)
    if job is None:
        raise CatalogueUnknown("there is no such workitem")
    return job


def hold(tx: Transaction, uid: WorkitemUid) -> tuple[Workitem | JobStep, str | None]:
    """Return a workitem as `find`, held for this transaction, and the Transaction UID that it was claimed with."""
    query = sa.select(_workitems).where(_workitems.c.sop_instance_uid == uid).with_for_update()
    row = tx.execute(query).one_or_none()
    return (find(tx, uid), None) if row is None else (_as_workitem(row), row.transaction_uid)


def change(tx: Transaction, workitem: Workitem, *, transaction: str | None = None) -> None:
    """Write a workitem anew; `transaction` is the UID that it is claimed with from now on, if it is."""
    claimed = {} if transaction is None else {"transaction_uid": transaction}
    tx.execute(
        sa.update(_workitems)
        .where(_workitems.c.sop_instance_uid == workitem.uid)
        .values(
            state=workitem.state,
            attributes=workitem.attributes,
            modified_at=workitem.modified_at,
            ended_at=workitem.ended_at,
            **claimed,
        )
    )
    tx.execute(sa.delete(_keys).where(_keys.c.workitem_pk == _pk(workitem.uid)))
    _enter_keys(tx, workitem)


def count(tx: Transaction) -> int:
    """Return how many workitems others have here."""
    return int(tx.execute(sa.select(sa.func.count()).select_from(_workitems).where(_IS_HERE)).scalar_one())


def _enter_keys(tx: Transaction, workitem: Workitem) -> None:
    rows = keys.rows_of(workitem.attributes)
    if rows:
        pk = tx.execute(sa.select(_workitems.c.id).where(_workitems.c.sop_instance_uid == workitem.uid)).scalar_one()
        tx.execute(sa.insert(_keys), [{**row, "workitem_pk": pk} for row in rows])


def _pk(uid: WorkitemUid) -> sa.ScalarSelect[Any]:
    return sa.select(_workitems.c.id).where(_workitems.c.sop_instance_uid == uid).scalar_subquery()


def _as_workitem(row: sa.Row[Any]) -> Workitem:
    if row.gone_at is not None:
        raise WorkitemGone
    return Workitem(
        uid=WorkitemUid(row.sop_instance_uid),
        state=WorkitemState(row.state),
        attributes=row.attributes,
        created_at=row.created_at,
        modified_at=row.modified_at,
        ended_at=row.ended_at,
    )


# ------------------------------------------------------------------------------------------------------------ many
def search(tx: Transaction, matches: Sequence[Match], *, limit: int, offset: int = 0) -> list[Workitem | JobStep]:
    """Return the matching workitems: those of others, then our jobs, each oldest first; so pages do not shift.

    Raises
    ------
    MatchRejected
        A value cannot be matched with its attribute; the message never repeats it.
    """
    query = sa.select(_workitems).where(_IS_HERE, *keys.of_workitems(tx, matches)).order_by(_workitems.c.id)
    found: list[Workitem | JobStep] = [_as_workitem(row) for row in tx.execute(query.limit(limit).offset(offset))]
    left = limit - len(found)
    if left <= 0:
        return found
    skipped = max(0, offset - _count_workitems(tx, matches))
    jobs = _JOBS.where(*keys.of_jobs(tx, matches)).order_by(_jobs.c.created_at, _jobs.c.id)
    return found + [_as_step(row) for row in tx.execute(jobs.limit(left).offset(skipped))]


def count_matches(tx: Transaction, matches: Sequence[Match]) -> int:
    """Return how many workitems match."""
    jobs = sa.select(sa.func.count()).select_from(_jobs.join(_studies, _studies.c.id == _jobs.c.study_pk))
    ours = tx.execute(jobs.where(*keys.of_jobs(tx, matches))).scalar_one()
    return int(ours) + _count_workitems(tx, matches)


def uids_of(tx: Transaction, matches: Sequence[Match]) -> list[tuple[WorkitemUid, WorkitemState, str | None]]:
    """Return UID, state and input readiness of every matching workitem of others."""
    readiness = sa.select(_keys.c.value).where(
        _keys.c.workitem_pk == _workitems.c.id, _keys.c.path == "InputReadinessState"
    )
    query = (
        sa.select(
            _workitems.c.sop_instance_uid, _workitems.c.state, readiness.limit(1).scalar_subquery().label("ready")
        )
        .where(_IS_HERE, *keys.of_workitems(tx, matches))
        .order_by(_workitems.c.id)
    )
    rows = tx.execute(query)
    return [(WorkitemUid(row.sop_instance_uid), WorkitemState(row.state), row.ready) for row in rows]


def matches_one(tx: Transaction, uid: WorkitemUid, matches: Sequence[Match]) -> bool:
    """Tell whether a workitem of others is among those that match."""
    query = sa.select(_workitems.c.id).where(_workitems.c.sop_instance_uid == uid, *keys.of_workitems(tx, matches))
    return tx.execute(query).first() is not None


def _count_workitems(tx: Transaction, matches: Sequence[Match]) -> int:
    query = sa.select(sa.func.count()).select_from(_workitems).where(_IS_HERE, *keys.of_workitems(tx, matches))
    return int(tx.execute(query).scalar_one())


# ------------------------------------------------------------------------------------------------------------ jobs
_SUBJECT: Final = tuple(_studies.c[name] for name in Subject.__slots__)
_RETRACTED_WHY: Final = (
    sa.select(schema.results.c.retracted_why)
    .where(schema.results.c.job_id == _jobs.c.id)
    .scalar_subquery()
    .label("retracted_why")
)
_JOBS: Final = sa.select(
    _jobs, _studies.c.study_instance_uid, *_SUBJECT, keys.IS_URGENT.label("is_urgent"), _RETRACTED_WHY
).join_from(_jobs, _studies, _studies.c.id == _jobs.c.study_pk)


def find_job(tx: Transaction, uid: WorkitemUid) -> JobStep | None:
    """Return the job that a UID names, None where there is none."""
    job = job_of_uid(uid)
    row = None if job is None else tx.execute(_JOBS.where(_jobs.c.id == job)).one_or_none()
    return None if row is None else _as_step(row)


def new_jobs(tx: Transaction, matches: Sequence[Match], *, aet: str, since: datetime, limit: int) -> list[JobStep]:
    """Return matching jobs, made at or after `since`, to which an AE title does not subscribe; oldest first."""
    subscribed = sa.exists().where(_subscriptions.c.aet == aet, _subscriptions.c.job_id == _jobs.c.id)
    query = _JOBS.where(_jobs.c.created_at >= since, ~subscribed, *keys.of_jobs(tx, matches))
    return [_as_step(row) for row in tx.execute(query.order_by(_jobs.c.created_at, _jobs.c.id).limit(limit))]


def open_jobs(tx: Transaction, matches: Sequence[Match], *, limit: int) -> list[JobStep]:
    """Return matching jobs that have not ended, oldest first."""
    query = _JOBS.where(_jobs.c.ended_at.is_(None), *keys.of_jobs(tx, matches))
    return [_as_step(row) for row in tx.execute(query.order_by(_jobs.c.created_at, _jobs.c.id).limit(limit))]


def _as_step(row: sa.Row[Any]) -> JobStep:
    return JobStep(
        job=as_job(row),
        subject=Subject(**{name: getattr(row, name) for name in Subject.__slots__}),
        is_urgent=bool(row.is_urgent),
        created_at=row.created_at,
        claimed_at=row.claimed_at,
        ended_at=row.ended_at,
        retracted_why=row.retracted_why,
    )


# ------------------------------------------------------------------------------------------------- when time is over
def remove_ended(tx: Transaction, *, before: datetime, now: datetime, limit: int = 1000) -> int:
    """Empty the rows of final workitems that ended before a time and that no deletion lock holds; return how many."""
    locked = sa.exists().where(
        _subscriptions.c.workitem_uid == _workitems.c.sop_instance_uid, _subscriptions.c.deletion_lock
    )
    over = (
        sa.select(_workitems.c.id, _workitems.c.sop_instance_uid)
        .where(_IS_HERE, _workitems.c.state.in_(FINAL), _workitems.c.ended_at < before, ~locked)
        .order_by(_workitems.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = list(tx.execute(over))
    ids, uids = [row.id for row in rows], [row.sop_instance_uid for row in rows]
    tx.execute(sa.delete(_keys).where(_keys.c.workitem_pk.in_(ids)))
    tx.execute(sa.delete(_subscriptions).where(_subscriptions.c.workitem_uid.in_(uids)))
    tx.execute(
        sa.update(_workitems)
        .where(_workitems.c.id.in_(ids))
        .values(attributes=_FORGOTTEN, transaction_uid=None, gone_at=now)
    )
    return len(rows)


def forget_gone(tx: Transaction, *, before: datetime) -> None:
    """Delete the rows of workitems that were removed before a time: their UIDs are known no longer."""
    tx.execute(sa.delete(_workitems).where(_workitems.c.gone_at < before))

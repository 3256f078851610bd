"""Who hears of which workitem, with or without a deletion lock (PS3.4 CC.2.3).

A subscription to the worklist subscribes to every workitem there is, and to each that is made later; the rows of
single workitems alone tell who hears of an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.catalog.upsert import insert_new
from storage.search import Match
from storage.workitems import keys
from storage.workitems.records import WorkitemUid, job_of_uid
from storage.workitems.states import WorkitemState

if TYPE_CHECKING:
    from storage.database import Transaction

_single, _worklist, _jobs = schema.workitem_subscriptions, schema.worklist_subscriptions, schema.jobs
_TURN: Final = 0x0055_5054  # any fixed number but that of the events


@dataclass(frozen=True, kw_only=True, slots=True)
class WorklistSubscription:
    """A subscription to all workitems, or to those that match."""

    aet: str
    worklist_uid: WorkitemUid
    deletion_lock: bool
    matches: tuple[Match, ...]
    since: datetime
    looked_until: datetime
    """Jobs made before this were looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSubscription:
    """A subscription to a triage job, and the state that was told last."""

    workitem_uid: WorkitemUid
    told: WorkitemState


def take_turns(tx: Transaction) -> None:
    """Let nobody subscribe to the worklist while a workitem is made, and the other way round: neither saw the other."""
    if tx.dialect.name == "postgresql":
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))


# --------------------------------------------------------------------------------------------------- single workitems
def subscribe(
    tx: Transaction,
    uid: WorkitemUid,
    aet: str,
    *,
    deletion_lock: bool,
    now: datetime,
    told: WorkitemState | None = None,
) -> bool:
    """Subscribe to a workitem unless that is so already; tell whether it is new.  `told` is for jobs only."""
    job = None if told is None else job_of_uid(uid)
    row = {"workitem_uid": uid, "aet": aet, "deletion_lock": deletion_lock, "since": now, "job_id": job, "told": told}
    return insert_new(tx, _single, row)


def set_lock(tx: Transaction, uid: WorkitemUid, aet: str, *, deletion_lock: bool) -> None:
    """Give a subscription a deletion lock, or take it away."""
    tx.execute(sa.update(_single).where(*_of(uid, aet)).values(deletion_lock=deletion_lock))


def unsubscribe(tx: Transaction, uid: WorkitemUid, aet: str) -> bool:
    """End a subscription to a workitem; False where there is none."""
    return tx.execute(sa.delete(_single).where(*_of(uid, aet))).rowcount > 0


def of_workitem(tx: Transaction, uid: WorkitemUid) -> list[str]:
    """Return the AE titles that hear of a workitem."""
    query = sa.select(_single.c.aet).where(_single.c.workitem_uid == uid).order_by(_single.c.aet)
    return list(tx.execute(query).scalars())


def _of(uid: WorkitemUid, aet: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (_single.c.workitem_uid == uid, _single.c.aet == aet)


# ------------------------------------------------------------------------------------------------------- the worklist
def subscribe_worklist(tx: Transaction, subscription: WorklistSubscription) -> None:
    """Subscribe to the worklist, in place of an earlier subscription of this kind."""
    leave_worklist(tx, subscription.worklist_uid, subscription.aet)
    tx.execute(
        sa.insert(_worklist).values(
            aet=subscription.aet,
            worklist_uid=subscription.worklist_uid,
            deletion_lock=subscription.deletion_lock,
            filter=[[match.keyword, match.value] for match in subscription.matches],
            since=subscription.since,
            looked_until=subscription.looked_until,
        )
    )


def leave_worklist(tx: Transaction, uid: WorkitemUid, aet: str) -> bool:
    """End a subscription to the worklist, not those to single workitems; False where there is none."""
    gone = sa.delete(_worklist).where(_worklist.c.worklist_uid == uid, _worklist.c.aet == aet)
    return tx.execute(gone).rowcount > 0


def leave_all(tx: Transaction, aet: str) -> bool:
    """End every subscription of an AE title; False where there is none."""
    gone = [tx.execute(sa.delete(table).where(table.c.aet == aet)).rowcount for table in (_worklist, _single)]
    return sum(gone) > 0


def to_worklist(tx: Transaction, aet: str | None = None) -> list[WorklistSubscription]:
    """Return the subscriptions to the worklist, all or those of an AE title."""
    query = sa.select(_worklist).order_by(_worklist.c.aet, _worklist.c.worklist_uid)
    rows = tx.execute(query if aet is None else query.where(_worklist.c.aet == aet))
    return [_as_subscription(row) for row in rows]


def look_until(tx: Transaction, subscription: WorklistSubscription, until: datetime) -> None:
    """Note that jobs made before `until` were looked at."""
    this = (_worklist.c.aet == subscription.aet, _worklist.c.worklist_uid == subscription.worklist_uid)
    tx.execute(sa.update(_worklist).where(*this).values(looked_until=until))


def is_known(tx: Transaction, aet: str) -> bool:
    """Tell whether an AE title subscribes to anything."""
    found = (sa.exists().where(table.c.aet == aet) for table in (_single, _worklist))
    return bool(tx.execute(sa.select(sa.or_(*found))).scalar_one())


def count_titles(tx: Transaction) -> int:
    """Return how many AE titles subscribe to anything."""
    everybody = sa.union(sa.select(_single.c.aet), sa.select(_worklist.c.aet)).subquery()
    return int(tx.execute(sa.select(sa.func.count()).select_from(everybody)).scalar_one())


def _as_subscription(row: sa.Row[Any]) -> WorklistSubscription:
    return WorklistSubscription(
        aet=row.aet,
        worklist_uid=WorkitemUid(row.worklist_uid),
        deletion_lock=row.deletion_lock,
        matches=tuple(Match(keyword=keyword, value=value) for keyword, value in row.filter),
        since=row.since,
        looked_until=row.looked_until,
    )


# --------------------------------------------------------------------------------------------------------------- jobs
def moved_jobs(tx: Transaction, aet: str, *, limit: int) -> list[JobSubscription]:
    """Return an AE title's subscriptions to jobs whose state is not the one that was told last, or that are gone."""
    moved = sa.or_(_jobs.c.id.is_(None), _single.c.told != keys.JOB_STATE)
    query = (
        sa.select(_single.c.workitem_uid, _single.c.told)
        .select_from(_single.outerjoin(_jobs, _jobs.c.id == _single.c.job_id))
        .where(_single.c.aet == aet, _single.c.told.in_((WorkitemState.SCHEDULED, WorkitemState.IN_PROGRESS)), moved)
        .order_by(_single.c.since, _single.c.workitem_uid)
    )
    rows = tx.execute(query.limit(limit))
    return [JobSubscription(workitem_uid=WorkitemUid(row.workitem_uid), told=WorkitemState(row.told)) for row in rows]


def note_told(tx: Transaction, uid: WorkitemUid, aet: str, *, before: WorkitemState, now: WorkitemState) -> bool:
    """Note the state that is told of a job; False where somebody else told it, who looked at the same time."""
    change = sa.update(_single).where(*_of(uid, aet), _single.c.told == before).values(told=now)
    return tx.execute(change).rowcount > 0


def remove_ended_jobs(tx: Transaction, *, before: datetime) -> None:
    """Delete subscriptions to jobs that began before a time and have been told to have ended."""
    ended = (WorkitemState.COMPLETED, WorkitemState.CANCELED)
    tx.execute(sa.delete(_single).where(_single.c.told.in_(ended), _single.c.since < before))

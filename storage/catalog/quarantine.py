"""Copies put aside because their SOP Instance UID was kept already: for a person to decide on, by row id (D-24)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import arrivals, changes, deletions, facts
from storage.catalog.deletions import Doomed, Target
from storage.catalog.upsert import insert_new
from storage.errors import CatalogueUnknown
from storage.records import Arrival, InstanceUid, ObjectKey, StudyState, StudyUid
from storage.tombstones import Buried

if TYPE_CHECKING:
    from storage.database import Transaction

_aside, _studies, _series, _instances = schema.quarantine, schema.studies, schema.series, schema.instances


class Decision(StrEnum):
    """What became of a copy."""

    WAITING = "WAITING"
    RELEASED = "RELEASED"
    """It took the place of the kept one, which was put aside instead, in a row of its own."""
    REJECTED = "REJECTED"
    """It was removed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PutAside:
    """One copy, and what was decided of it."""

    id: int
    state: Decision
    sop_instance_uid: InstanceUid
    study_instance_uid: StudyUid
    """The study that the copy itself names."""
    object_key: ObjectKey
    kept_object_key: ObjectKey
    meta_bytes: int
    reason: str
    calling_aet: str
    address: str
    received_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    decided_why: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptRow:
    """The instance that is kept under a copy's UID, and where it stands."""

    pk: int
    study_pk: int
    study_instance_uid: StudyUid
    series_instance_uid: str
    object_key: ObjectKey
    is_first: bool
    """Nothing else of its study came before it: the study's facts are what it told."""
    is_only: bool


def listed(tx: Transaction, *, waiting: bool, after: int = 0, limit: int = 100) -> list[PutAside]:
    """Return up to `limit` copies after row id `after`, oldest first; only those that wait, or all."""
    query = sa.select(_aside).where(_aside.c.id > after).order_by(_aside.c.id).limit(limit)
    if waiting:
        query = query.where(_aside.c.state == Decision.WAITING)
    return [_put_aside(row) for row in tx.execute(query)]


def one(tx: Transaction, row_id: int) -> PutAside:
    """Return one copy; `CatalogueUnknown` where there is none of this id."""
    row = tx.execute(sa.select(_aside).where(_aside.c.id == row_id)).one_or_none()
    if row is None:
        raise CatalogueUnknown(f"no copy {row_id} in quarantine")
    return _put_aside(row)


def count_waiting(tx: Transaction) -> int:
    """Return how many copies wait for a decision."""
    query = sa.select(sa.func.count()).select_from(_aside).where(_aside.c.state == Decision.WAITING)
    return int(tx.execute(query).scalar_one())


def kept_under(tx: Transaction, uid: InstanceUid) -> KeptRow | None:
    """Return the instance that is kept under a UID, if any."""
    query = (
        sa.select(_instances, _studies.c.study_instance_uid, _studies.c.instance_count, _series.c.series_instance_uid)
        .join_from(_instances, _studies, _studies.c.id == _instances.c.study_pk)
        .join(_series, _series.c.id == _instances.c.series_pk)
        .where(_instances.c.sop_instance_uid == uid)
    )
    row = tx.execute(query).one_or_none()
    if row is None:
        return None
    first = sa.select(sa.func.min(_instances.c.id)).where(_instances.c.study_pk == row.study_pk)
    return KeptRow(
        pk=row.id,
        study_pk=row.study_pk,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        object_key=row.object_key,
        is_first=tx.execute(first).scalar_one() == row.id,
        is_only=row.instance_count == 1,
    )


def decide(tx: Transaction, copy: PutAside, decision: Decision, *, actor: str, reason: str, now: datetime) -> bool:
    """Note a decision on a copy that waits; False where it waits no longer."""
    told = {"state": decision, "decided_at": now, "decided_by": actor, "decided_why": reason}
    this = (_aside.c.id == copy.id, _aside.c.state == Decision.WAITING)
    return tx.execute(sa.update(_aside).where(*this).values(**told)).rowcount == 1


def tell_rejected(tx: Transaction, copy: PutAside, *, now: datetime) -> None:
    """Append the change."""
    study, instance = copy.study_instance_uid, copy.sop_instance_uid
    changes.append(tx, "quarantine-rejected", at=now, study=study, instance=instance, detail={"quarantine": copy.id})


def swap(tx: Transaction, copy: PutAside, kept: KeptRow, arrival: Arrival, *, now: datetime) -> None:
    """Put the kept instance aside and enter the copy in its place; the study's next revision is judged anew.

    Call `removals.exclude_senders` first, in the same transaction: a sender would find neither of the two.  What the
    study's row says of patient and study is told by the copy where the kept instance had told it.
    """
    arrival = replace(arrival, origin=replace(arrival.origin, address=copy.address))
    target = arrival.header.study_instance_uid
    before = _state(tx, target)
    _put_kept_aside(tx, copy, kept)
    if kept.study_instance_uid != target:
        out = Buried(sop_instance_uid=copy.sop_instance_uid, object_key=kept.object_key)
        where = Target(study=kept.study_instance_uid, instance=copy.sop_instance_uid)
        deletions.delete(tx, where, Doomed(instances=(out,), quarantined=()), now=now)
    else:
        deletions.delete_instances(tx, kept.study_pk, [copy.sop_instance_uid])
        if kept.is_only:
            facts.forget(tx, kept.study_instance_uid)
    arrivals.record(tx, [arrival], now=now)
    if kept.study_instance_uid == target and kept.is_first:
        facts.tell(tx, arrival.header)
    _date(tx, copy, target)
    if before not in (None, StudyState.RECEIVING):  # reopened by this alone: nothing more is waited for
        tx.execute(
            sa.update(_studies).where(_studies.c.study_instance_uid == target).values(released_at=now, quiet_until=now)
        )
    _tell_replaced(tx, copy, arrival, now)


def _put_aside(row: Any) -> PutAside:  # noqa: ANN401 - a row
    values = {name: getattr(row, name) for name in PutAside.__slots__}
    return PutAside(**{**values, "state": Decision(row.state)})


def _state(tx: Transaction, study: StudyUid) -> StudyState | None:
    found = tx.execute(sa.select(_studies.c.state).where(_studies.c.study_instance_uid == study)).scalar_one_or_none()
    return None if found is None else StudyState(found)


def _put_kept_aside(tx: Transaction, copy: PutAside, kept: KeptRow) -> None:
    """Enter the kept instance's row into the quarantine, and have the other copies of its UID name the new kept one."""
    was = tx.execute(sa.select(_instances).where(_instances.c.id == kept.pk)).one()
    tx.execute(
        sa.update(_aside)
        .where(_aside.c.sop_instance_uid == copy.sop_instance_uid, _aside.c.state == Decision.WAITING)
        .values(kept_object_key=copy.object_key)
    )
    names = ("sop_instance_uid", "object_key", "meta_bytes", "calling_aet", "address", "received_at")
    row = {name: getattr(was, name) for name in names}
    told = {"study_instance_uid": kept.study_instance_uid, "kept_object_key": copy.object_key, "reason": copy.reason}
    insert_new(tx, _aside, {**row, **told, "state": Decision.WAITING})


def _date(tx: Transaction, copy: PutAside, study: StudyUid) -> None:
    """Give the copy the time at which it arrived, and its study the times of its instances."""
    this = _instances.c.sop_instance_uid == copy.sop_instance_uid
    tx.execute(sa.update(_instances).where(this).values(received_at=copy.received_at))
    deletions.note_times(tx, study)


def _tell_replaced(tx: Transaction, copy: PutAside, arrival: Arrival, now: datetime) -> None:
    header = arrival.header
    revision = tx.execute(
        sa.select(_studies.c.revision).where(_studies.c.study_instance_uid == header.study_instance_uid)
    ).scalar_one()
    changes.append(
        tx,
        "instance-replaced",
        at=now,
        study=header.study_instance_uid,
        series=header.series_instance_uid,
        instance=header.sop_instance_uid,
        revision=revision,
        detail={"quarantine": copy.id},
    )

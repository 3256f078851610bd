"""Studies, their series and instances: reading them, and moving a study through its lifecycle."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import changes, pauses
from storage.catalog.additions import OPEN_WAIT
from storage.errors import CatalogueUnknown
from storage.records import (
    CLOCK_SKEW,
    STUDY_TRANSITIONS,
    InstanceRecord,
    InstanceUid,
    NamedInstance,
    OrderPriority,
    SeriesRecord,
    SeriesUid,
    StudyEvent,
    StudyRecord,
    StudyState,
    StudyUid,
)
from storage.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from storage.database import Transaction

_studies, _series, _instances = schema.studies, schema.series, schema.instances

INSTANCES = (
    sa.select(
        _studies.c.study_instance_uid,
        _series.c.series_instance_uid,
        _series.c.modality,
        _series.c.series_number,
        _series.c.series_description,
        _series.c.body_part_examined,
        _instances,
    )
    .join_from(_instances, _series, _series.c.id == _instances.c.series_pk)
    .join(_studies, _studies.c.id == _instances.c.study_pk)
)
"""What `as_instance` needs, of every instance."""

_NEEDED = [column for column in INSTANCES.selected_columns if column.key in InstanceRecord.__slots__]
_OF_STUDY = (
    INSTANCES.with_only_columns(*_NEEDED)
    .where(_studies.c.study_instance_uid == sa.bindparam("study"))
    .order_by(_series.c.series_number, _series.c.id, _instances.c.instance_number, _instances.c.id)
)
_THE_NAMES = [INSTANCES.selected_columns[name] for name in NamedInstance._fields]
_THE_SERIES = _series.c.series_instance_uid == sa.bindparam("series")
_THE_INSTANCE = _instances.c.sop_instance_uid == sa.bindparam("instance")
_INSTANCES_OF = {
    (False, False): _OF_STUDY,
    (True, False): _OF_STUDY.where(_THE_SERIES),
    (False, True): _OF_STUDY.where(_THE_INSTANCE),
    (True, True): _OF_STUDY.where(_THE_SERIES, _THE_INSTANCE),
}
"""(is there a series, an instance) -> the query."""
_READ_INSTANCES = {levels: Statement(query) for levels, query in _INSTANCES_OF.items()}
_READ_NAMES = {levels: Statement(query.with_only_columns(*_THE_NAMES)) for levels, query in _INSTANCES_OF.items()}
"""The driver runs these: a series may have thousands of rows."""
SOME_SILENCE = timedelta(seconds=2)
"""Before that nobody asks whether a study of an association that is still open has ended."""
IN_SIGHT = _studies.c.instance_count > 0
"""Of a study without an instance in sight nobody is told: its row waits for them to be restored, or sent."""


# --------------------------------------------------------------------------------------------------- reading
def get(tx: Transaction, uid: StudyUid) -> StudyRecord:
    """Return one study; `CatalogueUnknown` where it is not here."""
    row = tx.execute(sa.select(_studies).where(_studies.c.study_instance_uid == uid, IN_SIGHT)).one_or_none()
    if row is None:
        raise CatalogueUnknown(f"no study {uid}")
    return as_study(row)


def exists(tx: Transaction, uid: StudyUid) -> bool:
    """Tell whether the study is here."""
    query = sa.select(_studies.c.id).where(_studies.c.study_instance_uid == uid, IN_SIGHT)
    return tx.execute(query).one_or_none() is not None


def series_of(tx: Transaction, uids: Iterable[StudyUid]) -> dict[StudyUid, tuple[SeriesRecord, ...]]:
    """Return the series of each study, by Series Number."""
    query = (
        sa.select(_studies.c.study_instance_uid, _series)
        .join_from(_series, _studies, _studies.c.id == _series.c.study_pk)
        .where(_studies.c.study_instance_uid.in_(list(uids)))
        .order_by(_series.c.series_number, _series.c.id)
    )
    found: dict[StudyUid, list[SeriesRecord]] = defaultdict(list)
    for row in tx.execute(query):
        found[StudyUid(row.study_instance_uid)].append(as_series(row))
    return {uid: tuple(rows) for uid, rows in found.items()}


def instances_of(
    tx: Transaction, study: StudyUid, *, series: SeriesUid | None = None, instance: InstanceUid | None = None
) -> list[InstanceRecord]:
    """Return the instances of a study, or of one series, or one instance, in the order they came."""
    named = {"study": study, "series": series, "instance": instance}
    statement = _READ_INSTANCES[series is not None, instance is not None]
    return [as_instance(row) for row in statement.rows(tx, named)]


def names_of(
    tx: Transaction, study: StudyUid, *, series: SeriesUid | None = None, instance: InstanceUid | None = None
) -> list[NamedInstance]:
    """Return what names the instances that `instances_of` would return, in the same order."""
    named = {"study": study, "series": series, "instance": instance}
    statement = _READ_NAMES[series is not None, instance is not None]
    return [NamedInstance(*row) for row in statement.rows(tx, named)]


# ------------------------------------------------------------------------------------------------- lifecycle
def receiving(tx: Transaction, *, now: datetime) -> list[StudyRecord]:
    """Return the studies still receiving for which something speaks for completion: a release, or some silence."""
    silent = _studies.c.quiet_until <= now + OPEN_WAIT - SOME_SILENCE
    query = (
        sa.select(_studies)
        .where(_studies.c.state == StudyState.RECEIVING, IN_SIGHT)
        .where(sa.or_(_studies.c.released_at.is_not(None), silent))
        .order_by(_studies.c.released_at.is_(None), _studies.c.received_last)
        .limit(200)
    )
    return [as_study(row) for row in tx.execute(query)]


def arriving(tx: Transaction, *, least: int) -> list[StudyRecord]:
    """Return the studies that are receiving for the first time and have at least so many instances, newest first."""
    query = (
        sa.select(_studies)
        .where(_studies.c.state == StudyState.RECEIVING, _studies.c.ready_at.is_(None))
        .where(_studies.c.instance_count >= least)
        .order_by(_studies.c.received_last.desc())
        .limit(200)
    )
    return [as_study(row) for row in tx.execute(query)]


def receives_still(tx: Transaction, study: StudyRecord) -> bool:
    """Tell whether a study is still receiving the same revision, and keep it so until the transaction ends."""
    query = sa.select(_studies.c.state, _studies.c.revision).where(
        _studies.c.study_instance_uid == study.study_instance_uid
    )
    found = tx.execute(query.with_for_update()).one_or_none()
    return found is not None and (found.state, found.revision) == (StudyState.RECEIVING, study.revision)


def from_the_future(tx: Transaction, *, now: datetime) -> list[StudyUid]:
    """Return the studies still receiving whose last instance came later than now: the clock was set back since."""
    query = sa.select(_studies.c.study_instance_uid).where(
        _studies.c.state == StudyState.RECEIVING, IN_SIGHT, _studies.c.quiet_until > now + OPEN_WAIT + CLOCK_SKEW
    )
    return [StudyUid(uid) for uid in tx.execute(query).scalars()]


def pull_back(tx: Transaction, uids: Iterable[StudyUid], *, now: datetime) -> None:
    """Let the last instance of these studies have come now, so that their silence begins now and not in hours."""
    tx.execute(
        sa.update(_studies)
        .where(
            _studies.c.study_instance_uid.in_(list(uids)),
            _studies.c.state == StudyState.RECEIVING,
            _studies.c.quiet_until > now + OPEN_WAIT + CLOCK_SKEW,
        )
        .values(received_last=now, quiet_until=now + OPEN_WAIT)
    )


def anything_receiving(tx: Transaction) -> bool:
    """Tell whether any study is receiving."""
    query = sa.select(_studies.c.id).where(_studies.c.state == StudyState.RECEIVING, IN_SIGHT).limit(1)
    return tx.execute(query).one_or_none() is not None


def most_instances_receiving(tx: Transaction) -> int:
    """Return how many instances the largest study has that is receiving; 0 where none is."""
    query = sa.select(sa.func.max(_studies.c.instance_count)).where(_studies.c.state == StudyState.RECEIVING, IN_SIGHT)
    return tx.execute(query).scalar_one() or 0


def complete(
    tx: Transaction, study: StudyRecord, *, reason: str, now: datetime, probability: float | None = None
) -> StudyRecord | None:
    """Move a receiving study to COMPLETE; None where an instance or another process was faster.

    `probability` is that of nothing more coming, as far as could be known.
    """
    state, _ = STUDY_TRANSITIONS[study.state, StudyEvent.EVIDENCE]
    moved = tx.execute(
        sa.update(_studies)
        .where(
            _studies.c.study_instance_uid == study.study_instance_uid,
            _studies.c.state == study.state,
            _studies.c.revision == study.revision,
            _studies.c.received_last == study.received_last,
            IN_SIGHT,
        )
        .values(
            state=state,
            completed_at=now,
            completion_reason=reason,
            completion_probability=probability,
            ready_at=sa.func.coalesce(_studies.c.ready_at, sa.literal(now, schema.UtcTime)),
        )
    )
    if moved.rowcount == 0:
        return None
    changes.append(
        tx,
        "study-complete",
        at=now,
        study=study.study_instance_uid,
        revision=study.revision,
        detail={"reason": reason, "probability": probability, "instances": study.instance_count},
    )
    return get(tx, study.study_instance_uid)


def settle(tx: Transaction, uid: StudyUid, *, now: datetime) -> bool:
    """Move a complete study to TRIAGED once every job of its revision has ended; tell whether it moved."""
    study = get(tx, uid)
    if study.state is not StudyState.COMPLETE or _open_jobs(tx, uid, study.revision):
        return False
    state, _ = STUDY_TRANSITIONS[study.state, StudyEvent.SETTLED]
    moved = tx.execute(
        sa.update(_studies)
        .where(
            _studies.c.study_instance_uid == uid,
            _studies.c.state == study.state,
            _studies.c.revision == study.revision,
        )
        .values(state=state)
    )
    if moved.rowcount:
        changes.append(tx, "study-triaged", at=now, study=uid, revision=study.revision)
    return bool(moved.rowcount)


def _open_jobs(tx: Transaction, uid: StudyUid, revision: int) -> bool:
    jobs = schema.jobs
    query = (
        sa.select(jobs.c.id)
        .join(_studies, _studies.c.id == jobs.c.study_pk)
        .where(
            _studies.c.study_instance_uid == uid,
            jobs.c.revision == revision,
            jobs.c.provisional == 0,
            jobs.c.state.in_(("WAITING", "RUNNING")),
        )
        .limit(1)
    )
    return tx.execute(query).one_or_none() is not None


# -------------------------------------------------------------------------------------------------- priority
def set_due(
    tx: Transaction,
    uid: StudyUid,
    *,
    due_at: datetime | None,
    due_without_ai: datetime | None,
    ai_urgency: str | None,
) -> None:
    """Enter when the study is due, when it would be without AI, and the AI's share in it."""
    told = {"due_at": due_at, "due_without_ai": due_without_ai, "ai_urgency": ai_urgency}
    tx.execute(sa.update(_studies).where(_studies.c.study_instance_uid == uid).values(**told))


def set_order_priority(tx: Transaction, uid: StudyUid, priority: OrderPriority | None) -> None:
    """Enter the clinical order's priority."""
    tx.execute(sa.update(_studies).where(_studies.c.study_instance_uid == uid).values(order_priority=priority))


def set_manual_priority(tx: Transaction, uid: StudyUid, priority: OrderPriority | None, *, by: str) -> None:
    """Enter a named person's priority; None takes it back."""
    tx.execute(
        sa.update(_studies).where(_studies.c.study_instance_uid == uid).values(manual_priority=priority, manual_by=by)
    )


# --------------------------------------------------------------------------------------------------- records
def as_study(row: sa.Row[Any]) -> StudyRecord:
    """Return the record of a row of `schema.studies`."""
    values = {name: getattr(row, name) for name in StudyRecord.__slots__}
    values["modalities"] = tuple(part for part in row.modalities.split("\\") if part)
    values["state"] = StudyState(row.state)
    values["pauses"] = pauses.read(row.pauses)
    for name in ("order_priority", "manual_priority"):
        values[name] = OrderPriority(values[name]) if values[name] else None
    return StudyRecord(**values)


def as_series(row: sa.Row[Any]) -> SeriesRecord:
    """Return the record of a row of `schema.series` joined with its study's UID."""
    return SeriesRecord(**{name: getattr(row, name) for name in SeriesRecord.__slots__})


def as_instance(row: Any) -> InstanceRecord:  # noqa: ANN401 - a row, of SQLAlchemy or of a `Statement`
    """Return the record of a row of `INSTANCES`."""
    values = dict(zip(_INSTANCE_FIELDS, _instance_values(row), strict=True))
    values["image_type"] = tuple(part for part in row.image_type.split("\\") if part)
    for name in ("image_position_patient", "image_orientation_patient"):
        values[name] = tuple(map(float, values[name].split("\\"))) if values[name] else None
    return InstanceRecord(**values)


_INSTANCE_FIELDS = InstanceRecord.__slots__
_instance_values = attrgetter(*_INSTANCE_FIELDS)

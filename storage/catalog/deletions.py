"""Rows that go: instances on a person's word, and with the last of them their series; with all of them their study."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import changes, extracts, hidden, jobs, results
from storage.errors import CatalogueGone, CatalogueUnknown
from storage.records import (
    STUDY_TRANSITIONS,
    InstanceUid,
    ObjectKey,
    SeriesUid,
    StudyEvent,
    StudyState,
    StudyUid,
)
from storage.statements import among
from storage.tombstones import Buried, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from storage.catalog.hidden import Hidden
    from storage.database import Transaction

_studies, _series, _instances, _aside = schema.studies, schema.series, schema.instances, schema.quarantine


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A study, one of its series, or one instance."""

    study: StudyUid
    series: SeriesUid | None = None
    instance: InstanceUid | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Doomed:
    """The rows that a target stands for."""

    instances: tuple[Buried, ...]
    quarantined: tuple[Buried, ...]
    """Copies put aside under the same UIDs: they go too, or a rebuild would take them for the kept ones."""
    hidden: tuple[Buried, ...] = ()
    """What is kept out of sight."""
    ends: tuple[ObjectKey, ...] = ()
    """Tombstones that hid what is no longer hidden once it is gone."""

    @property
    def objects(self) -> tuple[Buried, ...]:
        """All of them, in one order, each once."""
        everything = {*self.instances, *self.quarantined, *self.hidden}
        return tuple(sorted(everything, key=lambda each: each.object_key))


def find(tx: Transaction, target: Target) -> Doomed:
    """Return what a target stands for, in sight or not; `CatalogueUnknown` where that is nothing."""
    query = (
        sa.select(_instances.c.sop_instance_uid, _instances.c.object_key)
        .join(_studies, _studies.c.id == _instances.c.study_pk)
        .join(_series, _series.c.id == _instances.c.series_pk)
        .where(_studies.c.study_instance_uid == target.study)
        .order_by(_instances.c.id)
    )
    if target.series is not None:
        query = query.where(_series.c.series_instance_uid == target.series)
    if target.instance is not None:
        query = query.where(_instances.c.sop_instance_uid == target.instance)
    instances = tuple(_buried(row) for row in tx.execute(query))
    doomed = of_hidden(hidden.under(tx, target))
    if not (instances or doomed.hidden):
        raise missing(tx, target.study)
    aside = tuple(_quarantined(tx, target, [*instances, *doomed.hidden]))
    return replace(doomed, instances=instances, quarantined=aside)


def of_hidden(rows: Iterable[Hidden]) -> Doomed:
    """Return what of these is kept."""
    kept = [row for row in rows if row.object_key is not None]
    return Doomed(
        instances=(),
        quarantined=(),
        hidden=tuple(_buried(row) for row in kept),
        ends=tuple(sorted({row.tombstone_key for row in kept if not row.lasts})),
    )


def missing(tx: Transaction, study: StudyUid) -> CatalogueUnknown:
    """Return what there is to say of a study, or of a part of it, that is not found.

    `CatalogueGone` only where all of the study was removed for good: what is hidden may be restored.
    """
    there = (
        sa.exists().where(_studies.c.study_instance_uid == study),
        sa.exists().where(schema.hidden.c.study_instance_uid == study, schema.hidden.c.object_key.is_not(None)),
    )
    removed = schema.tombstones.c.kind == Kind.REMOVED
    told = sa.exists().where(schema.tombstones.c.study_instance_uid == study, removed)
    is_gone = tx.execute(sa.select(sa.and_(told, ~sa.or_(*there)))).scalar_one()
    return CatalogueGone() if is_gone else CatalogueUnknown("nothing is kept under these UIDs")


def delete(tx: Transaction, target: Target, doomed: Doomed, *, now: datetime) -> None:
    """Delete the rows found for a target, and tell it.

    What is left of the study is its next revision, so that models judge it anew.
    """
    told: list[dict[str, Any]] = []
    for each in doomed.quarantined:
        tx.execute(sa.delete(_aside).where(_aside.c.object_key == each.object_key, _aside.c.state == "WAITING"))
    if doomed.hidden:
        hidden.strip(tx, [each.sop_instance_uid for each in doomed.hidden])
        told += [_removed_hidden(target, each, now) for each in doomed.hidden]
    uids = [each.sop_instance_uid for each in doomed.instances]
    study = _locked(tx, target.study, stop_runs=bool(uids))
    if study is not None and len(uids) == study.instance_count and not _anything_hidden(tx, target.study):
        told += _facts(tx, study, uids, kind="instance-removed", now=now)
        _delete_study(tx, study.id)
        told.append(changes.fact("study-removed", at=now, study=target.study, revision=study.revision))
    elif uids:
        withdraw(tx, target.study, uids, "instance-removed", now=now)
    changes.append_all(tx, told)


def withdraw(
    tx: Transaction,
    uid: StudyUid,
    instances: Sequence[InstanceUid],
    kind: str,
    *,
    now: datetime,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Take instances that are in sight out of their study, telling a change of `kind` of each.

    Nothing that judged the study before holds any longer: results are superseded, runs under way end in nothing.
    """
    study = _locked(tx, uid, stop_runs=True)
    if study is None:
        raise CatalogueUnknown(f"no study {uid}")
    told = _facts(tx, study, instances, kind=kind, now=now, detail=detail)
    delete_instances(tx, study.id, instances)
    revision, reopened = _reopen(tx, study, now)
    changes.append_all(tx, told + reopened)
    results.withdraw(tx, uid, revision=revision, now=now)


def _locked(tx: Transaction, uid: StudyUid, *, stop_runs: bool) -> sa.Row[Any] | None:
    """Return a study's row, locked, or None; with `stop_runs`, no job of it is open any more."""
    if stop_runs:
        jobs.drop_open(tx, uid)  # before the study is locked: a worker's commit takes them in this order
    this = sa.select(_studies).where(_studies.c.study_instance_uid == uid)
    study = tx.execute(this.with_for_update()).one_or_none()
    if stop_runs:
        jobs.drop_open(tx, uid)  # it may have been completed meanwhile
    return study


def delete_instances(tx: Transaction, study_pk: int, uids: Sequence[InstanceUid]) -> None:
    """Delete some of a study's instances with what was made of them, series that are empty then, and count anew."""
    tx.execute(sa.select(_studies.c.id).where(_studies.c.id == study_pk).with_for_update())
    extracts.forget_series_of(tx, study_pk, uids)
    tx.execute(sa.delete(_instances).where(among(_instances.c.sop_instance_uid, "uids")), {"uids": list(uids)})
    left = sa.select(sa.func.count()).where(_instances.c.series_pk == _series.c.id).scalar_subquery()
    tx.execute(sa.update(_series).where(_series.c.study_pk == study_pk).values(instance_count=left))
    tx.execute(sa.delete(_series).where(_series.c.study_pk == study_pk, _series.c.instance_count == 0))
    rows = tx.execute(sa.select(_series.c.modality, _series.c.instance_count).where(_series.c.study_pk == study_pk))
    found = rows.all()
    tx.execute(
        sa.update(_studies)
        .where(_studies.c.id == study_pk)
        .values(
            modalities="\\".join(sorted({row.modality for row in found if row.modality})),
            series_count=len(found),
            instance_count=sum(row.instance_count for row in found),
            **_times(),
        )
    )


def note_times(tx: Transaction, study: StudyUid) -> None:
    """Give a study the times at which the first and the last of its instances came."""
    tx.execute(sa.update(_studies).where(_studies.c.study_instance_uid == study).values(**_times()))


def _times() -> dict[str, sa.ColumnElement[Any]]:
    return {
        "received_first": _of_those_left(sa.func.min, _studies.c.received_first),
        "received_last": _of_those_left(sa.func.max, _studies.c.received_last),
    }


def _of_those_left(extreme: Any, before: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:  # noqa: ANN401 - sa.func.min or max
    """Return when the first or last of a study's instances came; what it was where none is left."""
    times = sa.select(extreme(_instances.c.received_at)).where(_instances.c.study_pk == _studies.c.id)
    return sa.func.coalesce(times.scalar_subquery(), before)


def _quarantined(tx: Transaction, target: Target, instances: Sequence[Buried]) -> list[Buried]:
    whole = target.series is None and target.instance is None
    uids = [each.sop_instance_uid for each in instances]
    theirs: sa.ColumnElement[bool] = among(_aside.c.sop_instance_uid, "uids")
    if whole:
        theirs = sa.or_(theirs, _aside.c.study_instance_uid == target.study)
    query = sa.select(_aside.c.sop_instance_uid, _aside.c.object_key).where(theirs, _aside.c.state == "WAITING")
    return [_buried(row) for row in tx.execute(query.order_by(_aside.c.id), {"uids": uids})]


def _buried(row: Any) -> Buried:  # noqa: ANN401 - a row of two columns
    return Buried(sop_instance_uid=InstanceUid(row.sop_instance_uid), object_key=ObjectKey(row.object_key))


def _anything_hidden(tx: Transaction, study: StudyUid) -> bool:
    kept = schema.hidden.c.object_key.is_not(None)
    there = sa.exists().where(schema.hidden.c.study_instance_uid == study, kept)
    return bool(tx.execute(sa.select(there)).scalar_one())


def _removed_hidden(target: Target, each: Buried, now: datetime) -> dict[str, Any]:
    return changes.fact("instance-removed", at=now, study=target.study, instance=each.sop_instance_uid)


def _facts(
    tx: Transaction,
    study: sa.Row[Any],
    uids: Sequence[InstanceUid],
    *,
    kind: str,
    now: datetime,
    detail: Mapping[str, object] | None = None,
) -> list[dict[str, Any]]:
    query = (
        sa.select(_series.c.series_instance_uid, _instances.c.sop_instance_uid)
        .join(_series, _series.c.id == _instances.c.series_pk)
        .where(among(_instances.c.sop_instance_uid, "uids"))
        .order_by(_instances.c.id)
    )
    return [
        changes.fact(
            kind,
            at=now,
            study=study.study_instance_uid,
            series=row.series_instance_uid,
            instance=row.sop_instance_uid,
            revision=study.revision,
            detail=detail,
        )
        for row in tx.execute(query, {"uids": list(uids)})
    ]


def _delete_study(tx: Transaction, study_pk: int) -> None:
    for table in (schema.results, schema.jobs, _instances, _series):
        tx.execute(sa.delete(table).where(table.c.study_pk == study_pk))
    tx.execute(sa.delete(_studies).where(_studies.c.id == study_pk))


def _reopen(tx: Transaction, study: sa.Row[Any], now: datetime) -> tuple[int, list[dict[str, Any]]]:
    """Make what is left of a study its next revision, where it was complete; return that, and what there is to tell."""
    state, added = STUDY_TRANSITIONS[StudyState(study.state), StudyEvent.INSTANCE]
    revision = study.revision + added
    tx.execute(
        sa.update(_studies)
        .where(_studies.c.id == study.id)
        .values(
            state=state,
            revision=revision,
            released_at=now,
            quiet_until=now,
            completed_at=None,  # until the models were asked again, nobody knows whether one applies
            completion_reason=None,
            completion_probability=None,
            pauses=None,
        )
    )
    # What is left counts as what this revision brought: it is what models are asked about.
    tx.execute(sa.update(_instances).where(_instances.c.study_pk == study.id).values(revision=revision))
    reopened = changes.fact("study-reopened", at=now, study=study.study_instance_uid, revision=revision)
    return revision, [reopened] if added else []

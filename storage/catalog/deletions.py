"""Rows that go: instances on a person's word, and with the last of them their series and study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import changes, extracts
from storage.errors import CatalogueUnknown
from storage.records import (
    STUDY_TRANSITIONS,
    InstanceUid,
    ObjectKey,
    SeriesUid,
    StudyEvent,
    StudyState,
    StudyUid,
)
from storage.tombstones import Buried

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

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

    @property
    def objects(self) -> tuple[Buried, ...]:
        """All of them, in one order, each once."""
        return tuple(sorted({*self.instances, *self.quarantined}, key=lambda each: each.object_key))


def find(tx: Transaction, target: Target) -> Doomed:
    """Return what a target stands for; `CatalogueUnknown` where that is nothing."""
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
    if not instances:
        raise CatalogueUnknown("nothing is kept under these UIDs")
    return Doomed(instances=instances, quarantined=tuple(_quarantined(tx, target, instances)))


def delete(tx: Transaction, target: Target, doomed: Doomed, *, now: datetime) -> None:
    """Delete the rows found for a target, and tell it.

    What is left of the study is its next revision, so that models judge it anew.
    """
    study = tx.execute(sa.select(_studies).where(_studies.c.study_instance_uid == target.study).with_for_update()).one()
    uids = [each.sop_instance_uid for each in doomed.instances]
    told = _facts(tx, study, uids, now)
    for each in doomed.quarantined:
        tx.execute(sa.delete(_aside).where(_aside.c.object_key == each.object_key, _aside.c.state == "WAITING"))
    if len(uids) == study.instance_count:
        _delete_study(tx, study.id)
        told.append(changes.fact("study-removed", at=now, study=target.study, revision=study.revision))
    else:
        delete_instances(tx, study.id, uids)
        told += _reopen(tx, study, now)
    changes.append_all(tx, told)


def delete_instances(tx: Transaction, study_pk: int, uids: Sequence[InstanceUid]) -> None:
    """Delete some of a study's instances with what was made of them, series that are empty then, and count anew."""
    tx.execute(sa.select(_studies.c.id).where(_studies.c.id == study_pk).with_for_update())
    extracts.forget_series_of(tx, study_pk, uids)
    tx.execute(sa.delete(_instances).where(_instances.c.sop_instance_uid.in_(uids)))
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
    theirs: sa.ColumnElement[bool] = _aside.c.sop_instance_uid.in_(uids)
    if whole:
        theirs = sa.or_(theirs, _aside.c.study_instance_uid == target.study)
    query = sa.select(_aside.c.sop_instance_uid, _aside.c.object_key).where(theirs, _aside.c.state == "WAITING")
    return [_buried(row) for row in tx.execute(query.order_by(_aside.c.id))]


def _buried(row: Any) -> Buried:  # noqa: ANN401 - a row of two columns
    return Buried(sop_instance_uid=InstanceUid(row.sop_instance_uid), object_key=ObjectKey(row.object_key))


def _facts(tx: Transaction, study: sa.Row[Any], uids: Sequence[InstanceUid], now: datetime) -> list[dict[str, Any]]:
    query = (
        sa.select(_series.c.series_instance_uid, _instances.c.sop_instance_uid)
        .join(_series, _series.c.id == _instances.c.series_pk)
        .where(_instances.c.sop_instance_uid.in_(uids))
        .order_by(_instances.c.id)
    )
    return [
        changes.fact(
            "instance-removed",
            at=now,
            study=study.study_instance_uid,
            series=row.series_instance_uid,
            instance=row.sop_instance_uid,
            revision=study.revision,
        )
        for row in tx.execute(query)
    ]


def _delete_study(tx: Transaction, study_pk: int) -> None:
    for table in (schema.results, schema.jobs, _instances, _series):
        tx.execute(sa.delete(table).where(table.c.study_pk == study_pk))
    tx.execute(sa.delete(_studies).where(_studies.c.id == study_pk))


def _reopen(tx: Transaction, study: sa.Row[Any], now: datetime) -> list[dict[str, Any]]:
    state, added = STUDY_TRANSITIONS[StudyState(study.state), StudyEvent.INSTANCE]
    revision = study.revision + added
    tx.execute(
        sa.update(_studies)
        .where(_studies.c.id == study.id)
        .values(state=state, revision=revision, released_at=now, quiet_until=now)
    )
    # What is left counts as what this revision brought: it is what models are asked about.
    tx.execute(sa.update(_instances).where(_instances.c.study_pk == study.id).values(revision=revision))
    if not added:
        return []
    return [changes.fact("study-reopened", at=now, study=study.study_instance_uid, revision=revision)]

"""A catalogue that is made anew: emptied, filled, and given the times that arrivals had the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog import deletions, hidden, upkeep
from storage.errors import CatalogueUnknown
from storage.records import InstanceUid, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from storage.database import Transaction

_studies, _instances, _hidden = schema.studies, schema.instances, schema.hidden

_MADE_ANEW = (
    *("feedback", "result_inputs", "reruns", "results", "jobs", "extracts", "places"),
    *("instances", "series", "studies", "quarantine"),
    *("hidden", "rejection_notes", "removals", "tombstones", "damaged"),
)
"""In the order in which rows may go.

Peers, targets, audit, changes, workitems, the site's word on its models and what senders taught stay: nothing else
knows them.
"""


def is_empty(tx: Transaction) -> bool:
    """Tell whether the catalogue knows of no object."""
    needed = (sa.exists().select_from(table) for table in (_instances, schema.quarantine, schema.tombstones))
    return not tx.execute(sa.select(sa.or_(*needed))).scalar_one()


def is_under_way(tx: Transaction, kind: str) -> bool:
    """Tell whether a run has begun and not ended."""
    run = upkeep.last(tx, kind)
    return run is not None and run.ended_at is None


def clear(tx: Transaction, *, copy_to: str) -> None:
    """Delete what is made anew; on PostgreSQL after a copy into a schema called `copy_to`, all or nothing."""
    if tx.dialect.name == "postgresql":
        tx.execute(sa.schema.CreateSchema(copy_to))
        for table in schema.metadata.sorted_tables:
            tx.execute(sa.text(f'CREATE TABLE "{copy_to}"."{table.name}" AS TABLE "{table.name}"'))
    for name in _MADE_ANEW:
        tx.execute(sa.delete(schema.metadata.tables[name]))


def note_received(tx: Transaction, times: Mapping[ObjectKey, datetime]) -> None:
    """Give instances the time at which they arrived first."""
    if times:
        rows = [{"key": key, "at": at} for key, at in times.items()]
        for table in (_instances, _hidden):
            change = sa.update(table).where(table.c.object_key == sa.bindparam("key"))
            tx.execute(change.values(received_at=sa.bindparam("at", type_=schema.UtcTime)), rows)


def tell_times(tx: Transaction, *, now: datetime) -> int:
    """Give studies the times of their instances; return how many instances know none of their own.

    A study becomes ready for reading when its last instance came, so that the list keeps its order.
    """
    of_study = _instances.c.study_pk == _studies.c.id
    first = sa.select(sa.func.min(_instances.c.received_at)).where(of_study).scalar_subquery()
    last = sa.select(sa.func.max(_instances.c.received_at)).where(of_study).scalar_subquery()
    tx.execute(
        sa.update(_studies).values(
            received_first=first, received_last=last, ready_at=last, released_at=now, quiet_until=now
        )
    )
    began = sa.select(sa.func.max(schema.upkeep.c.started_at)).where(schema.upkeep.c.kind == "rebuild")
    unknown = sa.select(sa.func.count()).select_from(_instances)
    return int(tx.execute(unknown.where(_instances.c.received_at >= began.scalar_subquery())).scalar_one())


def key_of(tx: Transaction, uid: InstanceUid) -> ObjectKey:
    """Return the object of a kept instance, in sight or not."""
    query = sa.select(_instances.c.object_key).where(_instances.c.sop_instance_uid == uid)
    key = tx.execute(query).scalar_one_or_none() or hidden.key_of(tx, uid)
    if key is None:
        raise CatalogueUnknown(f"no instance {uid}")
    return ObjectKey(key)


def drop_instance(tx: Transaction, uid: InstanceUid) -> None:
    """Delete an instance's row, and with the last one its series and study, without telling anybody."""
    query = sa.select(_instances.c.study_pk).where(_instances.c.sop_instance_uid == uid)
    study_pk = tx.execute(query).scalar_one_or_none()
    if study_pk is None:
        hidden.empty(tx, uid)
        return
    deletions.delete_instances(tx, study_pk, [uid])
    tx.execute(sa.delete(_studies).where(_studies.c.id == study_pk, _studies.c.instance_count == 0))

"""Objects that a scrub found missing or changed, until one finds them whole again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog import audit, changes
from storage.catalog.upsert import insert_new
from storage.records import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.database import Transaction

_damaged, _instances = schema.damaged, schema.instances


class Damage(StrEnum):
    """What is wrong with an object that a row needs."""

    MISSING = "missing"
    CORRUPT = "corrupt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Damaged:
    """An object that is not what was received."""

    object_key: ObjectKey
    damage: Damage
    found_at: datetime
    study_instance_uid: str | None
    """None where only the quarantine or a tombstone needs it."""
    series_instance_uid: str | None
    sop_instance_uid: str | None


_SELECT = (
    sa.select(
        _damaged,
        schema.studies.c.study_instance_uid,
        schema.series.c.series_instance_uid,
        _instances.c.sop_instance_uid,
    )
    .outerjoin(_instances, _instances.c.object_key == _damaged.c.object_key)
    .outerjoin(schema.series, schema.series.c.id == _instances.c.series_pk)
    .outerjoin(schema.studies, schema.studies.c.id == _instances.c.study_pk)
    .order_by(_damaged.c.found_at, _damaged.c.object_key)
)


def note(tx: Transaction, key: ObjectKey, damage: Damage, *, actor: str, now: datetime) -> bool:
    """Note a damaged object with a change and a line in the audit; False where it was known as that already."""
    if insert_new(tx, _damaged, {"object_key": key, "damage": damage, "found_at": now}):
        _tell(tx, "object-damaged", key, damage, actor=actor, now=now)
        return True
    moved = tx.execute(
        sa.update(_damaged).where(_damaged.c.object_key == key, _damaged.c.damage != damage).values(damage=damage)
    )
    if moved.rowcount:
        _tell(tx, "object-damaged", key, damage, actor=actor, now=now)
    return bool(moved.rowcount)


def known_among(tx: Transaction, keys: Sequence[ObjectKey]) -> set[ObjectKey]:
    """Return those of `keys` that are known as damaged."""
    found = tx.execute(sa.select(_damaged.c.object_key).where(_damaged.c.object_key.in_(keys)))
    return {ObjectKey(row.object_key) for row in found}


def mend(tx: Transaction, key: ObjectKey, *, actor: str, now: datetime) -> bool:
    """Note that an object is whole; True where it was known as damaged."""
    row = tx.execute(sa.select(_damaged.c.damage).where(_damaged.c.object_key == key)).one_or_none()
    if row is None:
        return False
    _tell(tx, "object-restored", key, Damage(row.damage), actor=actor, now=now)
    forget(tx, key)
    return True


def forget(tx: Transaction, key: ObjectKey) -> None:
    """Forget an object that no row needs any more."""
    tx.execute(sa.delete(_damaged).where(_damaged.c.object_key == key))


def known(tx: Transaction, *, limit: int = 1000) -> list[Damaged]:
    """Return up to `limit` damaged objects, the longest known first."""
    return [
        Damaged(
            object_key=row.object_key,
            damage=Damage(row.damage),
            found_at=row.found_at,
            study_instance_uid=row.study_instance_uid,
            series_instance_uid=row.series_instance_uid,
            sop_instance_uid=row.sop_instance_uid,
        )
        for row in tx.execute(_SELECT.limit(limit))
    ]


def _tell(tx: Transaction, kind: str, key: ObjectKey, damage: Damage, *, actor: str, now: datetime) -> None:
    for row in tx.execute(_SELECT.where(_damaged.c.object_key == key)).all():
        fact = changes.fact(
            kind,
            at=now,
            study=row.study_instance_uid,
            series=row.series_instance_uid,
            instance=row.sop_instance_uid,
            detail={"object": key, "damage": damage},
        )
        changes.append_all(tx, [fact])
        subject = row.sop_instance_uid or key
        audit.append(tx, actor=actor, action=kind, subject=subject, at=now, detail={"object": key, "damage": damage})

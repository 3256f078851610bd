"""Which objects the catalogue needs: an object that no row here names may be removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.records import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.database import Transaction

_WHOLE = sa.literal(0).label("meta_bytes")
"""A tombstone's digest is that of the whole object."""

_NEEDED = sa.union_all(
    sa.select(schema.instances.c.object_key, schema.instances.c.meta_bytes),
    sa.select(schema.quarantine.c.object_key, schema.quarantine.c.meta_bytes).where(
        schema.quarantine.c.state == "WAITING"
    ),
    sa.select(schema.hidden.c.object_key, schema.hidden.c.meta_bytes).where(schema.hidden.c.object_key.is_not(None)),
    sa.select(schema.tombstones.c.object_key, _WHOLE),
).subquery("needed")
"""Every table that needs an object: one statement, so that a key that moves between two of them is always seen."""


def needed(tx: Transaction, keys: Sequence[ObjectKey]) -> set[ObjectKey]:
    """Return those of `keys` that a row needs."""
    if not keys:
        return set()
    found = tx.execute(sa.select(_NEEDED.c.object_key).where(_NEEDED.c.object_key.in_(keys)))
    return {ObjectKey(row.object_key) for row in found}


def page(tx: Transaction, *, after: str, limit: int) -> list[tuple[ObjectKey, int]]:
    """Return up to `limit` needed keys after `after`, in order, each once, with its length of file meta in bytes."""
    query = (
        sa.select(_NEEDED.c.object_key, sa.func.min(_NEEDED.c.meta_bytes).label("meta_bytes"))
        .where(_NEEDED.c.object_key > after)
        .group_by(_NEEDED.c.object_key)
        .order_by(_NEEDED.c.object_key)
        .limit(limit)
    )
    return [(ObjectKey(row.object_key), row.meta_bytes) for row in tx.execute(query)]


def everything(tx: Transaction) -> dict[ObjectKey, int]:
    """Return every needed key with its length of file meta in bytes."""
    return {ObjectKey(row.object_key): row.meta_bytes for row in tx.execute(sa.select(_NEEDED))}


def count(tx: Transaction) -> int:
    """Return how many rows need an object."""
    return int(tx.execute(sa.select(sa.func.count()).select_from(_NEEDED)).scalar_one())

"""Checksums that were not noted at receipt: of instances from before there were any, or of a rebuilt catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.records import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storage.database import Transaction

_instances = schema.instances


def lacking(tx: Transaction, keys: Sequence[ObjectKey]) -> set[ObjectKey]:
    """Return the objects among `keys` that are those of an instance without a checksum."""
    query = sa.select(_instances.c.object_key).where(_instances.c.object_key.in_(keys), _instances.c.checksum.is_(None))
    return {ObjectKey(key) for key in tx.execute(query).scalars()}


def note(tx: Transaction, found: Mapping[ObjectKey, bytes]) -> None:
    """Give instances the checksum of their object; the SHA-256 of the same bytes was found right."""
    change = (
        sa.update(_instances)
        .where(_instances.c.object_key == sa.bindparam("key"), _instances.c.checksum.is_(None))
        .values(checksum=sa.bindparam("found"))
    )
    tx.execute(change, [{"key": key, "found": digest} for key, digest in found.items()])

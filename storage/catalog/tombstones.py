"""Rows for the tombstones in the object store: an object that no row needs would be removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage import schema
from storage.catalog.upsert import insert_new

if TYPE_CHECKING:
    from storage.database import Transaction
    from storage.tombstones import Tombstone


def add(tx: Transaction, tombstone: Tombstone) -> bool:
    """Enter a tombstone whose object is durable; False where it is known."""
    row = {
        "object_key": tombstone.key,
        "kind": tombstone.kind,
        "study_instance_uid": tombstone.study_instance_uid,
        "at": tombstone.at,
    }
    return insert_new(tx, schema.tombstones, row)

"""Insert unless it is there: the one statement that the two databases spell through different modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storage.database import Transaction


def _insert(tx: Transaction, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


def copy_new(tx: Transaction, table: sa.Table, columns: Sequence[str], rows: sa.Select[Any]) -> None:
    """Insert the rows that a query finds, but those that a unique constraint already holds."""
    tx.execute(_insert(tx, table).from_select(columns, rows).on_conflict_do_nothing())


def insert_new(tx: Transaction, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert `row` unless a unique constraint already holds one like it; tell whether it was inserted."""
    # RETURNING, not the row count: psycopg does not count rows of an insert that could return a key.
    inserted = _insert(tx, table).values(**row).on_conflict_do_nothing().returning(sa.literal(1))
    return tx.execute(inserted).first() is not None

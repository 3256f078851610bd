"""Insert unless it is there: the one statement that the two databases spell through different modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.dialects import postgresql, sqlite

    from storage.database import Transaction


def insert_into(table: sa.Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    """Return the insert that can tell what is to be done where a row is there already."""
    # The other database's module is 2 MB that a process does not need.
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415

    return sqlite.insert(table)


def copy_new(tx: Transaction, table: sa.Table, columns: Sequence[str], rows: sa.Select[Any]) -> None:
    """Insert the rows that a query finds, but those that a unique constraint already holds."""
    tx.execute(insert_into(table, tx.dialect.name).from_select(columns, rows).on_conflict_do_nothing())


def insert_new(tx: Transaction, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert `row` unless a unique constraint already holds one like it; tell whether it was inserted."""
    # RETURNING, not the row count: psycopg does not count rows of an insert that could return a key.
    inserted = insert_into(table, tx.dialect.name).values(**row).on_conflict_do_nothing().returning(sa.literal(1))
    return tx.execute(inserted).first() is not None

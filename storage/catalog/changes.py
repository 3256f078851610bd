"""The change feed: appended facts in one order, any number of readers, each with its own cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.records import Change
from storage.statements import Statement, bound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from storage.database import Transaction

_INSERT = Statement(sa.insert(schema.changes).values(bound(schema.changes, but=("seq",))))
_TAKE_TURNS = Statement(sa.select(sa.func.pg_advisory_xact_lock(sa.bindparam("key")).label("lock")))
_ORDER_LOCK = 0x0052_4F49  # any fixed number: "ROI"

KINDS = (
    "instance-stored",
    "instance-resent",
    "instance-quarantined",
    "instance-replaced",
    "quarantine-rejected",
    "identity-reconciled",
    "instance-hidden",
    "instance-restored",
    "instance-removed",
    "study-removed",
    "object-damaged",
    "object-restored",
    "study-complete",
    "study-reopened",
    "study-triaged",
    "result-superseded",
    "result-retracted",
    "provisional-flagged",
    "provisional-confirmed",
    "provisional-retracted",
    "result-reported",
    "job-failed",
    "priority-changed",
    "study-opened",
    "study-closed",
    "study-reported",
    "study-returned",
    "targets-changed",
    "flag-rate-high",
    "flag-rate-normal",
    "feedback-given",
)


def append(
    tx: Transaction,
    kind: str,
    *,
    at: datetime,
    study: str | None = None,
    series: str | None = None,
    instance: str | None = None,
    revision: int | None = None,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Append one fact; `detail` carries no patient data."""
    append_all(tx, [fact(kind, at=at, study=study, series=series, instance=instance, revision=revision, detail=detail)])


def fact(
    kind: str,
    *,
    at: datetime,
    study: str | None = None,
    series: str | None = None,
    instance: str | None = None,
    revision: int | None = None,
    detail: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return the row of one fact, for `append_all`."""
    return {
        "kind": kind,
        "study_instance_uid": study,
        "series_instance_uid": series,
        "sop_instance_uid": instance,
        "revision": revision,
        "detail": dict(detail or {}),
        "at": at,
    }


def append_all(tx: Transaction, facts: Sequence[dict[str, Any]]) -> None:
    """Append facts in this order.

    On PostgreSQL appenders take turns until they commit: a sequence alone would let a later number become visible
    before an earlier one, and a reader's cursor would skip it for ever.
    """
    if not facts:
        return
    if tx.dialect.name == "postgresql":
        _TAKE_TURNS.rows(tx, {"key": _ORDER_LOCK})
    _INSERT.run(tx, facts)


def since(tx: Transaction, cursor: int, *, limit: int = 1000) -> list[Change]:
    """Return up to `limit` changes after `cursor`, oldest first."""
    table = schema.changes
    rows = tx.execute(sa.select(table).where(table.c.seq > cursor).order_by(table.c.seq).limit(limit))
    return [Change(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for a row's columns


def next_of(tx: Transaction, kind: str, *, after: int) -> Change | None:
    """Return the oldest change of a kind after `after`."""
    table = schema.changes
    query = sa.select(table).where(table.c.kind == kind, table.c.seq > after).order_by(table.c.seq)
    return _as_change(tx.execute(query.limit(1)).one_or_none())


def previous_of(tx: Transaction, kind: str, *, until: int) -> Change | None:
    """Return the newest change of a kind that is not after `until`."""
    table = schema.changes
    query = sa.select(table).where(table.c.kind == kind, table.c.seq <= until).order_by(table.c.seq.desc())
    return _as_change(tx.execute(query.limit(1)).one_or_none())


def last_seq(tx: Transaction) -> int:
    """Return the cursor of a reader that has seen everything so far."""
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(schema.changes.c.seq), 0))).scalar_one())


def _as_change(row: sa.Row[Any] | None) -> Change | None:
    return None if row is None else Change(**row._mapping)  # noqa: SLF001 - as above


def counts(tx: Transaction, *, after: int, until: int) -> dict[str, int]:
    """Return how many changes of each kind came after a cursor, up to another one."""
    table = schema.changes
    query = sa.select(table.c.kind, sa.func.count().label("changes")).where(table.c.seq > after, table.c.seq <= until)
    return {row.kind: row.changes for row in tx.execute(query.group_by(table.c.kind))}

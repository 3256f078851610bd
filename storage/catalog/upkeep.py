"""Long work on the whole archive, one run of a kind at a time: who does it, how far it is, what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.records import CLOCK_SKEW

if TYPE_CHECKING:
    from storage.database import Transaction

_upkeep = schema.upkeep
LEASE = timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run, under way or ended."""

    id: int
    kind: str
    started_at: datetime
    ended_at: datetime | None
    lease_owner: str | None
    lease_until: datetime | None
    position: str
    """Where a run that takes over goes on."""
    figures: Mapping[str, Any] = field(default_factory=dict)


def claim(tx: Transaction, kind: str, *, owner: str, now: datetime, is_dead: Callable[[str], bool]) -> Run | None:
    """Begin a run, or go on with one whose owner has died; None where somebody else is at it.

    `is_dead` tells of an owner whether it is known to live no longer, whatever its lease says.
    """
    if tx.dialect.name == "postgresql":
        tx.execute(sa.text("LOCK TABLE upkeep IN SHARE ROW EXCLUSIVE MODE"))
    run = last(tx, kind)
    if run is not None and run.ended_at is None:
        # A lease that ends later than any can was given before the clock was set back.
        until = run.lease_until
        held = run.lease_owner is not None and until is not None and now < until <= now + LEASE + CLOCK_SKEW
        if held and not is_dead(run.lease_owner or ""):
            return None
        tx.execute(sa.update(_upkeep).where(_upkeep.c.id == run.id).values(lease_owner=owner, lease_until=now + LEASE))
        return last(tx, kind)
    first = {"kind": kind, "started_at": now, "lease_owner": owner, "lease_until": now + LEASE, "figures": {}}
    tx.execute(sa.insert(_upkeep).values(position="", **first))
    return last(tx, kind)


def beat(tx: Transaction, run: Run, *, owner: str, position: str, figures: Mapping[str, Any], now: datetime) -> bool:
    """Note how far a run is and keep its lease; False where it was lost."""
    kept = tx.execute(
        sa.update(_upkeep)
        .where(_upkeep.c.id == run.id, _upkeep.c.lease_owner == owner, _upkeep.c.ended_at.is_(None))
        .values(position=position, figures=dict(figures), lease_until=now + LEASE)
    )
    return bool(kept.rowcount)


def let_go(tx: Transaction, run: Run, *, owner: str) -> None:
    """Give a run up for somebody else to go on with."""
    mine = (_upkeep.c.id == run.id, _upkeep.c.lease_owner == owner, _upkeep.c.ended_at.is_(None))
    tx.execute(sa.update(_upkeep).where(*mine).values(lease_owner=None, lease_until=None))


def end(tx: Transaction, run: Run, *, figures: Mapping[str, Any], now: datetime) -> None:
    """Note what a run found, and that it is over."""
    tx.execute(
        sa.update(_upkeep)
        .where(_upkeep.c.id == run.id)
        .values(figures=dict(figures), ended_at=now, lease_owner=None, lease_until=None)
    )


def last(tx: Transaction, kind: str) -> Run | None:
    """Return the newest run of a kind."""
    query = sa.select(_upkeep).where(_upkeep.c.kind == kind).order_by(_upkeep.c.id.desc()).limit(1)
    return _as_run(tx.execute(query).one_or_none())


def last_ended(tx: Transaction, kind: str) -> Run | None:
    """Return the newest run of a kind that came to its end."""
    query = sa.select(_upkeep).where(_upkeep.c.kind == kind, _upkeep.c.ended_at.is_not(None))
    return _as_run(tx.execute(query.order_by(_upkeep.c.id.desc()).limit(1)).one_or_none())


def _as_run(row: sa.Row[Any] | None) -> Run | None:
    return None if row is None else Run(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row's columns

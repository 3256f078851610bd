"""Whether the share of flagged studies is too high for flags to tell anything: one row, changed by one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog.upsert import insert_new

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction

_guard = schema.flag_guard
_ROW = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """Since when the guard is on or off, and what was counted then."""

    is_on: bool
    since: datetime
    waiting: int
    flagged: int


def state(tx: Transaction) -> Guard | None:
    """Return the guard's state; None where it was never on."""
    row = tx.execute(sa.select(_guard).where(_guard.c.id == _ROW)).one_or_none()
    if row is None:
        return None
    return Guard(is_on=row.is_on, since=row.since, waiting=row.waiting, flagged=row.flagged)


def is_on(tx: Transaction) -> bool:
    """Tell whether AI moves nothing now."""
    found = state(tx)
    return found is not None and found.is_on


def switch(tx: Transaction, wanted: Guard) -> bool:
    """Turn the guard on or off; False where it is so already, or another transaction just did it."""
    told = {"is_on": wanted.is_on, "since": wanted.since, "waiting": wanted.waiting, "flagged": wanted.flagged}
    if wanted.is_on and insert_new(tx, _guard, {"id": _ROW, **told}):
        return True
    turned = tx.execute(sa.update(_guard).where(_guard.c.id == _ROW, _guard.c.is_on != wanted.is_on).values(**told))
    return turned.rowcount == 1

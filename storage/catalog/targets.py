"""Targets that a site set, by class, and the due times of all who wait, counted anew from them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog.reading import WAITS
from storage.catalog.studies import IN_SIGHT
from storage.catalog.upsert import insert_new
from storage.records import JobState, OrderPriority

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from storage.database import Transaction

_targets, _studies, _jobs = schema.targets, schema.studies, schema.jobs
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptTarget:
    """Minutes that a person set for a class."""

    minutes: int
    set_at: datetime
    set_by: str


def all_kept(tx: Transaction) -> dict[str, KeptTarget]:
    """Return what was set, by class."""
    return {
        row.urgency_class: KeptTarget(minutes=row.minutes, set_at=row.set_at, set_by=row.set_by)
        for row in tx.execute(sa.select(_targets))
    }


def enter(tx: Transaction, minutes: Mapping[str, int], *, by: str, now: datetime) -> None:
    """Keep what a person set."""
    for name, each in minutes.items():
        told = {"minutes": each, "set_at": now, "set_by": by}
        if not insert_new(tx, _targets, {"urgency_class": name, **told}):
            tx.execute(sa.update(_targets).where(_targets.c.urgency_class == name).values(**told))


def apply(tx: Transaction, *, order: Mapping[OrderPriority, timedelta], ai: Mapping[str, timedelta]) -> int:
    """Give every study that waits, and its waiting jobs, the due time of these targets; return how many moved."""
    ready = sa.type_coerce(_studies.c.ready_at, sa.BigInteger)
    without = ready + wait_of(order)
    due = ready + sa.case(
        *(
            (
                sa.and_(_studies.c.ai_urgency == urgency, RANK.in_((rank,))),
                in_microseconds(min(ai[urgency], order[asked])),
            )
            for urgency, (rank, asked) in product(ai, enumerate(_MOST_URGENT_FIRST))
        ),
        else_=wait_of(order),
    )
    moved = tx.execute(
        sa.update(_studies)
        .where(WAITS, IN_SIGHT, _studies.c.ready_at.is_not(None))
        .where(
            sa.or_(
                sa.type_coerce(_studies.c.due_at, sa.BigInteger) != due,
                sa.type_coerce(_studies.c.due_without_ai, sa.BigInteger) != without,
            )
        )
        .values(due_at=due, due_without_ai=without)
    ).rowcount
    of_study = sa.select(_studies.c.due_at).where(_studies.c.id == _jobs.c.study_pk).scalar_subquery()
    due_as_read = sa.func.coalesce(of_study, _jobs.c.due_at)
    tx.execute(sa.update(_jobs).where(_jobs.c.state == JobState.WAITING).values(due_at=due_as_read))
    return int(moved)


_MOST_URGENT_FIRST = (OrderPriority.STAT, OrderPriority.URGENT, OrderPriority.ROUTINE)


def _asked(wanted: OrderPriority) -> sa.ColumnElement[bool]:
    return sa.or_(_studies.c.order_priority == wanted, _studies.c.manual_priority == wanted)


RANK = sa.case(*((_asked(asked), rank) for rank, asked in enumerate(_MOST_URGENT_FIRST[:-1])), else_=2)
"""The more urgent of the order's priority and a person's: 0 is STAT."""


def wait_of(order: Mapping[OrderPriority, timedelta]) -> sa.ColumnElement[int]:
    """Return the target of a study without AI, in microseconds."""
    return sa.case(
        *((_asked(asked), in_microseconds(order[asked])) for asked in _MOST_URGENT_FIRST[:-1]),
        else_=in_microseconds(order[OrderPriority.ROUTINE]),
    )


def in_microseconds(wait: timedelta) -> int:
    """Return a wait in the unit of `schema.UtcTime`."""
    return round(wait.total_seconds() * _MICROSECONDS)

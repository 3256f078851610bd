"""How studies flow in and wait: when they became ready to be read, for whoever plans the reading."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog import studies
from storage.records import OrderPriority, Outcome

if TYPE_CHECKING:
    from storage.database import Transaction

_studies, _results = schema.studies, schema.results

MOST = 200_000
"""Studies looked at: the newest, where there are more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A study that became ready, and its modalities, joined by backslashes."""

    at: datetime
    modalities: str


def ready_since(tx: Transaction, since: datetime) -> list[Ready]:
    """Return the studies that became ready at `since` or later, oldest first, `MOST` of them at most."""
    query = (
        sa.select(_studies.c.ready_at, _studies.c.modalities)
        .where(_studies.c.ready_at >= since)
        .order_by(_studies.c.ready_at.desc())
        .limit(MOST)
    )
    return [Ready(at=row.ready_at, modalities=row.modalities) for row in reversed(tx.execute(query).all())]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One result of a study that was ready: when it was there, what it asks for, and whether it may move the list."""

    at: datetime
    outcome: Outcome
    urgency: str | None
    raises: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Waited:
    """A study that waited to be read: since when, until when at best, and when somebody began, where that is kept."""

    ready_at: datetime
    due_at: datetime | None
    due_without_ai: datetime | None
    order_priority: OrderPriority | None
    manual_priority: OrderPriority | None
    began_at: datetime | None
    judged: tuple[Judged, ...]
    """What models said of it, oldest first, as far as it holds."""


_ASKED = (
    *("id", "ready_at", "due_at", "due_without_ai", "order_priority", "manual_priority"),
    *("opened_at", "reported_at"),
)


def waited_between(tx: Transaction, since: datetime, until: datetime, *, limit: int = MOST) -> list[Waited]:
    """Return the studies that became ready at `since` or later and before `until`, oldest first."""
    between = (_studies.c.ready_at >= since, _studies.c.ready_at < until, studies.IN_SIGHT)
    query = (
        sa.select(*(_studies.c[name] for name in _ASKED))
        .where(*between)
        .order_by(_studies.c.ready_at, _studies.c.id)
        .limit(limit)
    )
    rows = tx.execute(query).all()
    of_these = (
        sa.select(_results.c.study_pk, _results.c.created_at, _results.c.outcome, _results.c.urgency, _results.c.raises)
        .join_from(_results, _studies, _studies.c.id == _results.c.study_pk)
        .where(*between, _results.c.superseded_by.is_(None))
        .order_by(_results.c.created_at)
    )
    judged: defaultdict[int, list[Judged]] = defaultdict(list)
    for row in tx.execute(of_these):
        said = Judged(at=row.created_at, outcome=Outcome(row.outcome), urgency=row.urgency, raises=row.raises)
        judged[row.study_pk].append(said)
    return [
        Waited(
            ready_at=row.ready_at,
            due_at=row.due_at,
            due_without_ai=row.due_without_ai,
            order_priority=OrderPriority(row.order_priority) if row.order_priority else None,
            manual_priority=OrderPriority(row.manual_priority) if row.manual_priority else None,
            # opened once more after it was read, it was begun before
            began_at=min((at for at in (row.opened_at, row.reported_at) if at is not None), default=None),
            judged=tuple(judged[row.id]),
        )
        for row in rows
    ]

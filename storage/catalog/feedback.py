"""What readers say of findings: every word is kept, and the latest of each reader counts."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.records import Feedback, ReaderVerdict, ResultId

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from storage.database import Transaction

_feedback = schema.feedback


def add(
    tx: Transaction, result: ResultId, finding: str, verdict: ReaderVerdict | None, *, actor: str, now: datetime
) -> None:
    """Keep what a reader says of a finding; None where an earlier word is taken back."""
    told = {"result_id": result, "finding_code": finding, "verdict": verdict, "actor": actor, "at": now}
    tx.execute(sa.insert(_feedback).values(**told))


def history(tx: Transaction, result: ResultId) -> list[Feedback]:
    """Return everything that was said of a result, in order."""
    query = sa.select(_feedback).where(_feedback.c.result_id == result).order_by(_feedback.c.id)
    return [_as_feedback(row) for row in tx.execute(query)]


def current(tx: Transaction, results: Iterable[ResultId]) -> dict[ResultId, tuple[Feedback, ...]]:
    """Return the latest word of each reader on each finding of these results; what was taken back is none."""
    query = sa.select(_feedback).where(_feedback.c.result_id.in_(list(results))).order_by(_feedback.c.id)
    latest: dict[tuple[str, str, str], sa.Row[Any]] = {}
    for row in tx.execute(query):
        latest[row.result_id, row.finding_code, row.actor] = row
    found: dict[ResultId, list[Feedback]] = defaultdict(list)
    for row in sorted(latest.values(), key=lambda row: row.id):
        if row.verdict is not None:
            found[ResultId(row.result_id)].append(_as_feedback(row))
    return {result: tuple(said) for result, said in found.items()}


def since(tx: Transaction, since: datetime, *, limit: int = 100_000) -> list[Feedback]:
    """Return what was said at `since` or later, in order, for whoever counts agreement."""
    query = sa.select(_feedback).where(_feedback.c.at >= since).order_by(_feedback.c.id).limit(limit)
    return [_as_feedback(row) for row in tx.execute(query)]


def _as_feedback(row: sa.Row[Any]) -> Feedback:
    return Feedback(
        result_id=ResultId(row.result_id),
        finding=row.finding_code,
        verdict=ReaderVerdict(row.verdict) if row.verdict else None,
        by=row.actor,
        at=row.at,
    )

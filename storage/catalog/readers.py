"""What readers did with a study, as far as this catalogue keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import ResultId, StudyUid

_studies = schema.studies


def kept(name: str) -> sa.ColumnElement[Any]:
    """Return a column of `studies`, or nothing where this schema has none of that name."""
    column = _studies.c.get(name)
    return sa.cast(sa.null(), schema.UtcTime) if column is None else column


OPENED, REPORTED, DUE_WITHOUT_AI = (kept(name) for name in ("opened_at", "reported_at", "due_without_ai"))
"""When a study was opened last, when it was read, and when it would be due had no model raised it."""


def opened_at(tx: Transaction, uid: StudyUid) -> datetime | None:
    """Return when a study was opened."""
    query = sa.select(OPENED).where(_studies.c.study_instance_uid == uid)
    found: datetime | None = tx.execute(query).scalar_one_or_none()
    return found


def acknowledged_at(tx: Transaction, asked: Collection[ResultId]) -> dict[ResultId, datetime]:
    """Return when a reader first said what one of these results is worth."""
    feedback = schema.metadata.tables.get("feedback")
    if feedback is None:
        return {}
    query = (
        sa.select(feedback.c.result_id, sa.func.min(feedback.c.at, type_=schema.UtcTime).label("at"))
        .where(feedback.c.result_id.in_(list(asked)))
        .group_by(feedback.c.result_id)
    )
    return {row.result_id: row.at for row in tx.execute(query)}

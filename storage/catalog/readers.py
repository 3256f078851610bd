"""What readers did with a study, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import ResultId, StudyUid

_studies, _feedback = schema.studies, schema.feedback


def opened_at(tx: Transaction, uid: StudyUid) -> datetime | None:
    """Return when a study was opened."""
    query = sa.select(_studies.c.opened_at).where(_studies.c.study_instance_uid == uid)
    found: datetime | None = tx.execute(query).scalar_one_or_none()
    return found


def acknowledged_at(tx: Transaction, asked: Collection[ResultId]) -> dict[ResultId, datetime]:
    """Return when a reader first said what one of these results is worth."""
    query = (
        sa.select(_feedback.c.result_id, sa.func.min(_feedback.c.at, type_=schema.UtcTime).label("at"))
        .where(_feedback.c.result_id.in_(list(asked)))
        .group_by(_feedback.c.result_id)
    )
    return {row.result_id: row.at for row in tx.execute(query)}

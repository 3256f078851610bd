"""Where a study stands with its readers: who has it open, and which revision of it was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.records import CLOCK_SKEW, StudyState, StudyUid

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from storage.database import Transaction

_studies = schema.studies

WAITS = sa.or_(
    _studies.c.reported_revision.is_(None),
    _studies.c.reported_revision < _studies.c.revision,
    sa.and_(_studies.c.state == StudyState.RECEIVING, _studies.c.received_last > _studies.c.reported_at),
)
"""`StudyRecord.waits`, asked of rows."""


def hold(tx: Transaction, uid: StudyUid, *, by: str, until: datetime, now: datetime) -> bool:
    """Enter that a reader has a study open; False where another one has."""
    free = sa.or_(
        _studies.c.open_until.is_(None),
        _studies.c.open_until <= now,
        _studies.c.opened_by == by,
    )
    renewed = sa.and_(_studies.c.open_until > now, _studies.c.opened_by == by)
    held = tx.execute(
        sa.update(_studies)
        .where(_studies.c.study_instance_uid == uid, free)
        .values(
            opened_at=sa.case((renewed, _studies.c.opened_at), else_=sa.literal(now, schema.UtcTime)),
            opened_by=by,
            open_until=until,
        )
    )
    return held.rowcount == 1


def let_go(tx: Transaction, uid: StudyUid) -> bool:
    """Enter that nobody has a study open; False where nobody had."""
    held = (_studies.c.study_instance_uid == uid, _studies.c.open_until.is_not(None))
    return tx.execute(sa.update(_studies).where(*held).values(open_until=None)).rowcount == 1


def lapsed(tx: Transaction, *, lease: timedelta, now: datetime) -> list[StudyUid]:
    """Return the studies whose lease is over, or ends later than any can: the clock was set back since."""
    over = sa.or_(_studies.c.open_until <= now, _studies.c.open_until > now + lease + CLOCK_SKEW)
    return [StudyUid(uid) for uid in tx.execute(sa.select(_studies.c.study_instance_uid).where(over)).scalars()]


def enter_report(tx: Transaction, uid: StudyUid, *, revision: int | None, by: str | None, at: datetime | None) -> None:
    """Enter that a revision of a study was read, by whom; None takes that back."""
    told = {"reported_revision": revision, "reported_by": by, "reported_at": at}
    tx.execute(sa.update(_studies).where(_studies.c.study_instance_uid == uid).values(**told))


def waiting_since(tx: Transaction, since: datetime) -> tuple[int, int]:
    """Return how many studies wait that became ready at `since` or later, and how many of them AI calls critical."""
    flagged = sa.func.coalesce(sa.func.sum(sa.case((_studies.c.ai_urgency == "critical", 1), else_=0)), 0)
    query = sa.select(sa.func.count(), flagged).where(
        _studies.c.ready_at >= since, WAITS, _studies.c.instance_count > 0
    )
    waiting, critical = tx.execute(query).one()
    return int(waiting), int(critical)

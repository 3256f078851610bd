"""How studies flow in: when they became ready to be read, for whoever plans the reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction

_studies = schema.studies

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

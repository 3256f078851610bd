"""When a result was first on a list that somebody asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog.upsert import copy_new

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import ResultId

_showings, _results = schema.showings, schema.results


def note(tx: Transaction, shown: Collection[ResultId], *, now: datetime) -> None:
    """Note that these results are shown now; those shown before keep their time, those that are gone are left out."""
    found = sa.select(_results.c.id, sa.literal(now, schema.UtcTime)).where(_results.c.id.in_(list(shown)))
    copy_new(tx, _showings, ["result_id", "shown_at"], found)


def times_of(tx: Transaction, asked: Collection[ResultId]) -> dict[ResultId, datetime]:
    """Return when each of these results was shown first; those that never were are left out."""
    query = sa.select(_showings).where(_showings.c.result_id.in_(list(asked)))
    return {row.result_id: row.shown_at for row in tx.execute(query)}

"""What the archive knows of its own health: the last scrub, and the objects that are damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from api.answers import as_json
from api.context import Context
from storage.catalog import damages, quarantine, upkeep

if TYPE_CHECKING:
    from storage.catalog.upkeep import Run

router = APIRouter(prefix="/api", tags=["integrity"])


@router.api_route("/integrity", methods=["GET", "HEAD"])
def integrity(context: Context) -> Response:
    """Return the scrub under way, the last that ended, up to a thousand damaged objects, and the copies that wait."""
    with context.archive.database.read() as tx:
        newest, ended = upkeep.last(tx, "scrub"), upkeep.last_ended(tx, "scrub")
        damaged = damages.known(tx)
        waiting = quarantine.count_waiting(tx)
    under_way = newest if newest is not None and newest.ended_at is None else None
    return as_json({"under_way": _told(under_way), "last": _told(ended), "damaged": damaged, "quarantined": waiting})


def _told(run: Run | None) -> dict[str, object] | None:
    if run is None:
        return None
    return {"started_at": run.started_at, "ended_at": run.ended_at, **run.figures}

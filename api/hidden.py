"""What is hidden: listed, and brought into sight again on a named person's word (W-70)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.answers import as_json
from api.context import Context
from api.quarantine import Decided
from api.uids import StudyPath
from pacs_gateway.reread import read_object
from storage import hiding
from storage.catalog import hidden
from storage.catalog.deletions import Target
from storage.records import InstanceUid, SeriesUid, StudyUid

router = APIRouter(prefix="/api/hidden", tags=["hidden"])

_MOST_ID = 2**63 - 1
_Uid = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)]


class Back(Decided):
    """What of a study comes into sight again: a series, an instance, or all that is hidden of it."""

    series: _Uid | None = None
    instance: _Uid | None = None


@router.api_route("", methods=["GET", "HEAD"])
def list_hidden(
    context: Context,
    study: Annotated[_Uid | None, Query()] = None,
    after: Annotated[int, Query(ge=0, le=_MOST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Return what is out of sight, in the order in which it went; `after` is the last id that was seen."""
    of = None if study is None else StudyUid(study)
    with context.archive.database.read() as tx:
        total = hidden.count(tx)
        found = hidden.listed(tx, study=of, after=after, limit=limit)
    return as_json({"total": total, "hidden": found})


@router.post("/{study}/restore")
def restore(context: Context, study: StudyPath, told: Back) -> Response:
    """Bring what is hidden of a study into sight again; it is judged anew."""
    target = Target(
        study=study,
        series=None if told.series is None else SeriesUid(told.series),
        instance=None if told.instance is None else InstanceUid(told.instance),
    )
    archive, clock = context.archive, context.clock
    return as_json(hiding.restore(archive, target, read_object, actor=told.by, reason=told.reason, clock=clock))

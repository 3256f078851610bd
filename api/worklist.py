"""The reading worklist and the change feed beside it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from api.answers import as_json, tag_of, unchanged
from api.context import ApiContext, Context
from api.entries import as_entry, as_flag_rate
from api.uids import StudyPath
from inference import targets
from storage.catalog import changes, guard, worklist
from storage.records import Waiting

router = APIRouter(prefix="/api", tags=["worklist"])

Limit = Annotated[int, Query(ge=1, le=500)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]
Order = Annotated[Literal["reading", "name"], Query()]
Of = Annotated[Waiting, Query(alias="list")]


@router.api_route("/worklist", methods=["GET", "HEAD"], responses={304: {"description": "Not Modified"}})
def list_entries(  # noqa: PLR0917 - each is a parameter of the query
    context: Context,
    request: Request,
    limit: Limit = 100,
    offset: Offset = 0,
    order: Order = "reading",
    of: Of = Waiting.WAITING,
) -> Response:
    """Return studies that wait in the order to read them, each with why it stands where it stands.

    Or those that were read, the newest first, or all; or by patient name.
    """
    page = page_of(context, limit=limit, offset=offset, by_name=order == "name", of=of)
    tag = page_tag(page)
    body = {"as_of": context.clock(), **page}
    if same := unchanged(request, tag):
        return same
    answer = as_json(body, headers={"ETag": tag})
    context.showing.after(answer, request, context, page["entries"])
    return answer


@router.api_route("/worklist/{study}", methods=["GET", "HEAD"])
def one_entry(context: Context, study: StudyPath) -> Response:
    """Return one study's entry; its place in the list is not told."""
    with context.archive.database.read() as tx:
        cursor = changes.last_seq(tx)
        entry = worklist.entry(tx, study)
    return as_json({"as_of": context.clock(), "cursor": cursor, **as_entry(entry, context)})


@router.api_route("/changes", methods=["GET", "HEAD"])
def changes_since(
    context: Context, since: Annotated[int, Query(ge=0)], limit: Annotated[int, Query(ge=1, le=1000)] = 1000
) -> Response:
    """Return what happened after a cursor, oldest first, and the next cursor."""
    with context.archive.database.read() as tx:
        found = changes.since(tx, since, limit=limit)
    return as_json({"changes": found, "cursor": found[-1].seq if found else since})


def page_of(
    context: ApiContext, *, limit: int, offset: int, by_name: bool = False, of: Waiting = Waiting.WAITING
) -> dict[str, Any]:
    """Return a page of the worklist with the cursor from which to follow it.

    Only what waits, in the order to read it, has places.
    """
    with context.archive.database.read() as tx:
        cursor = changes.last_seq(tx)  # read first: a change seen twice is harmless, one missed is not
        entries = worklist.page(
            tx, targets=targets.current(tx).order, limit=limit, offset=offset, by_name=by_name, of=of
        )
        counts = worklist.counts(tx)
        guarded = guard.state(tx)
    has_places = of is Waiting.WAITING and not by_name
    places = [place if has_places else None for place in range(offset + 1, offset + 1 + len(entries))]
    rows = [as_entry(entry, context, place=place) for entry, place in zip(entries, places, strict=True)]
    return {
        "cursor": cursor,
        "total": counts[of],
        "waiting": counts[Waiting.WAITING],
        "reported": counts[Waiting.REPORTED],
        "flag_rate": as_flag_rate(guarded),
        "limit": limit,
        "offset": offset,
        "entries": rows,
    }


def page_tag(page: dict[str, Any]) -> str:
    """Return the ETag of a page: of what it says, since a run that starts is no change of the feed."""
    return tag_of(page)

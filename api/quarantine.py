"""Copies put aside because their SOP Instance UID was kept already, and a person's decision on each (D-24)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, StringConstraints

from api.answers import as_json
from api.context import Context
from api.document import refused
from pacs_gateway.reread import read_object
from storage import decisions
from storage.catalog import quarantine

router = APIRouter(prefix="/api/quarantine", tags=["quarantine"])

_MOST_ID = 2**63 - 1

RowId = Annotated[int, Path(ge=1, le=_MOST_ID)]
_Line = StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")
_Words = StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")


class Decided(BaseModel):
    """Who decides, and why; no patient data."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, _Line]
    reason: Annotated[str, _Words]


@router.api_route("", methods=["GET", "HEAD"])
def list_copies(
    context: Context,
    every: Annotated[bool, Query(alias="all")] = False,
    after: Annotated[int, Query(ge=0, le=_MOST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Return copies, oldest first: those that wait for a decision, or all; `after` is the last id that was seen."""
    with context.archive.database.read() as tx:
        waiting = quarantine.count_waiting(tx)
        found = quarantine.listed(tx, waiting=not every, after=after, limit=limit)
    return as_json({"waiting": waiting, "copies": found})


@router.api_route("/{row_id}", methods=["GET", "HEAD"])
def one_copy(context: Context, row_id: RowId) -> Response:
    """Return one copy."""
    with context.archive.database.read() as tx:
        return as_json(quarantine.one(tx, row_id))


@router.post("/{row_id}/release", responses=refused(409))
def release(context: Context, row_id: RowId, told: Decided) -> Response:
    """Keep the copy in place of the kept instance, which is put aside instead."""
    archive, clock = context.archive, context.clock
    return as_json(decisions.release(archive, row_id, read_object, actor=told.by, reason=told.reason, clock=clock))


@router.post("/{row_id}/reject", responses=refused(409))
def reject(context: Context, row_id: RowId, told: Decided) -> Response:
    """Remove the copy for good; the kept instance stays."""
    return as_json(decisions.reject(context.archive, row_id, actor=told.by, reason=told.reason, clock=context.clock))

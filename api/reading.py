"""What readers do with a study: open it, close it, and say that it is read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from api.actor import Actor
from api.answers import as_json
from api.context import ApiContext, Context
from api.document import refused
from api.entries import as_entry
from api.uids import StudyPath
from inference import reading
from storage.catalog import worklist
from storage.records import StudyUid

router = APIRouter(prefix="/api/studies", tags=["reading"])


class Report(Actor):
    """Who read a study, and which revision; None for the newest."""

    revision: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


@router.put("/{study}/opened", responses=refused(409))
def open_study(context: Context, study: StudyPath, told: Actor) -> Response:
    """Note that a reader has the study open, or still has; return its entry with how long that holds."""
    with context.archive.database.write() as tx:
        reading.open_study(tx, study, by=told.by, now=context.clock())
    return as_json({**_entry(context, study), "lease_s": reading.LEASE.total_seconds()})


@router.delete("/{study}/opened")
def close_study(context: Context, study: StudyPath, told: Actor) -> Response:
    """Note that nobody has the study open any longer; return its entry."""
    with context.archive.database.write() as tx:
        reading.close_study(tx, study, by=told.by, now=context.clock())
    return as_json(_entry(context, study))


@router.put("/{study}/reported", responses=refused(409))
def report_study(context: Context, study: StudyPath, told: Report) -> Response:
    """Note that the study was read: it leaves the list until other images come; return its entry."""
    with context.archive.database.write() as tx:
        reading.report(tx, study, by=told.by, now=context.clock(), revision=told.revision)
    return as_json(_entry(context, study))


@router.delete("/{study}/reported")
def take_back(context: Context, study: StudyPath, told: Actor) -> Response:
    """Note that the study was not read after all; return its entry."""
    with context.archive.database.write() as tx:
        reading.take_back(tx, study, by=told.by, now=context.clock())
    return as_json(_entry(context, study))


def _entry(context: ApiContext, study: StudyUid) -> dict[str, object]:
    with context.archive.database.read() as tx:
        return as_entry(worklist.entry(tx, study), context)

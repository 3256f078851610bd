"""Hiding of studies, series and instances by DELETE: an extension, PS3.18 has none (W-70)."""

from __future__ import annotations

import io
from typing import Annotated, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, StringConstraints

from api.context import ApiContext, Context
from api.crossorigin import ROOT
from api.dicomweb.described import Responses, answers
from api.dicomweb.kept import instances_of
from api.uids import InstancePath, SeriesPath, StudyPath
from pacs_gateway.rejection_note import read_note, write_note
from pacs_gateway.reread import read_object
from storage import hiding, rejection
from storage.catalog import rejections, studies
from storage.catalog.deletions import Target
from storage.hiding import Word
from storage.records import Origin, Rejection

router = APIRouter(prefix=ROOT, tags=["dicomweb"], default_response_class=Response)

_GONE: Final[Responses] = {
    status: told for status, told in answers(problems=(403, 404, 410), also={204: "Hidden"}).items() if status != 200
}
_Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\x00-\x1f]*$")]


class Removal(BaseModel):
    """Who hides something, and why: both stay in the audit trail, in the tombstone, and in the note if one is made."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[_Line, StringConstraints(max_length=64)]
    reason: Annotated[_Line, StringConstraints(max_length=256)]
    code: Rejection | None = None
    """With a rejection note's title code, one is made and kept, for other archives to be told."""


@router.delete("/studies/{study}", status_code=204, responses=_GONE)
def hide_study(context: Context, study: StudyPath, removal: Removal) -> Response:
    """Hide a study."""
    return _hide(context, Target(study=study), removal)


@router.delete("/studies/{study}/series/{series}", status_code=204, responses=_GONE)
def hide_series(context: Context, study: StudyPath, series: SeriesPath, removal: Removal) -> Response:
    """Hide a series."""
    return _hide(context, Target(study=study, series=series), removal)


@router.delete("/studies/{study}/series/{series}/instances/{instance}", status_code=204, responses=_GONE)
def hide_instance(
    context: Context, study: StudyPath, series: SeriesPath, instance: InstancePath, removal: Removal
) -> Response:
    """Hide an instance."""
    return _hide(context, Target(study=study, series=series, instance=instance), removal)


def _hide(context: ApiContext, target: Target, removal: Removal) -> Response:
    kept = instances_of(context, target.study, target.series, target.instance)
    if removal.code is None:
        word = Word(actor=removal.by, reason=removal.reason)
        hiding.hide(context.archive, target, word, read_object, clock=context.clock)
        return Response(status_code=204)
    with context.archive.database.read() as tx:
        study = studies.get(tx, target.study)
    now = context.clock()
    note = write_note(study, kept, removal.code, actor=removal.by, reason=removal.reason, now=now)
    # Once it is kept it has its effect, here or, if this process dies, by the next worker that looks.
    _, header = context.ingest.part10(io.BytesIO(note), Origin(via="self", user=removal.by))
    with context.archive.database.read() as tx:
        waiting = rejections.of_instance(tx, header.sop_instance_uid)
    if waiting is not None:
        rejection.apply(context.archive, waiting, read_note, read_object, clock=context.clock)
    return Response(status_code=204)

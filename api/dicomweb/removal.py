"""Removal of studies, series and instances: an extension, PS3.18 has none (W-70)."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, StringConstraints

from api.context import ApiContext, Context
from api.dicomweb.described import Responses, answers
from api.uids import InstancePath, SeriesPath, StudyPath
from storage.catalog.deletions import Target
from storage.removal import remove

router = APIRouter(tags=["dicomweb"], default_response_class=Response)

_GONE: Final[Responses] = {
    status: told for status, told in answers(problems=(403, 404), also={204: "Removed"}).items() if status != 200
}
_Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\x00-\x1f]*$")]


class Removal(BaseModel):
    """Who removes something, and why: both stay in the audit trail and in the tombstone."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[_Line, StringConstraints(max_length=64)]
    reason: Annotated[_Line, StringConstraints(max_length=256)]


@router.delete("/studies/{study}", status_code=204, responses=_GONE)
def remove_study(context: Context, study: StudyPath, removal: Removal) -> Response:
    """Remove a study for good."""
    return _remove(context, Target(study=study), removal)


@router.delete("/studies/{study}/series/{series}", status_code=204, responses=_GONE)
def remove_series(context: Context, study: StudyPath, series: SeriesPath, removal: Removal) -> Response:
    """Remove a series for good."""
    return _remove(context, Target(study=study, series=series), removal)


@router.delete("/studies/{study}/series/{series}/instances/{instance}", status_code=204, responses=_GONE)
def remove_instance(
    context: Context, study: StudyPath, series: SeriesPath, instance: InstancePath, removal: Removal
) -> Response:
    """Remove an instance for good."""
    return _remove(context, Target(study=study, series=series, instance=instance), removal)


def _remove(context: ApiContext, target: Target, removal: Removal) -> Response:
    remove(context.archive, target, reason=removal.reason, actor=removal.by, clock=context.clock)
    return Response(status_code=204)

"""WADO-RS metadata: every attribute of the instances, bulk data as addresses (PS3.18 10.4.1.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request, Response

from api.answers import unchanged
from api.context import ApiContext, Context
from api.crossorigin import ROOT
from api.dicomweb import compression, media, ready
from api.dicomweb.described import answers
from api.dicomweb.forms import FORMS, XML_PARTS, give, give_text
from api.dicomweb.kept import instances_of, model_of, names_of
from api.dicomweb.streams import strong_tag
from api.uids import InstancePath, SeriesPath, StudyPath

if TYPE_CHECKING:
    from storage.records import InstanceRecord, InstanceUid, SeriesUid, StudyUid

router = APIRouter(prefix=ROOT, tags=["dicomweb"], default_response_class=Response)

_METHODS: Final = ["GET", "HEAD"]
_ANSWERS: Final = answers(*FORMS, problems=(404, 406), also={304: "Not Modified"})


@router.api_route("/studies/{study}/metadata", methods=_METHODS, responses=_ANSWERS)
def study_metadata(context: Context, request: Request, study: StudyPath) -> Response:
    """Retrieve the metadata of a study's instances."""
    return _metadata(context, request, study)


@router.api_route("/studies/{study}/series/{series}/metadata", methods=_METHODS, responses=_ANSWERS)
def series_metadata(context: Context, request: Request, study: StudyPath, series: SeriesPath) -> Response:
    """Retrieve the metadata of a series' instances."""
    return _metadata(context, request, study, series)


@router.api_route(
    "/studies/{study}/series/{series}/instances/{instance}/metadata", methods=_METHODS, responses=_ANSWERS
)
def instance_metadata(
    context: Context, request: Request, study: StudyPath, series: SeriesPath, instance: InstancePath
) -> Response:
    """Retrieve the metadata of one instance, in an array of one."""
    return _metadata(context, request, study, series, instance)


def _metadata(
    context: ApiContext,
    request: Request,
    study: StudyUid,
    series: SeriesUid | None = None,
    instance: InstanceUid | None = None,
) -> Response:
    offer = media.choose(request, FORMS).offer
    if offer == XML_PARTS:
        return _made(context, request, offer, instances_of(context, study, series, instance))
    found = names_of(context, study, series, instance)
    parts = ready.plan(context, found, study, series)
    is_squeezed = compression.wanted(request)
    tag = strong_tag(context, offer, found, *(["gzip", *(part.name for part in parts)] if is_squeezed else [""]))
    return unchanged(request, tag) or give_text(request, offer, ready.as_array(context, parts), tag)


def _made(context: ApiContext, request: Request, offer: str, found: list[InstanceRecord]) -> Response:
    """Answer with documents that are made now."""
    tag = strong_tag(context, offer, found, "gzip" if compression.wanted(request) else "")
    models = (model_of(context.archive, one, context.dicomweb_url) for one in found)
    return unchanged(request, tag) or give(request, offer, models, tag)

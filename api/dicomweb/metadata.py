"""WADO-RS metadata: every attribute of the instances, bulk data as addresses (PS3.18 10.4.1.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request, Response

from api.answers import unchanged
from api.context import ApiContext, Context
from api.dicomweb import compression, media
from api.dicomweb.described import answers
from api.dicomweb.explicit import is_for_web
from api.dicomweb.forms import FORMS, give
from api.dicomweb.kept import bulk_url, instances_of, leaves_as, signed
from api.dicomweb.model import DataSet, as_model, element
from api.dicomweb.source import stored
from api.dicomweb.streams import strong_tag
from api.uids import InstancePath, SeriesPath, StudyPath
from pacs_gateway.elements import encoding_of

if TYPE_CHECKING:
    from storage.records import InstanceRecord

router = APIRouter(tags=["dicomweb"], default_response_class=Response)

_METHODS: Final = ["GET", "HEAD"]
_ANSWERS: Final = answers(*FORMS, problems=(404, 406), also={304: "Not Modified"})


@router.api_route("/studies/{study}/metadata", methods=_METHODS, responses=_ANSWERS)
def study_metadata(context: Context, request: Request, study: StudyPath) -> Response:
    """Retrieve the metadata of a study's instances."""
    return _metadata(context, request, instances_of(context, study))


@router.api_route("/studies/{study}/series/{series}/metadata", methods=_METHODS, responses=_ANSWERS)
def series_metadata(context: Context, request: Request, study: StudyPath, series: SeriesPath) -> Response:
    """Retrieve the metadata of a series' instances."""
    return _metadata(context, request, instances_of(context, study, series))


@router.api_route(
    "/studies/{study}/series/{series}/instances/{instance}/metadata", methods=_METHODS, responses=_ANSWERS
)
def instance_metadata(
    context: Context, request: Request, study: StudyPath, series: SeriesPath, instance: InstancePath
) -> Response:
    """Retrieve the metadata of one instance, in an array of one."""
    return _metadata(context, request, instances_of(context, study, series, instance))


def _metadata(context: ApiContext, request: Request, found: list[InstanceRecord]) -> Response:
    offer = media.choose(request, FORMS).offer
    tag = strong_tag(context, offer, found, "gzip" if compression.wanted(request) else "")
    models = (model_of(context, one) for one in found)
    return unchanged(request, tag) or give(request, offer, models, tag)


def model_of(context: ApiContext, instance: InstanceRecord) -> DataSet:
    """Return the metadata of an instance; `DataSetUnreadable` where it does not parse to its end."""
    encoding = encoding_of(instance.transfer_syntax_uid)
    is_signed = not is_for_web(instance.transfer_syntax_uid) and signed(context, instance)
    source = stored(context.archive, instance)
    model = as_model(source, encoding, bulk_url=bulk_url(context, instance), signed=is_signed)
    tag, available = element("AvailableTransferSyntaxUID", leaves_as(instance))
    return dict(sorted({**model, tag: available}.items()))

"""WADO-URI: one object named by query parameters, as a picture or as a DICOM file (PS3.18 9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.context import Context
from api.crossorigin import ROOT
from api.dicomweb import media, rendered, wado
from api.dicomweb.described import answers
from api.dicomweb.documents import DOCUMENT_TYPES, document, types_of
from api.dicomweb.kept import instances_of
from api.dicomweb.presented import PRESENTATIONS, named_by, state_of
from api.errors import NotAcceptable, ParameterRejected
from api.uids import QueryUid
from imaging import Picture
from storage.records import InstanceUid, SeriesUid, StudyUid

if TYPE_CHECKING:
    from api.context import ApiContext
    from api.dicomweb.places import Places
    from imaging import Presentation, Window
    from storage.records import InstanceRecord

router = APIRouter(prefix=ROOT, tags=["dicomweb"], default_response_class=Response)

_ANSWERS: Final = answers(
    *rendered.TYPES,
    media.DICOM,
    *DOCUMENT_TYPES,
    problems=(404, 406, 416),
    also={206: "Partial Content", 304: "Not Modified"},
)
_NUMBER: Final = rf"^{rendered.NUMBER}$"
_COUNT: Final = "^[0-9]{1,9}$"
_TOKEN: Final = r"[\w!#$%&'*+.^`|~-]+"  # noqa: S105 - of RFC 9110, no secret
_NOT_FOR_THE_WEB: Final = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.2"})
_OF_FILES: Final = ("transferSyntax",)
_OF_PICTURES: Final = (
    *("annotation", "rows", "columns", "region", "windowCenter", "windowWidth", "frameNumber", "imageQuality"),
    *("presentationUID", "presentationSeriesUID"),
)
"""Parameters that go with one kind of answer, and are 400 with the others (PS3.18 9.4.2, 9.5.2)."""


class Asked(BaseModel):
    """The query parameters (PS3.18 9.4.2, 9.5.2); any others are passed over."""

    model_config = ConfigDict(frozen=True)

    request_type: Literal["WADO"] = Field(alias="requestType")
    study: QueryUid = Field(alias="studyUID")
    series: QueryUid = Field(alias="seriesUID")
    instance: QueryUid = Field(alias="objectUID")
    content_type: str | None = Field(None, alias="contentType", min_length=1, max_length=media.MAX_ACCEPT)
    charset: str | None = Field(None, pattern=rf"^{_TOKEN}(;q={_TOKEN})?(, ?{_TOKEN}(;q={_TOKEN})?)*$", max_length=200)
    anonymize: str | None = None
    transfer_syntax: QueryUid | None = Field(None, alias="transferSyntax")
    annotation: str | None = Field(None, pattern="^(patient|technique)(,(patient|technique))*$", max_length=64)
    rows: str | None = Field(None, pattern=_COUNT)
    columns: str | None = Field(None, pattern=_COUNT)
    region: str | None = Field(None, max_length=200, description="left,top,right,bottom, each 0 to 1")
    window_center: str | None = Field(None, alias="windowCenter", pattern=_NUMBER, max_length=64)
    window_width: str | None = Field(None, alias="windowWidth", pattern=_NUMBER, max_length=64)
    frame_number: str | None = Field(None, alias="frameNumber", pattern=_COUNT)
    image_quality: str | None = Field(None, alias="imageQuality", pattern=_COUNT)
    presentation: QueryUid | None = Field(None, alias="presentationUID")
    presentation_series: QueryUid | None = Field(None, alias="presentationSeriesUID")


_NAMES: Final = frozenset(field.alias or name for name, field in Asked.model_fields.items())


@router.api_route("/wado", methods=["GET", "HEAD"], responses=_ANSWERS)
def retrieve(context: Context, request: Request, asked: Annotated[Asked, Query()]) -> Response:
    """Retrieve an object: an image as a picture of one frame, a report as a page, anything as a DICOM file."""
    named = [name for name, _ in request.query_params.multi_items()]
    _check(asked, named)
    one = instances_of(context, StudyUid(asked.study), SeriesUid(asked.series), InstanceUid(asked.instance))[0]
    given = _given(request, asked, (*(rendered.TYPES if one.rows else types_of(one)), media.DICOM))
    _check_fit(given.offer, named)
    if given.offer == media.DICOM:
        return wado.alone(context, request, given, one, rendered.warning(context, request))
    if given.offer not in rendered.TYPES:
        read = document(context, request, one, given.offer)
        read.headers.update(rendered.warning(context, request))
        return read
    places = rendered.image_of(context, one)
    number = _number(asked, places)
    picture = _picture(asked, places, given.offer)
    if asked.presentation is not None:
        picture = replace(picture, presentation=_state(context, asked, one))
    return rendered.show(context, request, (one, places, number), picture)


def _number(asked: Asked, places: Places) -> int:
    """Return the number of the frame to show; `ParameterRejected` where there is no such frame."""
    if asked.frame_number is None:
        return places.representative
    if int(asked.frame_number) > places.count:
        raise ParameterRejected(f"the instance has {places.count} frame{'s' if places.count > 1 else ''}")
    return int(asked.frame_number)


def _state(context: ApiContext, asked: Asked, one: InstanceRecord) -> Presentation:
    """Return the presentation state that is named; `ParameterRejected` where it is none, or none of this object."""
    series, uid = SeriesUid(asked.presentation_series or ""), InstanceUid(asked.presentation or "")
    found = instances_of(context, StudyUid(asked.study), series, uid)[0]
    if found.sop_class_uid not in PRESENTATIONS:
        raise ParameterRejected("presentationUID names no presentation state that is rendered here")
    if one.sop_instance_uid not in named_by(context, found):
        raise ParameterRejected("the presentation state does not refer to the object")
    return state_of(context, found)


# ----------------------------------------------------------------------------------------------------- checking
def _check(asked: Asked, named: Sequence[str]) -> None:
    """Refuse what contradicts itself, and what would be dangerous to pass over."""
    twice = sorted({name for name in named if name in _NAMES and named.count(name) > 1})
    if twice:
        raise ParameterRejected(f"{', '.join(twice)} is given twice")
    if asked.anonymize is not None:
        raise ParameterRejected("nothing is anonymized here: an object is given as it is, or not at all")
    if asked.transfer_syntax in _NOT_FOR_THE_WEB:
        raise ParameterRejected("web services know neither implicit VR nor big endian (PS3.18 8.7.3)")
    for pair in (("windowCenter", "windowWidth"), ("presentationUID", "presentationSeriesUID")):
        if len({*pair} & {*named}) == 1:
            raise ParameterRejected(f"{' and '.join(pair)} go together")
    if asked.presentation is not None and asked.window_center is not None:
        raise ParameterRejected("a presentation state has its own window: leave windowCenter and windowWidth out")
    if asked.frame_number is not None and not int(asked.frame_number):
        raise ParameterRejected("frameNumber counts from 1")


def _check_fit(offer: str, named: Sequence[str]) -> None:
    """Refuse parameters of the other kind of answer."""
    foreign = (() if offer == media.DICOM else _OF_FILES) + (() if offer in rendered.TYPES else _OF_PICTURES)
    misplaced = [name for name in foreign if name in named]
    if misplaced:
        raise ParameterRejected(f"{', '.join(misplaced)} does not go with {offer}")


def _given(request: Request, asked: Asked, offers: Sequence[str]) -> media.Choice:
    """Return what is given: the most wanted of `contentType`, within what the header accepts; else of the header.

    Raises
    ------
    ParameterRejected
        `contentType` is no list of media types.
    NotAcceptable
        None of them is offered, or the header accepts none of them.
    """
    accepted = media.accepted(request)
    wanted = accepted if asked.content_type is None else media.preferred(asked.content_type)
    if not wanted:
        raise ParameterRejected("contentType is a list of media types")
    for one in wanted:
        for offer in offers:
            offered = media.MediaType(name=offer)
            if media.covers(one, offered) and any(media.covers(ranged, offered) for ranged in accepted):
                syntax = asked.transfer_syntax or one.parameters.get("transfer-syntax", "")
                return media.Choice(offer=offer, transfer_syntaxes=(syntax,))
    raise NotAcceptable(f"this object can be given as {', '.join(offers)}")


# ----------------------------------------------------------------------------------------------------- pictures
def _picture(asked: Asked, places: Places, media_type: str) -> Picture:
    """Return what the parameters say of a picture; `ParameterRejected` where they say what none can have."""
    quality = rendered.QUALITY if asked.image_quality is None else int(asked.image_quality)
    if not 1 <= quality <= 100:
        raise ParameterRejected("imageQuality is 1 to 100")
    return Picture(
        media_type=media_type,
        quality=quality,
        viewport=_viewport(asked),
        crop=_crop(asked.region, places),
        window=_window(asked),
        annotation=rendered.annotation_of(asked.annotation),
    )


def _viewport(asked: Asked) -> tuple[int, int] | None:
    """Return the largest width and height; the one that is not given is whatever the proportions make it."""
    if asked.rows is None and asked.columns is None:
        return None
    most = rendered.MAX_VIEWPORT
    size = int(asked.columns or most), int(asked.rows or most)
    if not (0 < size[0] <= most and 0 < size[1] <= most):
        raise ParameterRejected(f"rows and columns are 1 to {most}")
    return size


def _crop(region: str | None, places: Places) -> tuple[float | None, float | None, float | None, float | None]:
    """Return the region in pixels: left, top, width, height (PS3.18 9.5.2.5)."""
    if region is None:
        return None, None, None, None
    parts = region.split(",")
    if len(parts) != 4 or not all(re.fullmatch(rendered.NUMBER, part) for part in parts):
        raise ParameterRejected("region is left,top,right,bottom, each a number from 0 to 1")
    left, top, right, bottom = map(float, parts)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ParameterRejected("a region has its left before its right and its top before its bottom, from 0 to 1")
    rows, columns = places.form.rows, places.form.columns
    return left * columns, top * rows, (right - left) * columns, (bottom - top) * rows


def _window(asked: Asked) -> Window | None:
    if asked.window_center is None:
        return None
    return rendered.window_of(f"{asked.window_center},{asked.window_width}")

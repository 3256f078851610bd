"""WADO-RS rendered and thumbnail resources: pictures for eyes and pages, not for diagnosis (PS3.18 10.4.1.1.3, .4)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from api.answers import unchanged
from api.context import ApiContext, Context
from api.crossorigin import ROOT
from api.dicomweb import media
from api.dicomweb.animation import animated
from api.dicomweb.described import answers
from api.dicomweb.documents import DOCUMENT_TYPES, rendered_document
from api.dicomweb.frames import FramesPath, check_numbers, frame_bytes, numbers_of, places_of
from api.dicomweb.kept import instance_url, instances_of
from api.dicomweb.multipart import Related
from api.dicomweb.places import stored_pieces
from api.dicomweb.presented import PRESENTATIONS, presented_by, state_of
from api.dicomweb.source import reader
from api.dicomweb.streams import stream, strong_tag
from api.errors import NotAcceptable, ParameterRejected, PixelsUnreadable
from api.uids import InstancePath, SeriesPath, StudyPath
from imaging import Picture, Render, Window
from imaging.syntaxes import syntax_of
from pacs_gateway.elements import encoding_of, read_elements
from storage.errors import CatalogueUnknown

if TYPE_CHECKING:
    from api.dicomweb.places import Places
    from storage.records import InstanceRecord

router = APIRouter(prefix=ROOT, tags=["dicomweb"], default_response_class=Response)

MAX_VIEWPORT: Final = 4096
"""Pixels along a side of a picture that is scaled."""
MAX_PICTURES: Final = 100
"""Pictures that one request may ask for."""
THUMBNAIL: Final = 256
"""Pixels along the longer side of a thumbnail, where no viewport is given."""
MAX_HEADER_BYTES: Final = 64 * 1024 * 1024
QUALITY: Final = 90

_SERIES: Final = "/studies/{study}/series/{series}"
_INSTANCE: Final = f"{_SERIES}/instances/{{instance}}"
GIF: Final = "image/gif"
TYPES: Final = ("image/jpeg", "image/png", GIF, "image/jp2")
_VIDEOS: Final = ("video/mpeg", "video/mp4", "video/H265")
_MANY: Final = tuple(f'{media.MULTIPART}; type="{name}"' for name in TYPES)
_PICTURES: Final = answers(*TYPES, *_MANY, problems=(404, 406), also={304: "Not Modified"})
_SEVERAL: Final = answers(*_MANY, problems=(404, 406), also={304: "Not Modified"})
_SHOWN: Final = answers(*TYPES, *_MANY, *_VIDEOS, *DOCUMENT_TYPES, problems=(404, 406), also={304: "Not Modified"})
_METHODS: Final = ["GET", "HEAD"]
NUMBER: Final = r"[+-]?([0-9]{1,15}\.?[0-9]{0,15}|\.[0-9]{1,15})([eE][+-]?[0-9]{1,2})?"
_WINDOW: Final = re.compile(rf"(?P<center>{NUMBER}),(?P<width>{NUMBER})(,(?P<function>linear|linear-exact|sigmoid))?")
_FUNCTIONS: Final = "linear, linear-exact or sigmoid"
_FRAME_TIME: Final = 0x00181063
_CAPTURES: Final = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage, and the root of its multi-frame kinds."""

_SIZE: Final = "[1-9][0-9]{0,2},[1-9][0-9]{0,2}"
_VIEWPORT: Final = f"^{_SIZE}(,[0-9]{{1,4}},[0-9]{{1,4}},-?[1-9][0-9]{{0,3}},-?[1-9][0-9]{{0,3}})?$"
_WINDOWS: Final = r"^-?[0-9]{1,6}(\.[0-9]{1,6})?,[1-9][0-9]{0,6}(,(linear|linear-exact|sigmoid))?$"
Viewport = Annotated[
    str | None,
    Query(
        description="width,height[,left,top,width,height]",
        max_length=200,
        json_schema_extra={"pattern": _VIEWPORT},
    ),
]
WindowText = Annotated[
    str | None,
    Query(description="center,width[,function]", max_length=200, json_schema_extra={"pattern": _WINDOWS}),
]
Quality = Annotated[int, Query(ge=1, le=100)]
AnnotationText = Annotated[
    str | None,
    Query(
        description="patient, technique or both",
        max_length=64,
        json_schema_extra={"pattern": "^(patient|technique)(,(patient|technique))*$"},
    ),
]
_WRITTEN: Final = ("patient", "technique")
Profile = Annotated[Literal["no", "yes", "srgb"], Query(alias="iccprofile")]


# ----------------------------------------------------------------------------------------------------- rendered
@router.api_route("/studies/{study}/rendered", methods=_METHODS, responses=_SEVERAL)
def rendered_study(
    context: Context,
    request: Request,
    study: StudyPath,
    *,
    viewport: Viewport = None,
    window: WindowText = None,
    quality: Quality = QUALITY,
    annotation: AnnotationText = None,
    profile: Profile = "no",
) -> Response:
    """Show every image of a study, each by its representative frame."""
    asked = picture_of(viewport, window, quality, annotation, profile)
    return _each(context, request, instances_of(context, study), asked)


@router.api_route(f"{_SERIES}/rendered", methods=_METHODS, responses=_SEVERAL)
def rendered_series(
    context: Context,
    request: Request,
    study: StudyPath,
    series: SeriesPath,
    *,
    viewport: Viewport = None,
    window: WindowText = None,
    quality: Quality = QUALITY,
    annotation: AnnotationText = None,
    profile: Profile = "no",
) -> Response:
    """Show every image of a series, each by its representative frame."""
    asked = picture_of(viewport, window, quality, annotation, profile)
    return _each(context, request, instances_of(context, study, series), asked)


@router.api_route(f"{_INSTANCE}/rendered", methods=_METHODS, responses=_SHOWN)
def rendered_instance(
    context: Context,
    request: Request,
    study: StudyPath,
    series: SeriesPath,
    instance: InstancePath,
    *,
    viewport: Viewport = None,
    window: WindowText = None,
    quality: Quality = QUALITY,
    annotation: AnnotationText = None,
    profile: Profile = "no",
) -> Response:
    """Show an instance: an image by its representative frame, as GIF by all; a video, a report, a document."""
    asked = picture_of(viewport, window, quality, annotation, profile)
    one = instances_of(context, study, series, instance)[0]
    places = context.atlas.places(context.archive, one)
    if one.sop_class_uid in PRESENTATIONS:
        state = state_of(context, one)
        shown = [(image, image_of(context, image), number) for image, number in presented_by(context, one)]
        return _answer(context, request, shown, replace(asked, presentation=state))
    if places is None:
        return rendered_document(context, request, one)
    video = syntax_of(one.transfer_syntax_uid).media_type
    if video.startswith("video/"):
        return _video(context, request, one, places, video)
    if places.count > 1 and media.choose(request, (*TYPES, *_MANY)).offer == GIF:
        return _animation(context, request, one, places, asked)
    return _answer(context, request, [(one, places, places.representative)], asked)


@router.api_route(f"{_INSTANCE}/frames/{{frames}}/rendered", methods=_METHODS, responses=_PICTURES)
def rendered_frames(
    context: Context,
    request: Request,
    study: StudyPath,
    series: SeriesPath,
    instance: InstancePath,
    *,
    frames: FramesPath,
    viewport: Viewport = None,
    window: WindowText = None,
    quality: Quality = QUALITY,
    annotation: AnnotationText = None,
    profile: Profile = "no",
) -> Response:
    """Show frames of an instance."""
    asked, numbers = picture_of(viewport, window, quality, annotation, profile), numbers_of(frames)
    one = instances_of(context, study, series, instance)[0]
    places = image_of(context, one)
    check_numbers(numbers, places)
    return _answer(context, request, [(one, places, number) for number in numbers], asked)


# ----------------------------------------------------------------------------------------------------- thumbnails
@router.api_route("/studies/{study}/thumbnail", methods=_METHODS, responses=_PICTURES)
def study_thumbnail(context: Context, request: Request, study: StudyPath, *, viewport: Viewport = None) -> Response:
    """Show a study by the middle image of its first series that has images."""
    return _representative(context, request, instances_of(context, study), viewport)


@router.api_route(f"{_SERIES}/thumbnail", methods=_METHODS, responses=_PICTURES)
def series_thumbnail(
    context: Context, request: Request, study: StudyPath, series: SeriesPath, *, viewport: Viewport = None
) -> Response:
    """Show a series by its middle image."""
    return _representative(context, request, instances_of(context, study, series), viewport)


@router.api_route(f"{_INSTANCE}/thumbnail", methods=_METHODS, responses=_PICTURES)
def instance_thumbnail(
    context: Context,
    request: Request,
    study: StudyPath,
    series: SeriesPath,
    instance: InstancePath,
    *,
    viewport: Viewport = None,
) -> Response:
    """Show an instance by its representative frame, small."""
    one = instances_of(context, study, series, instance)[0]
    places = places_of(context, one)
    return _answer(context, request, [(one, places, places.representative)], _thumbnail(viewport))


@router.api_route(f"{_INSTANCE}/frames/{{frames}}/thumbnail", methods=_METHODS, responses=_PICTURES)
def frame_thumbnail(
    context: Context,
    request: Request,
    study: StudyPath,
    series: SeriesPath,
    instance: InstancePath,
    *,
    frames: FramesPath,
    viewport: Viewport = None,
) -> Response:
    """Show frames of an instance, small."""
    asked, numbers = _thumbnail(viewport), numbers_of(frames)
    one = instances_of(context, study, series, instance)[0]
    places = places_of(context, one)
    check_numbers(numbers, places)
    return _answer(context, request, [(one, places, number) for number in numbers], asked)


# ----------------------------------------------------------------------------------------------------- parameters
def picture_of(
    viewport: str | None, window: str | None, quality: int, annotation: str | None = None, profile: str = "no"
) -> Picture:
    """Return what the query asks for (PS3.18 8.3.5.1).

    Raises
    ------
    ParameterRejected
        A parameter is malformed, or asks for a picture larger than is made.
    """
    size, crop = _viewport(viewport)
    return Picture(
        quality=quality,
        viewport=size,
        crop=crop,
        window=window_of(window),
        annotation=annotation_of(annotation),
        profile=profile,
    )


def _thumbnail(viewport: str | None) -> Picture:
    size, crop = _viewport(viewport)
    return Picture(quality=QUALITY, viewport=size or (THUMBNAIL, THUMBNAIL), crop=crop)


def _viewport(
    text: str | None,
) -> tuple[tuple[int, int] | None, tuple[float | None, float | None, float | None, float | None]]:
    """Return the largest size, and the part of the image: left, top, width, height; empty ones are None."""
    whole = (None, None, None, None)
    if text is None:
        return None, whole
    parts = text.split(",")
    width, height, *rest = parts if len(parts) in {2, 6} else ("", "")
    if not (width.isdecimal() and height.isdecimal() and width.isascii() and height.isascii()):
        raise ParameterRejected("viewport is width,height or width,height,left,top,width,height, in pixels")
    size = int(width[:9]), int(height[:9])
    if not (0 < size[0] <= MAX_VIEWPORT and 0 < size[1] <= MAX_VIEWPORT):
        raise ParameterRejected(f"a viewport is 1 to {MAX_VIEWPORT} pixels wide and high")
    return size, _crop(rest) if rest else whole


def _crop(parts: Sequence[str]) -> tuple[float | None, float | None, float | None, float | None]:
    if not all(not part or re.fullmatch(NUMBER, part) for part in parts):
        raise ParameterRejected("the part of the image in viewport is left,top,width,height, each a number or empty")
    left, top, width, height = (float(part) if part else None for part in parts)
    if (left or 0) < 0 or (top or 0) < 0 or width == 0 or height == 0:
        raise ParameterRejected("the part of the image in viewport begins inside the image and has a width and height")
    return left, top, width, height


def _check_crop(asked: Picture, places: Places) -> None:
    """Refuse a part that begins outside of the image."""
    left, top, _, _ = asked.crop
    if (left or 0) >= places.form.columns or (top or 0) >= places.form.rows:
        raise ParameterRejected("the part of the image in viewport begins outside of the image")


def window_of(text: str | None) -> Window | None:
    """Return the window that ``center,width[,function]`` tells; `ParameterRejected` for one that no image has."""
    if text is None:
        return None
    found = _WINDOW.fullmatch(text.strip().lower())
    if found is None:
        raise ParameterRejected(f"window is center,width[,function]: numbers, and {_FUNCTIONS}")
    center, width = float(found["center"]), float(found["width"])
    function = found["function"] or "linear"
    if not (math.isfinite(center) and math.isfinite(width)) or width <= 0 or (function == "linear" and width < 1):
        raise ParameterRejected("a window is wider than 0, a linear one at least 1 wide")
    return Window(center=center, width=width, function=function)


def annotation_of(text: str | None) -> tuple[str, ...]:
    """Return what is to be written on a picture; `ParameterRejected` where a word of the list is not known."""
    words = [] if text is None else text.split(",")
    if not set(words) <= set(_WRITTEN):
        raise ParameterRejected(f"annotation is a list of {' and '.join(_WRITTEN)}")
    return tuple(word for word in _WRITTEN if word in words)


# ----------------------------------------------------------------------------------------------------- answering
Asked = tuple["InstanceRecord", "Places", int]
"""An instance, where its frames are, and the number of the one to show."""


def image_of(context: ApiContext, one: InstanceRecord) -> Places:
    """Return where the frames are; 406 for an object that cannot be shown as a picture."""
    places = context.atlas.places(context.archive, one)
    if places is None:
        raise NotAcceptable("the instance is no image, and no other object is rendered")
    return places


def _video(context: ApiContext, request: Request, one: InstanceRecord, places: Places, name: str) -> Response:
    """Answer with a video's stream, as it is kept: nothing here encodes one anew."""
    offered = media.choose(request, (name,)).offer
    tag = strong_tag(context, offered, [one], "video")
    read, _ = reader(context.archive, one)
    return unchanged(request, tag) or stream(request, stored_pieces(read, places, 1), offered, {"ETag": tag})


def _animation(context: ApiContext, request: Request, one: InstanceRecord, places: Places, asked: Picture) -> Response:
    """Answer with all frames of an instance as one moving GIF."""
    if places.count > MAX_PICTURES:
        raise ParameterRejected(f"{places.count} frames, {MAX_PICTURES} are shown at a time: ask for frames")
    tag = strong_tag(context, GIF, [one], "animation", str(asked))
    held = unchanged(request, tag)
    if held is not None:
        return held
    picture = replace(asked, media_type=GIF)
    made = (_rendered(context, (one, places, number), picture) for number in range(1, places.count + 1))
    pieces = animated(made, delay_ms=_frame_time_ms(context, one))
    return stream(request, pieces, GIF, {"ETag": tag, **warning(context, request)})


def _frame_time_ms(context: ApiContext, one: InstanceRecord) -> float:
    """Return (0018,1063) Frame Time, a tenth of a second where the object tells none that a person can follow."""
    read, _ = reader(context.archive, one)
    found = read_elements(read, encoding_of(one.transfer_syntax_uid), frozenset({_FRAME_TIME}), _FRAME_TIME, 16)
    text = found.get(_FRAME_TIME, b"").decode("ascii", "replace").strip(" \0")
    return min(max(float(text), 20.0), 2000.0) if re.fullmatch(NUMBER, text) else 100.0


def _each(context: ApiContext, request: Request, found: list[InstanceRecord], asked: Picture) -> Response:
    images = [one for one in found if one.rows]
    if not images:
        raise NotAcceptable("there is no image here, and no other object is rendered")
    if len(images) > MAX_PICTURES:
        raise ParameterRejected(f"{len(images)} images, {MAX_PICTURES} are rendered at a time: ask for each")
    shown = [(one, places, places.representative) for one in images for places in [image_of(context, one)]]
    return _answer(context, request, shown, asked, alone=False)


def _representative(
    context: ApiContext, request: Request, found: list[InstanceRecord], viewport: str | None
) -> Response:
    asked = _thumbnail(viewport)
    images = [one for one in found if one.rows]
    first = [one for one in images if one.series_instance_uid == images[0].series_instance_uid]
    if not first:
        raise CatalogueUnknown("there is no image here")
    one = first[len(first) // 2]
    places = places_of(context, one)
    return _answer(context, request, [(one, places, places.representative)], asked)


def _answer(
    context: ApiContext, request: Request, shown: list[Asked], asked: Picture, *, alone: bool = True
) -> Response:
    """Answer with pictures; a single one may leave `alone`, but not of a study or a series (PS3.18 10.4.4, note 3)."""
    if len(shown) > MAX_PICTURES:
        raise ParameterRejected(f"{len(shown)} pictures, {MAX_PICTURES} are made at a time")
    for _, places, _ in shown:
        _check_crop(asked, places)
    offer = media.choose(request, (*TYPES, *_MANY) if alone and len(shown) == 1 else _MANY).offer
    media_type = media.parse(offer)[0].root
    if offer in TYPES:
        return show(context, request, shown[0], replace(asked, media_type=media_type))
    numbers = ",".join(str(number) for _, _, number in shown)
    tag = strong_tag(context, offer, [one for one, _, _ in shown], numbers, str(asked))
    held = unchanged(request, tag)
    if held is not None:
        return held
    headers = {"ETag": tag, **warning(context, request)}
    picture = replace(asked, media_type=media_type)
    made = (_rendered(context, one, picture) for one in shown)
    body = Related(media_type, tag)
    return stream(request, _parts(context, shown, made, media_type, body), body.media_type, headers)


def show(context: ApiContext, request: Request, shown: Asked, picture: Picture) -> Response:
    """Answer with one picture, in its own media type."""
    one, _, number = shown
    tag = strong_tag(context, picture.media_type, [one], str(number), str(picture))
    held = unchanged(request, tag)
    if held is not None:
        return held
    headers = {"ETag": tag, **warning(context, request)}
    return stream(request, iter((_rendered(context, shown, picture),)), picture.media_type, headers)


def _parts(
    context: ApiContext, shown: list[Asked], made: Iterator[bytes], media_type: str, body: Related
) -> Iterator[bytes]:
    for (one, _, number), picture in zip(shown, made, strict=True):
        where = f"{instance_url(context, one)}/frames/{number}/rendered"
        yield from body.part(media_type, (picture,), location=where)
    yield body.end()


def _rendered(context: ApiContext, shown: Asked, picture: Picture) -> bytes:
    one, places, number = shown
    read, _ = reader(context.archive, one)
    if places.header_bytes > MAX_HEADER_BYTES:
        raise PixelsUnreadable("the attributes before the pixels are longer than is read for a picture")
    encoding = encoding_of(one.transfer_syntax_uid)
    # What is burned into a secondary capture, a result's banner above all, is never cut away (W-37).
    if places.burned_in and one.sop_class_uid.startswith(_CAPTURES):
        picture = replace(picture, crop=(None, None, None, None))
    job = Render(
        form=places.form,
        frame=frame_bytes(read, places, number),
        header=read(0, places.header_bytes),
        implicit=not encoding.explicit,
        little=encoding.byteorder == "little",
        number=number,
        picture=picture,
    )
    return context.decoders.run(job)


def warning(context: ApiContext, request: Request) -> dict[str, str]:
    """Say which parameters were passed over (PS3.18 8.3.5: those not supported are ignored)."""
    ignored = [name for name in ("charset",) if name in request.query_params]
    if not ignored:
        return {}
    return {"Warning": f'299 {context.dicomweb_url}: "{", ".join(ignored)} is not offered and was ignored"'}

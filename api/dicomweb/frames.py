"""WADO-RS frames and pixel data: as stored, decoded to native little endian, or compressed anew (PS3.18 10.4.1.1.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from fastapi import APIRouter, Path, Request, Response

from api.answers import unchanged
from api.context import ApiContext, Context
from api.crossorigin import ROOT
from api.dicomweb import media
from api.dicomweb.composed import SYNTAXES
from api.dicomweb.described import answers
from api.dicomweb.explicit import EXPLICIT_LITTLE_UID
from api.dicomweb.kept import bulk_url, instance_url, instances_of
from api.dicomweb.multipart import Related
from api.dicomweb.places import Places, stored_pieces, whole_value
from api.dicomweb.source import Read, reader
from api.dicomweb.streams import stream, strong_tag
from api.errors import NotAcceptable, ParameterRejected
from api.uids import InstancePath, SeriesPath, StudyPath
from imaging import Decode, Encode
from imaging.syntaxes import syntax_of
from imaging.targets import TARGETS, unfit
from storage.errors import CatalogueUnknown

if TYPE_CHECKING:
    from storage.records import InstanceRecord

router = APIRouter(prefix=ROOT, tags=["dicomweb"], default_response_class=Response)

MAX_LISTED: Final = 1000
"""Frames that one request may name."""

_LIST: Final = re.compile(r"[0-9]{1,10}(,[0-9]{1,10})*")
FramesPath = Annotated[str, Path(json_schema_extra={"pattern": "^[1-9][0-9]{0,9}(,[1-9][0-9]{0,9}){0,99}$"})]
"""Told, not checked: `numbers_of` does that, and says what is wrong."""
_INSTANCE: Final = "/studies/{study}/series/{series}/instances/{instance}"
_VALUES: Final = f'{media.MULTIPART}; type="{media.OCTETS}"'
_COMPRESSED: Final = ("image/jphc", "image/jp2", "image/jls", "image/dicom-rle")
_ANSWERS: Final = answers(
    _VALUES,
    *(f'{media.MULTIPART}; type="{name}"' for name in _COMPRESSED),
    media.OCTETS,
    *_COMPRESSED,
    problems=(404, 406),
    also={304: "Not Modified"},
)
_MANY: Final = answers(_VALUES, problems=(404, 406), also={304: "Not Modified"})
_ANY_TYPE: Final = frozenset({"", "*/*"})
_PIXELS: Final = "7FE00010"
_FLOATING: Final = {32: "7FE00008", 64: "7FE00009"}
"""Bits allocated -> the attribute that holds pixels in floating point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """The form in which frames leave."""

    media_type: str
    transfer_syntax_uid: str
    multipart: bool
    decoded: bool = False
    encoder: str = ""


@router.api_route(f"{_INSTANCE}/frames/{{frames}}", methods=["GET", "HEAD"], responses=_ANSWERS)
def retrieve_frames(
    context: Context,
    request: Request,
    study: StudyPath,
    series: SeriesPath,
    instance: InstancePath,
    *,
    frames: FramesPath,
) -> Response:
    """Retrieve frames of an instance: in the order asked for, each as often as it is named."""
    numbers = numbers_of(frames)
    one = instances_of(context, study, series, instance)[0]
    places = places_of(context, one)
    check_numbers(numbers, places)
    given = _negotiated(request, one, places, alone=len(numbers) == 1)
    tag = strong_tag(context, f"{given}", [one], frames)
    held = unchanged(request, tag)
    return held or _frames(context, request, _Asked(one, places, given, tag), numbers)


@router.api_route("/studies/{study}/pixeldata", methods=["GET", "HEAD"], responses=_MANY)
def retrieve_study_pixels(context: Context, request: Request, study: StudyPath) -> Response:
    """Retrieve the pixel data of a study, instance by instance."""
    return _pixels_of(context, request, instances_of(context, study))


@router.api_route("/studies/{study}/series/{series}/pixeldata", methods=["GET", "HEAD"], responses=_MANY)
def retrieve_series_pixels(context: Context, request: Request, study: StudyPath, series: SeriesPath) -> Response:
    """Retrieve the pixel data of a series, instance by instance."""
    return _pixels_of(context, request, instances_of(context, study, series))


@router.api_route(f"{_INSTANCE}/pixeldata", methods=["GET", "HEAD"], responses=_ANSWERS)
def retrieve_pixels(
    context: Context, request: Request, study: StudyPath, series: SeriesPath, instance: InstancePath
) -> Response:
    """Retrieve the pixel data of an instance: native as one value, encapsulated frame by frame."""
    one = instances_of(context, study, series, instance)[0]
    places = places_of(context, one)
    given = _negotiated(request, one, places, alone=places.count == 1, value=places.is_native)
    tag = strong_tag(context, f"{given}", [one], "pixeldata")
    held = unchanged(request, tag)
    if held is not None:
        return held
    if not places.is_native or given.encoder:
        return _frames(context, request, _Asked(one, places, given, tag), range(1, places.count + 1))
    read, _ = reader(context.archive, one)
    pieces = whole_value(read, places)
    if not given.multipart:
        return stream(request, pieces, given.media_type, {"ETag": tag})
    body = Related(given.media_type, tag)
    part = body.part(_declared(given), pieces, location=_value_url(context, one, places))
    return stream(request, chain(part, body.last()), body.media_type, {"ETag": tag})


def _pixels_of(context: ApiContext, request: Request, found: list[InstanceRecord]) -> Response:
    """Answer with the pixels of those instances that have any, in one multipart; its type is that of the first."""
    shown = [(one, places) for one in found if (places := context.atlas.places(context.archive, one)) is not None]
    if not shown:
        raise CatalogueUnknown("there are no frames here")
    given = [_negotiated(request, one, places, alone=False) for one, places in shown]
    tag = strong_tag(context, f"{given}", [one for one, _ in shown], "pixeldata")
    held = unchanged(request, tag)
    if held is not None:
        return held
    body = Related(given[0].media_type, tag)
    parts = (
        _parts(context, body, _Asked(one, places, form, tag)) for (one, places), form in zip(shown, given, strict=True)
    )
    pieces = chain(chain.from_iterable(chain.from_iterable(parts)), body.last())
    return stream(request, pieces, body.media_type, {"ETag": tag})


def _parts(context: ApiContext, body: Related, asked: _Asked) -> Iterator[Iterator[bytes]]:
    """Yield an instance's pixels: native as one value, encapsulated frame by frame."""
    one, places, given, _ = asked
    read, _ = reader(context.archive, one)
    url = instance_url(context, one)
    if places.is_native and not given.encoder:
        yield body.part(_declared(given), whole_value(read, places), location=_value_url(context, one, places))
        return
    for number in range(1, places.count + 1):
        pieces = _pieces(context, read, places, number, given)
        yield body.part(_declared(given), pieces, location=f"{url}/frames/{number}")


def _value_url(context: ApiContext, one: InstanceRecord, places: Places) -> str:
    """Return the BulkDataURI that the metadata give for the pixels (PS3.18 10.4.3.3.6)."""
    tag = _FLOATING.get(places.form.bits_allocated, _PIXELS) if places.form.floating else _PIXELS
    return f"{bulk_url(context, one)}/{tag}"


def numbers_of(frames: str) -> list[int]:
    """Return the frame numbers of a path; `ParameterRejected` for what is no list of them, or too long a one."""
    if len(frames) > 11 * MAX_LISTED or not _LIST.fullmatch(frames):
        raise ParameterRejected(f"frames are numbers from 1, separated by commas, {MAX_LISTED} at most")
    numbers = [int(number) for number in frames.split(",")]
    if len(numbers) > MAX_LISTED or 0 in numbers:
        raise ParameterRejected(f"frames are numbers from 1, separated by commas, {MAX_LISTED} at most")
    return numbers


def places_of(context: ApiContext, instance: InstanceRecord) -> Places:
    """Return where the frames of an instance are; `CatalogueUnknown` where it has none."""
    places = context.atlas.places(context.archive, instance)
    if places is None:
        raise CatalogueUnknown("the instance has no frames")
    return places


def check_numbers(numbers: Sequence[int], places: Places) -> None:
    """Refuse frames that the instance does not have."""
    if max(numbers) > places.count:
        raise CatalogueUnknown(f"the instance has {places.count} frames")


def frame_bytes(read: Read, places: Places, number: int) -> bytes:
    """Return one frame as it is stored, for a decoder."""
    return b"".join(stored_pieces(read, places, number))


# ----------------------------------------------------------------------------------------------------- answering
class _Asked(NamedTuple):
    """Frames of an instance, in a form; `tag` names them both."""

    instance: InstanceRecord
    places: Places
    given: Given
    tag: str


def _frames(context: ApiContext, request: Request, asked: _Asked, numbers: Iterable[int]) -> Response:
    one, places, given, tag = asked
    read, _ = reader(context.archive, one)
    frames = ((number, _pieces(context, read, places, number, given)) for number in numbers)
    if not given.multipart:
        return stream(request, next(frames)[1], given.media_type, {"ETag": tag})
    body, url = Related(given.media_type, tag), f"{instance_url(context, one)}/frames"
    parts = (body.part(_declared(given), pieces, location=f"{url}/{number}") for number, pieces in frames)
    return stream(request, chain(chain.from_iterable(parts), body.last()), body.media_type, {"ETag": tag})


def _pieces(context: ApiContext, read: Read, places: Places, number: int, given: Given) -> Iterator[bytes]:
    if given.encoder:
        frame = frame_bytes(read, places, number)
        yield context.decoders.run(Encode(form=places.form, frame=frame, encoder=given.encoder))
    elif given.decoded:
        yield context.decoders.run(Decode(form=places.form, frame=frame_bytes(read, places, number)))
    else:
        yield from stored_pieces(read, places, number)


def _declared(given: Given) -> str:
    return f"{given.media_type}; transfer-syntax={given.transfer_syntax_uid}"


# ----------------------------------------------------------------------------------------------------- negotiating
def _negotiated(request: Request, one: InstanceRecord, places: Places, *, alone: bool, value: bool = False) -> Given:
    """Return the most wanted form that can be given.

    A single part needs to stand `alone`; native pixels as one `value` may do so however many frames there are.

    Raises
    ------
    NotAcceptable
        There is none; the answer names those that there are, and why frames are not decoded.
    """
    for wanted in media.wanted(request):
        multipart = wanted.name in {"*/*", "multipart/*", media.MULTIPART}
        root = (wanted.root if wanted.name == media.MULTIPART else "") if multipart else wanted.name
        given = _given(root, wanted.parameters.get("transfer-syntax", ""), one, places, multipart=multipart)
        if given is not None and (multipart or alone or (value and not given.encoder)):
            return given
    raise NotAcceptable(_offered(one, places, alone=alone or value))


def _given(root: str, transfer_syntax: str, one: InstanceRecord, places: Places, *, multipart: bool) -> Given | None:
    """Return the form for one media type that is accepted, None where it cannot be given."""
    codec, stored = places.form.codec, syntax_of(one.transfer_syntax_uid)
    octets = root in {media.OCTETS, "application/*"} or root in _ANY_TYPE
    to_native = {"", EXPLICIT_LITTLE_UID} if codec != "native" else {"", "*", EXPLICIT_LITTLE_UID}
    if octets and codec and transfer_syntax in to_native:
        return Given(
            media_type=media.OCTETS,
            transfer_syntax_uid=EXPLICIT_LITTLE_UID,
            decoded=codec != "native",
            multipart=multipart,
        )
    # Lossy or opaque frames may go out in their stored form where none is named (PS3.18 8.7.3.4).
    as_kept = {"*", one.transfer_syntax_uid}
    if not octets or root in _ANY_TYPE:
        as_kept.add("")
    named = root in {stored.media_type.lower(), f"{stored.media_type.partition('/')[0]}/*"}
    if codec != "native" and transfer_syntax in as_kept and (octets or named):
        return Given(media_type=stored.media_type, transfer_syntax_uid=one.transfer_syntax_uid, multipart=multipart)
    return _encoded(root, transfer_syntax, places, multipart=multipart)


def _encoded(root: str, transfer_syntax: str, places: Places, *, multipart: bool) -> Given | None:
    """Return the form of frames that are compressed anew: what is named, or the media type's own transfer syntax."""
    is_open = transfer_syntax in {"", "*"}
    if is_open and root == "image/*":
        uid = next(
            (uid for uid, encoder in TARGETS.items() if places.form.codec and not unfit(places.form, encoder)), ""
        )
    else:
        uid = SYNTAXES.get(root, "") if is_open else transfer_syntax
    target = syntax_of(uid)
    fitting = uid in TARGETS and places.form.codec and not unfit(places.form, target.encoder)
    if not fitting or root not in {target.media_type, "image/*", media.OCTETS, *_ANY_TYPE}:
        return None
    return Given(media_type=target.media_type, transfer_syntax_uid=uid, encoder=target.encoder, multipart=multipart)


def _offered(one: InstanceRecord, places: Places, *, alone: bool) -> str:
    form, stored = places.form, syntax_of(one.transfer_syntax_uid)
    forms = {EXPLICIT_LITTLE_UID: media.OCTETS} if form.codec else {}
    if form.codec != "native":
        forms[one.transfer_syntax_uid] = stored.media_type
    if form.codec:
        forms |= {uid: syntax_of(uid).media_type for uid, encoder in TARGETS.items() if not unfit(form, encoder)}
    named = ", ".join(f"{media_type}; transfer-syntax={uid}" for uid, media_type in forms.items())
    why = "" if form.codec else f"; frames in {one.transfer_syntax_uid} are not decoded: {stored.reason}"
    single = " or alone" if alone else ""
    return f"these frames can be given in {media.MULTIPART}{single} as {named}{why}"

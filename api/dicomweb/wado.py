"""WADO-RS: retrieve studies, series and instances (PS3.18 10.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request, Response

from api.answers import unchanged
from api.context import ApiContext, Context
from api.dicomweb import media
from api.dicomweb.described import answers
from api.dicomweb.explicit import EXPLICIT_LITTLE_UID, explicit_little, is_for_web
from api.dicomweb.kept import instances_of, leaves_as, signed
from api.dicomweb.multipart import Related
from api.dicomweb.ranges import Whole, partial
from api.dicomweb.source import PIECE, Checked, Source
from api.dicomweb.streams import gathered, stream, strong_tag, withheld
from api.dicomweb.zipped import zipped
from api.errors import NotAcceptable
from api.uids import InstancePath, SeriesPath, StudyPath
from pacs_gateway.elements import encoding_of
from pacs_gateway.part10 import write_meta
from storage.records import Origin

if TYPE_CHECKING:
    from storage.records import InstanceRecord

router = APIRouter(tags=["dicomweb"], default_response_class=Response)

_FILES: Final = f'{media.MULTIPART}; type="{media.DICOM}"'
_METHODS: Final = ["GET", "HEAD"]
_MANY: Final = answers(_FILES, media.ZIP, problems=(404, 406), also={304: "Not Modified"})
_ONE: Final = answers(_FILES, media.DICOM, problems=(404, 406, 416), also={206: "Partial Content", 304: "Not Modified"})


@router.api_route("/studies/{study}", methods=_METHODS, responses=_MANY)
def retrieve_study(context: Context, request: Request, study: StudyPath) -> Response:
    """Retrieve a study as multipart/related."""
    return _several(context, request, instances_of(context, study))


@router.api_route("/studies/{study}/series/{series}", methods=_METHODS, responses=_MANY)
def retrieve_series(context: Context, request: Request, study: StudyPath, series: SeriesPath) -> Response:
    """Retrieve a series as multipart/related."""
    return _several(context, request, instances_of(context, study, series))


@router.api_route("/studies/{study}/series/{series}/instances/{instance}", methods=_METHODS, responses=_ONE)
def retrieve_instance(
    context: Context, request: Request, study: StudyPath, series: SeriesPath, instance: InstancePath
) -> Response:
    """Retrieve one instance, as multipart/related or alone."""
    found = instances_of(context, study, series, instance)
    choice = media.choose(request, (_FILES, media.DICOM, media.ZIP))
    return (
        alone(context, request, choice, found[0])
        if choice.offer == media.DICOM
        else _many(context, request, choice, found)
    )


def _several(context: ApiContext, request: Request, found: list[InstanceRecord]) -> Response:
    return _many(context, request, media.choose(request, (_FILES, media.ZIP)), found)


def _many(context: ApiContext, request: Request, choice: media.Choice, found: list[InstanceRecord]) -> Response:
    _admit(choice, found)
    tag = strong_tag(context, choice.offer, found)
    held = unchanged(request, tag)
    if held is not None:
        return held
    if choice.offer == media.ZIP:
        files = ((f"{one.series_instance_uid}/{one.sop_instance_uid}.dcm", _file(context, one)) for one in found)
        name = found[0].study_instance_uid
        told = {"ETag": tag, "Content-Disposition": f'attachment; filename="{name}.zip"'}
        return stream(request, zipped(files), media.ZIP, told)
    body = Related(media.DICOM, tag)
    parts = (body.part(f"{media.DICOM}; transfer-syntax={leaves_as(one)}", _file(context, one)) for one in found)
    pieces = chain(chain.from_iterable(parts), body.last())
    return stream(request, pieces, body.media_type, {"ETag": tag})


def alone(
    context: ApiContext,
    request: Request,
    choice: media.Choice,
    one: InstanceRecord,
    more: Mapping[str, str] | None = None,
) -> Response:
    """Answer with one instance as a DICOM file; `more` are further headers."""
    _admit(choice, [one])
    tag = strong_tag(context, choice.offer, [one])
    headers = {"ETag": tag, "Content-Disposition": f'attachment; filename="{one.sop_instance_uid}.dcm"', **(more or {})}
    held = unchanged(request, tag)
    if held is not None or not is_for_web(one.transfer_syntax_uid):
        return held or stream(request, _file(context, one), media.DICOM, headers)
    headers |= {"Content-Length": str(one.size_bytes), "Accept-Ranges": "bytes"}
    whole = Whole(size=one.size_bytes, media_type=media.DICOM, tag=tag, read=_Span(context, one))
    return partial(request, whole, headers) or stream(request, _file(context, one), media.DICOM, headers)


def _admit(choice: media.Choice, found: Iterable[InstanceRecord]) -> None:
    """Refuse what would need transcoding."""
    refused = {syntax for one in found if not choice.admits(syntax := leaves_as(one))}
    if refused:
        raise NotAcceptable(f"kept in {', '.join(sorted(refused))} and given in no other transfer syntax")


def _file(context: ApiContext, instance: InstanceRecord) -> Iterator[bytes]:
    """Yield an instance as a DICOM file; the last piece is held until the digest has been found right."""
    made = (
        context.archive.chunks(instance) if is_for_web(instance.transfer_syntax_uid) else _reencoded(context, instance)
    )
    return withheld(made)


def _reencoded(context: ApiContext, instance: InstanceRecord) -> Iterator[bytes]:
    encoding = encoding_of(instance.transfer_syntax_uid)
    is_signed = signed(context, instance)
    yield write_meta(EXPLICIT_LITTLE_UID, instance.sop_class_uid, instance.sop_instance_uid, Origin(via="self"))
    checked = Checked(context.archive, instance)
    source = Source(checked, instance.size_bytes - instance.meta_bytes)
    yield from gathered(explicit_little(source, encoding, signed=is_signed))
    checked.finish()


class _Span:
    """A part of an instance's file; its digest cannot be checked with a part."""

    def __init__(self, context: ApiContext, instance: InstanceRecord) -> None:
        self._objects = context.archive.objects
        self._key = instance.object_key

    def __call__(self, start: int, length: int) -> Iterator[bytes]:
        """Yield `length` bytes from `start`."""
        with self._objects.open(self._key, offset=start, length=length) as file:
            while piece := file.read(min(PIECE, length)):
                length -= len(piece)
                yield piece

"""WADO-RS: retrieve studies, series and instances (PS3.18 10.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request, Response

from api.answers import unchanged
from api.context import ApiContext, Context
from api.crossorigin import ROOT
from api.dicomweb import media
from api.dicomweb.bulk import VALUES, all_values
from api.dicomweb.described import answers
from api.dicomweb.explicit import EXPLICIT_LITTLE_UID, explicit_little, is_for_web
from api.dicomweb.kept import instances_of, leaves_as, signed
from api.dicomweb.multipart import Related
from api.dicomweb.originals import Originals
from api.dicomweb.ranges import Whole, partial
from api.dicomweb.source import PIECE, Checked, Source
from api.dicomweb.streams import gathered, in_batches, stream, strong_tag, withheld
from api.dicomweb.transcoded import MADE, refusal, transcoded
from api.dicomweb.zipped import zipped
from api.errors import NotAcceptable
from api.uids import InstancePath, SeriesPath, StudyPath
from pacs_gateway.elements import encoding_of
from pacs_gateway.part10 import write_meta
from storage.records import Origin

if TYPE_CHECKING:
    from storage.records import InstanceRecord

router = APIRouter(prefix=ROOT, tags=["dicomweb"], default_response_class=Response)

_FILES: Final = f'{media.MULTIPART}; type="{media.DICOM}"'
_METHODS: Final = ["GET", "HEAD"]
_MANY: Final = answers(_FILES, media.ZIP, VALUES, problems=(404, 406), also={304: "Not Modified"})
_ONE: Final = answers(
    _FILES, media.DICOM, VALUES, problems=(404, 406, 416), also={206: "Partial Content", 304: "Not Modified"}
)


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
    choice = media.choose(request, (_FILES, media.DICOM, media.ZIP, VALUES))
    return (
        alone(context, request, choice, found[0])
        if choice.offer == media.DICOM
        else _many(context, request, choice, found)
    )


def _several(context: ApiContext, request: Request, found: list[InstanceRecord]) -> Response:
    return _many(context, request, media.choose(request, (_FILES, media.ZIP, VALUES)), found)


def _many(context: ApiContext, request: Request, choice: media.Choice, found: list[InstanceRecord]) -> Response:
    if choice.offer == VALUES:  # as the bulk data resource (PS3.18 Table 10.4.4-1, note 2)
        return all_values(context, request, found)
    given = _syntaxes(context, choice, found)
    tag = _tag(context, choice, found, given)
    held = unchanged(request, tag)
    if held is not None:
        return held
    leaving = list(zip(found, given, strict=True))
    files = ((one, syntax, _file(context, one, syntax)) for one, syntax in leaving)
    if choice.offer == media.ZIP:
        members = ((f"{one.series_instance_uid}/{one.sop_instance_uid}.dcm", pieces) for one, _, pieces in files)
        name = found[0].study_instance_uid
        told = {"ETag": tag, "Content-Disposition": f'attachment; filename="{name}.zip"'}
        return stream(request, zipped(members), media.ZIP, told)
    body = Related(media.DICOM, tag)
    if all(syntax == one.transfer_syntax_uid for one, syntax in leaving):
        return _as_kept(context, request, body, tag, found)
    parts = (body.part(_declared(syntax), pieces) for _, syntax, pieces in files)
    pieces = chain(chain.from_iterable(parts), body.last())
    return stream(request, pieces, body.media_type, {"ETag": tag})


def _as_kept(
    context: ApiContext, request: Request, body: Related, tag: str, found: Sequence[InstanceRecord]
) -> Response:
    """Answer with files as they are kept, and say how long that is."""
    types = [_declared(one.transfer_syntax_uid) for one in found]
    texts = [body.before(declared, is_first=not place) for place, declared in enumerate(types)]
    parts = sum(body.part_bytes(declared, one.size_bytes) for declared, one in zip(types, found, strict=True))
    headers = {"ETag": tag, "Content-Length": str(parts + len(body.end()))}
    originals = Originals(context, zip(texts, found, strict=True), body.behind())
    return in_batches(request, originals, body.media_type, headers)


def _declared(syntax: str) -> str:
    return f"{media.DICOM}; transfer-syntax={syntax}"


def alone(
    context: ApiContext,
    request: Request,
    choice: media.Choice,
    one: InstanceRecord,
    more: Mapping[str, str] | None = None,
) -> Response:
    """Answer with one instance as a DICOM file; `more` are further headers."""
    (syntax,) = _syntaxes(context, choice, [one])
    tag = _tag(context, choice, [one], [syntax])
    headers = {"ETag": tag, "Content-Disposition": f'attachment; filename="{one.sop_instance_uid}.dcm"', **(more or {})}
    held = unchanged(request, tag)
    if held is not None or syntax != one.transfer_syntax_uid:
        return held or stream(request, _file(context, one, syntax), media.DICOM, headers)
    headers |= {"Content-Length": str(one.size_bytes), "Accept-Ranges": "bytes"}
    whole = Whole(size=one.size_bytes, media_type=media.DICOM, tag=tag, read=_Span(context, one))
    return partial(request, whole, headers) or in_batches(
        request, Originals(context, [(b"", one)]), media.DICOM, headers
    )


def _syntaxes(context: ApiContext, choice: media.Choice, found: Sequence[InstanceRecord]) -> list[str]:
    """Return the transfer syntax that each instance is given in: the most wanted of those that it can be given in.

    Raises
    ------
    NotAcceptable
        One can be given in none of them.
    """
    return [_syntax(context, choice, one) for one in found]


def _syntax(context: ApiContext, choice: media.Choice, one: InstanceRecord) -> str:
    own, why = leaves_as(one), ""
    for wanted in choice.transfer_syntaxes:
        if wanted in {"", "*", own}:
            return own
        why = refusal(context, one, wanted)
        if not why:
            return wanted
    others = sorted(uid for uid in MADE - {own} if not refusal(context, one, uid))
    raise NotAcceptable(
        f"kept in {own} and not given in what is asked for: {why}; given in {', '.join([own, *others])}"
    )


def _tag(context: ApiContext, choice: media.Choice, found: Sequence[InstanceRecord], given: Sequence[str]) -> str:
    as_kept = all(syntax == leaves_as(one) for one, syntax in zip(found, given, strict=True))
    return strong_tag(context, choice.offer, found, *([] if as_kept else given))


def _file(context: ApiContext, instance: InstanceRecord, syntax: str) -> Iterator[bytes]:
    """Yield an instance as a DICOM file; the last piece is held until the digest has been found right."""
    if syntax != leaves_as(instance):
        return withheld(transcoded(context, instance, syntax))
    if is_for_web(instance.transfer_syntax_uid):
        return context.archive.chunks(instance)
    return withheld(_reencoded(context, instance))


def _reencoded(context: ApiContext, instance: InstanceRecord) -> Iterator[bytes]:
    encoding = encoding_of(instance.transfer_syntax_uid)
    is_signed = signed(context.archive, instance)
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

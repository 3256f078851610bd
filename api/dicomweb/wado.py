"""WADO-RS: retrieve instances, their metadata and their bulk data (PS3.18 10.4)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.answers import unchanged
from api.context import ApiContext, Context
from api.dicomweb import media
from api.dicomweb.explicit import EXPLICIT_LITTLE_UID, explicit_little, is_for_web, is_signed, value_pieces
from api.dicomweb.model import as_model, element, find
from api.dicomweb.multipart import Related
from api.dicomweb.source import Checked, Source, stored
from api.dicomweb.walk import Kind, Step, walk
from api.errors import NotAcceptable
from api.uids import InstancePath, SeriesPath, StudyPath
from pacs_gateway.elements import encoding_of
from pacs_gateway.part10 import write_meta
from storage.catalog import studies
from storage.errors import CatalogueUnknown
from storage.records import Origin

if TYPE_CHECKING:
    from storage.records import InstanceRecord, InstanceUid, SeriesUid, StudyUid

router = APIRouter(tags=["dicomweb"])

_FILES: Final = f'{media.MULTIPART}; type="{media.DICOM}"'
_VALUES: Final = f'{media.MULTIPART}; type="{media.OCTETS}"'
_BULK_PATH: Final = re.compile(r"([0-9A-F]{8}/\d{1,6}/)*[0-9A-F]{8}")
_METHODS: Final = ["GET", "HEAD"]


# ---------------------------------------------------------------------------------------------------- instances
@router.api_route("/studies/{study}", methods=_METHODS)
def retrieve_study(context: Context, request: Request, study: StudyPath) -> Response:
    """Retrieve a study as multipart/related."""
    return _multipart(context, request, _instances(context, study))


@router.api_route("/studies/{study}/series/{series}", methods=_METHODS)
def retrieve_series(context: Context, request: Request, study: StudyPath, series: SeriesPath) -> Response:
    """Retrieve a series as multipart/related."""
    return _multipart(context, request, _instances(context, study, series))


@router.api_route("/studies/{study}/series/{series}/instances/{instance}", methods=_METHODS)
def retrieve_instance(
    context: Context, request: Request, study: StudyPath, series: SeriesPath, instance: InstancePath
) -> Response:
    """Retrieve one instance, as multipart/related or alone."""
    found = _instances(context, study, series, instance)
    choice = media.choose(request, (_FILES, media.DICOM))
    if choice.offer == _FILES:
        return _multipart(context, request, found)
    one = found[0]
    _admit(choice, found)
    tag = f'"{one.object_key}"'
    headers = {"ETag": tag, "Content-Disposition": f'attachment; filename="{one.sop_instance_uid}.dcm"'}
    if is_for_web(one.transfer_syntax_uid):
        headers["Content-Length"] = str(one.size_bytes)
    return unchanged(request, tag) or _stream(request, _file(context, one), media.DICOM, headers)


def _multipart(context: ApiContext, request: Request, found: list[InstanceRecord]) -> Response:
    _admit(media.choose(request, (_FILES,)), found)
    body = Related(media.DICOM)
    parts = (body.part(f"{media.DICOM}; transfer-syntax={_leaves_as(one)}", _file(context, one)) for one in found)
    return _stream(request, chain(chain.from_iterable(parts), _last(body)), body.media_type, {})


def _last(body: Related) -> Iterator[bytes]:
    yield body.end()


def _instances(
    context: ApiContext, study: StudyUid, series: SeriesUid | None = None, instance: InstanceUid | None = None
) -> list[InstanceRecord]:
    with context.archive.database.read() as tx:
        found = studies.instances_of(tx, study, series=series, instance=instance)
        context.archive.check_readable(tx, found)  # before the first byte: an answer cut later says less
    if not found:
        raise CatalogueUnknown("nothing is kept under these UIDs")
    return found


def _leaves_as(instance: InstanceRecord) -> str:
    """Return the transfer syntax an instance goes out in: its own, but for those unknown to the web."""
    return instance.transfer_syntax_uid if is_for_web(instance.transfer_syntax_uid) else EXPLICIT_LITTLE_UID


def _admit(choice: media.Choice, found: Iterable[InstanceRecord]) -> None:
    """Refuse what would need transcoding."""
    refused = {syntax for one in found if not choice.admits(syntax := _leaves_as(one))}
    if refused:
        raise NotAcceptable(f"kept in {', '.join(sorted(refused))} and given in no other transfer syntax")


def _file(context: ApiContext, instance: InstanceRecord) -> Iterator[bytes]:
    """Yield an instance as a DICOM file; the last piece is held until the digest has been found right."""
    made = (
        context.archive.chunks(instance) if is_for_web(instance.transfer_syntax_uid) else _reencoded(context, instance)
    )
    return _withheld(made)


def _reencoded(context: ApiContext, instance: InstanceRecord) -> Iterator[bytes]:
    encoding = encoding_of(instance.transfer_syntax_uid)
    signed = is_signed(_reader(context, instance), encoding)
    yield write_meta(EXPLICIT_LITTLE_UID, instance.sop_class_uid, instance.sop_instance_uid, Origin(via="self"))
    checked = Checked(context.archive, instance)
    source = Source(checked, instance.size_bytes - instance.meta_bytes)
    yield from _gathered(explicit_little(source, encoding, signed=signed))
    checked.finish()


def _reader(context: ApiContext, instance: InstanceRecord) -> Callable[[int, int], bytes]:
    source = stored(context.archive, instance)
    return lambda offset, length: source.take(offset, max(0, min(length, source.size - offset)))


def _gathered(pieces: Iterable[bytes], least: int = 256 * 1024) -> Iterator[bytes]:
    """Yield larger pieces: a thread is crossed for each."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= least:
            yield bytes(held)
            held.clear()
    yield bytes(held)


def _withheld(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield each piece once the next one, or the end, has come without an error."""
    source = iter(pieces)
    held = next(source, b"")
    for piece in source:
        yield held
        held = piece
    yield held


def _stream(request: Request, pieces: Iterable[bytes], media_type: str, headers: dict[str, str]) -> Response:
    """Answer with `pieces`; what fails before the first of them is still a problem, later the answer is cut."""
    source = iter(pieces)
    first = next(source, b"")
    if request.method == "HEAD":
        return Response(media_type=media_type, headers=headers)
    return StreamingResponse(_crossing(chain([first], source)), media_type=media_type, headers=headers)


async def _crossing(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield `pieces`, each read in a thread of the pool."""
    while (piece := await run_in_threadpool(next, pieces, None)) is not None:
        yield piece


# ---------------------------------------------------------------------------------------------------- metadata
@router.api_route("/studies/{study}/metadata", methods=_METHODS)
def study_metadata(context: Context, request: Request, study: StudyPath) -> Response:
    """Retrieve the metadata of a study's instances."""
    return _metadata(context, request, _instances(context, study))


@router.api_route("/studies/{study}/series/{series}/metadata", methods=_METHODS)
def series_metadata(context: Context, request: Request, study: StudyPath, series: SeriesPath) -> Response:
    """Retrieve the metadata of a series' instances."""
    return _metadata(context, request, _instances(context, study, series))


@router.api_route("/studies/{study}/series/{series}/instances/{instance}/metadata", methods=_METHODS)
def instance_metadata(
    context: Context, request: Request, study: StudyPath, series: SeriesPath, instance: InstancePath
) -> Response:
    """Retrieve the metadata of one instance, in an array of one."""
    return _metadata(context, request, _instances(context, study, series, instance))


def _metadata(context: ApiContext, request: Request, found: list[InstanceRecord]) -> Response:
    media_type = media.choose(request, (media.DICOM_JSON, media.JSON)).offer
    models = (orjson.dumps(_model(context, one)) for one in found)
    return _stream(request, _array(models), media_type, {})


def _array(items: Iterator[bytes]) -> Iterator[bytes]:
    yield b"[" + next(items)
    yield from (b"," + item for item in items)
    yield b"]"


def _model(context: ApiContext, instance: InstanceRecord) -> dict[str, object]:
    encoding = encoding_of(instance.transfer_syntax_uid)
    signed = not is_for_web(instance.transfer_syntax_uid) and is_signed(_reader(context, instance), encoding)
    model = as_model(stored(context.archive, instance), encoding, bulk_url=_bulk_url(context, instance), signed=signed)
    tag, available = element("AvailableTransferSyntaxUID", _leaves_as(instance))
    return dict(sorted({**model, tag: available}.items()))


# ---------------------------------------------------------------------------------------------------- bulk data
@router.api_route("/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path:path}", methods=_METHODS)
def retrieve_bulk(
    context: Context, request: Request, study: StudyPath, series: SeriesPath, instance: InstancePath, *, path: str
) -> Response:
    """Retrieve one value's bytes, as a BulkDataURI of the metadata names it.

    Native values come in little endian order; encapsulated pixel data as it is kept, items and all.
    """
    one = _instances(context, study, series, instance)[0]
    choice = media.choose(request, (_VALUES, media.OCTETS))
    encoding, source = encoding_of(one.transfer_syntax_uid), stored(context.archive, one)
    signed = is_signed(_reader(context, one), encoding)
    step = find(walk(source, encoding, signed=signed), tuple(path.split("/"))) if _BULK_PATH.fullmatch(path) else None
    if step is None:
        raise CatalogueUnknown("the instance has no value at this path")
    pieces = _value(context, one, source, step)
    if choice.offer == media.OCTETS:
        return _stream(request, pieces, media.OCTETS, {"Content-Length": str(step.length)})
    body = Related(media.OCTETS)
    part = body.part(
        f"{media.OCTETS}; transfer-syntax={_leaves_as(one)}",
        pieces,
        location=f"{_bulk_url(context, one)}/{path}",
    )
    return _stream(request, chain(part, _last(body)), body.media_type, {})


def _value(context: ApiContext, instance: InstanceRecord, source: Source, step: Step) -> Iterable[bytes]:
    """Yield a value's bytes; one that is most of its object is read with the rest of it, to check the digest."""
    if source.size != instance.size_bytes - instance.meta_bytes or step.length * 2 < source.size:
        return _value_of(source, step)
    checked = Checked(context.archive, instance)
    return _withheld(_finished(_value_of(Source(checked, source.size), step), checked))


def _value_of(source: Source, step: Step) -> Iterable[bytes]:
    if step.kind is Kind.ENCAPSULATED:
        return source.pieces(step.start, step.length)
    return value_pieces(source, step)


def _finished(pieces: Iterable[bytes], checked: Checked) -> Iterator[bytes]:
    yield from pieces
    checked.finish()


def _bulk_url(context: ApiContext, instance: InstanceRecord) -> str:
    study, series = instance.study_instance_uid, instance.series_instance_uid
    return f"{context.dicomweb_url}/studies/{study}/series/{series}/instances/{instance.sop_instance_uid}/bulkdata"

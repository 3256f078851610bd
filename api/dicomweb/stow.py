"""STOW-RS: store instances through the same ingest as the gateway (PS3.18 10.5)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import orjson
from anyio import CapacityLimiter, fail_after, from_thread, to_thread
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from api.context import ApiContext, Context
from api.crossorigin import ROOT
from api.dicomweb import media
from api.dicomweb.composed import composition, named
from api.dicomweb.described import answers
from api.dicomweb.model import DataSet, Element, element
from api.dicomweb.multipart import Part, boundary_of, parts
from api.dicomweb.native import as_xml
from api.dicomweb.parameters import STORED
from api.errors import ApiError, BodyIncomplete, BodyRejected, MediaTypeUnsupported, SendersBusy
from api.problems import RETRY_AFTER_S
from api.uids import StudyPath
from pacs_gateway import status
from pacs_gateway.errors import HeaderRejected, InstanceTooLarge, Part10Rejected
from pacs_gateway.header import is_uid
from pacs_gateway.ingest import Ingest, Reception
from pacs_gateway.part10 import Piece, read_meta
from storage.errors import StorageError, Unavailable
from storage.records import Arrival, Header, Origin, StudyUid, Verdict

if TYPE_CHECKING:
    from types import TracebackType

    from storage.archive import Archive
    from storage.spool import Spool

router = APIRouter(prefix=ROOT, tags=["dicomweb"], default_response_class=Response)

AT_ONCE: Final = 16
"""Requests that are being stored; further ones wait without a thread, so that nothing else waits for them."""

MAX_WAITING: Final = 256
"""Requests that wait for that; further ones are told to come again."""

SILENCE_S: Final = 30
SLOW_START_S: Final = 60
LEAST_BYTES_PER_S: Final = 1024
CHUNK: Final = 256 * 1024
AHEAD: Final = 2
"""Instances of one request that are received and wait to be kept."""

STUDY_MISMATCH: Final = 0xC409
"""Failure reason of ours: the instance belongs to another study than the one that is posted to."""


_RESPONSES: Final = (media.DICOM_JSON, media.JSON, media.DICOM_XML)
_PROBLEM: Final = "application/problem+json"
_ANSWERS: Final = answers(*_RESPONSES, problems=(403, 406, 415)) | {
    code: {"description": meaning, "content": {name: {} for name in (*_RESPONSES, _PROBLEM)}}
    for code, meaning in (
        (202, "Some instances were stored"),
        (400, "None was stored: nothing that is an instance"),
        (409, "None was stored: they conflict, or cannot be kept"),
        (413, "None was stored: longer than is taken"),
        (503, "None was stored: come again"),
    )
}


@router.post("/studies", responses=_ANSWERS, openapi_extra=STORED)
async def store(context: Context, request: Request) -> Response:
    """Store instances of any study."""
    return await _in_place(context, request, None)


@router.post("/studies/{study}", responses=_ANSWERS, openapi_extra=STORED)
async def store_in_study(context: Context, request: Request, study: StudyPath) -> Response:
    """Store instances of one study; those of another fail."""
    return await _in_place(context, request, study)


async def _in_place(context: ApiContext, request: Request, study: StudyUid | None) -> Response:
    places: CapacityLimiter = request.app.state.stow_places
    if places.statistics().tasks_waiting >= MAX_WAITING:
        raise SendersBusy
    return await to_thread.run_sync(_store, context, request, study, limiter=places)


class StudyMismatch(ApiError):
    """The instance belongs to another study than the one that is posted to."""

    def __init__(self, header: Header) -> None:
        super().__init__()
        self.header = header


class _OneStudy:
    """An archive that takes instances of one study only."""

    def __init__(self, archive: Archive, study: StudyUid) -> None:
        self._archive = archive
        self._study = study
        self.spool_folder: Path = archive.spool_folder

    def admit(self) -> None:
        """Pass the question on."""
        self._archive.admit()

    def keep(self, spool: Spool, arrival: Arrival) -> Verdict:
        """Keep an instance of the study, refuse any other."""
        if arrival.header.study_instance_uid != self._study:
            raise StudyMismatch(arrival.header)
        return self._archive.keep(spool, arrival)

    def release(self, study_uids: Iterable[StudyUid]) -> None:
        """Pass the evidence on."""
        self._archive.release(study_uids)


_Named = tuple[str, str]
"""SOP Class and SOP Instance UID of a part."""


@dataclass(slots=True)
class _Tally:
    """What became of the parts of one request."""

    base_url: str
    stored: list[tuple[Header, int]] = field(default_factory=list)
    """Instances, each with its Warning Reason or 0."""
    hidden: set[str] = field(default_factory=set)
    """SOP Instance UIDs of those that are kept and cannot be retrieved."""
    failed: list[tuple[_Named, int]] = field(default_factory=list)
    other: list[int] = field(default_factory=list)
    """Failure reasons of parts whose UIDs could not be read."""
    errors: list[type[Exception]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.stored or self.failed or self.other)

    def note(self, header: Header, answer: status.Status, verdict: Verdict) -> None:
        if answer.code and answer.code not in _WARNINGS:
            self.failed.append((_named(header), answer.code))
        else:
            self.stored.append((header, answer.code))
        if verdict is Verdict.HIDDEN:
            self.hidden.add(header.sop_instance_uid)

    def note_error(self, error: HeaderRejected | StorageError, named: _Named | None) -> None:
        self.errors.append(type(error))
        reason = status.for_error(error).code
        if named is None:
            self.other.append(reason)
        else:
            self.failed.append((named, reason))

    def studies(self) -> list[StudyUid]:
        return sorted({header.study_instance_uid for header, _ in self.stored})


_WARNINGS: Final = frozenset({0xB000, 0xB006, 0xB007})
"""Warning Reasons: the instance is stored all the same (PS3.18 I.2.2)."""


def _named(header: Header) -> _Named:
    return header.sop_class_uid, header.sop_instance_uid


class _Head:
    """The first bytes of a file on its way in, so that one that fails can be named."""

    def __init__(self) -> None:
        self._held = bytearray()

    def through(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Pass the pieces on."""
        for piece in pieces:
            if len(self._held) < _HEAD_BYTES:
                self._held += piece[:_HEAD_BYTES]
            yield piece

    def named(self) -> _Named | None:
        """Return what the file meta information names, None where it names no instance."""
        try:
            meta = read_meta(self._held)
        except Part10Rejected:
            return None
        named = meta.sop_class_uid, meta.sop_instance_uid
        return named if all(map(is_uid, named)) else None


_HEAD_BYTES: Final = 4096


def _store(context: ApiContext, request: Request, study: StudyUid | None) -> Response:
    offer = media.choose(request, (media.DICOM_JSON, media.JSON, media.DICOM_XML)).offer
    content = _content(request)
    ingest = context.ingest
    if study is not None:
        ingest = Ingest(_OneStudy(context.archive, study), on_conflict=context.ingest.on_conflict)
    origin = Origin(via="stow", address=request.client.host if request.client else "")
    tally = _Tally(base_url=context.dicomweb_url)
    try:
        with _Lane(ingest, origin, tally) as lane:
            if content.root in _METADATA:
                _compose(context, request, content, lane.take)
            else:
                for pieces in _files(request, content):
                    lane.take(pieces)
    except BodyRejected as error:
        if tally.is_empty:
            raise
        tally.errors.append(type(error))
        tally.other.append(0xC000)
    else:
        if tally.is_empty:
            raise BodyRejected("the body holds no part")
        context.ingest.release(tally.studies())
    return _answer(tally, offer)


def _compose(
    context: ApiContext,
    request: Request,
    content: media.MediaType,
    keep: Callable[[Iterator[Piece], _Named | None], None],
) -> None:
    """Keep the instances that metadata and bulk data make, once the whole body has come."""
    context.archive.admit()
    with composition(context.archive.spool_folder) as made:
        for part in parts(_chunks(request.stream()), boundary_of(content)):
            made.add(part)
        if not made.models:
            raise BodyRejected("the body holds no metadata")
        for model in made.models:
            keep(made.instance(model), named(model))


class _Lane:
    """The instances of one request: while one is made durable, in a thread of its own, the next is received.

    They are kept and told of in the order in which they came.
    """

    def __init__(self, ingest: Ingest, origin: Origin, tally: _Tally) -> None:
        self._ingest = ingest
        self._origin = origin
        self._tally = tally
        self._keeper = ThreadPoolExecutor(1, "stow-keeper")
        self._kept: deque[tuple[Future[tuple[Verdict, Header]], _Named | None]] = deque()

    def take(self, pieces: Iterator[Piece], name: _Named | None = None) -> None:
        """Receive an instance and have it kept; `name` is what one is called that cannot be read."""
        kept: Future[tuple[Verdict, Header]] = Future()
        head = _Head()
        try:
            reception = self._ingest.receive_part10(head.through(pieces), self._origin)
        except (HeaderRejected, StorageError) as error:
            kept.set_exception(error)
        else:
            kept = self._keeper.submit(_finish, reception)
        self._kept.append((kept, name or head.named()))
        while len(self._kept) > AHEAD:
            self._note(*self._kept.popleft())

    def _note(self, kept: Future[tuple[Verdict, Header]], name: _Named | None) -> None:
        try:
            verdict, header = kept.result()
        except StudyMismatch as error:
            self._tally.failed.append((_named(error.header), STUDY_MISMATCH))
        except (HeaderRejected, StorageError) as error:
            self._tally.note_error(error, name)
        else:
            answer = status.for_verdict(verdict, self._ingest.on_conflict(self._origin))
            self._tally.note(header, answer, verdict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what has come whole, also where the rest of the body has not."""
        with self._keeper:
            while self._kept:
                self._note(*self._kept.popleft())


def _finish(reception: Reception) -> tuple[Verdict, Header]:
    with reception:
        return reception.finish(), reception.header


# ------------------------------------------------------------------------------------------------------ the body
_METADATA: Final = frozenset({media.DICOM_JSON, media.DICOM_XML})


def _content(request: Request) -> media.MediaType:
    """Return what a body is; `MediaTypeUnsupported` where it is not taken."""
    named = media.parse(request.headers.get("content-type", ""))
    content = named[0] if named else media.MediaType(name="")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise MediaTypeUnsupported("a compressed body is not taken")
    is_multipart = content.name == media.MULTIPART and content.root in {"", media.DICOM, *_METADATA}
    if not (is_multipart or content.name == media.DICOM):
        taken = ", ".join((media.DICOM, *sorted(_METADATA)))
        raise MediaTypeUnsupported(f"send {media.MULTIPART} of one of {taken}, or {media.DICOM} alone")
    return content


def _files(request: Request, content: media.MediaType) -> Iterator[Iterator[Piece]]:
    """Yield the DICOM files of a body: the parts of a multipart, or the body itself."""
    chunks = _chunks(request.stream())
    if content.name == media.DICOM:
        return iter([chunks])
    return map(_file, parts(chunks, boundary_of(content)))


def _file(part: Part) -> Iterator[Piece]:
    declared = media.parse(part.headers.get("content-type", media.DICOM))
    return part.pieces if declared and declared[0].name == media.DICOM else _foreign()


def _foreign() -> Iterator[Piece]:
    """Fail as a file that is none: the part says itself that it is something else."""
    yield b""
    raise Part10Rejected(f"the part is not {media.DICOM}")


def _chunks(stream: AsyncIterator[bytes]) -> Iterator[bytes]:
    """Yield a body in the thread that keeps it, which waits for each chunk.

    A sender that falls silent, or sends a byte now and then, is cut: it holds one of few places.
    """
    started, received = time.monotonic(), 0
    while chunk := _next(stream):
        yield chunk
        received += len(chunk)
        taken_s = time.monotonic() - started
        if taken_s > SLOW_START_S and received < taken_s * LEAST_BYTES_PER_S:
            raise BodyIncomplete(f"fewer than {LEAST_BYTES_PER_S} bytes a second came")


def _next(stream: AsyncIterator[bytes]) -> bytes:
    try:
        return from_thread.run(_take, stream)
    except CancelledError:
        raise BodyIncomplete("the server stops before the body has ended") from None


async def _take(stream: AsyncIterator[bytes]) -> bytes:
    """Return the next chunks together, empty at the body's end: crossing to a thread has its price."""
    taken: list[bytes] = []
    length = 0
    try:
        with fail_after(SILENCE_S):
            while length < CHUNK and (chunk := await anext(stream, None)) is not None:
                taken.append(chunk)
                length += len(chunk)
    except ClientDisconnect:
        raise BodyIncomplete("the connection ended before the body did") from None
    except TimeoutError:
        raise BodyIncomplete(f"nothing came for {SILENCE_S} s") from None
    return b"".join(taken)


# ------------------------------------------------------------------------------------------------------ the answer
def _answer(tally: _Tally, offer: str) -> Response:
    code = _status(tally)
    write = as_xml if offer == media.DICOM_XML else orjson.dumps
    return Response(write(_response(tally)), status_code=code, media_type=offer, headers=_headers(tally, code))


def _headers(tally: _Tally, code: HTTPStatus) -> dict[str, str] | None:
    """Say when to come again and, in words, why nothing could be taken (RFC 9111 5.5: Warning, as PS3.18 uses it)."""
    if code is not HTTPStatus.SERVICE_UNAVAILABLE:
        return None
    reason = next(error for error in tally.errors if issubclass(error, Unavailable))
    words = str(reason.__doc__).splitlines()[0]
    return {"Retry-After": str(RETRY_AFTER_S), "Warning": f'299 roi "{words}"'}


def _status(tally: _Tally) -> HTTPStatus:
    """Return the status of PS3.18 Table 10.5.3-1."""
    if tally.stored:
        is_clean = not (tally.failed or tally.other or any(warning for _, warning in tally.stored))
        return HTTPStatus.OK if is_clean else HTTPStatus.ACCEPTED
    if any(issubclass(error, Unavailable) for error in tally.errors):
        return HTTPStatus.SERVICE_UNAVAILABLE
    if any(issubclass(error, InstanceTooLarge) for error in tally.errors):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return HTTPStatus.CONFLICT if tally.failed else HTTPStatus.BAD_REQUEST


def _response(tally: _Tally) -> DataSet:
    """Return the Store Instances Response (PS3.18 I.2.2)."""
    found = tally.studies()
    url = f"{tally.base_url}/studies/{found[0]}" if len(found) == 1 else None
    sequences = {
        "ReferencedSOPSequence": [_stored(header, warning, tally) for header, warning in tally.stored],
        "FailedSOPSequence": [_failed(named, reason) for named, reason in tally.failed],
        "OtherFailuresSequence": [dict([element("FailureReason", reason)]) for reason in tally.other],
    }
    items = [_sequence(keyword, items) for keyword, items in sequences.items() if items]
    return dict(sorted([element("RetrieveURL", url), *items]))


def _sequence(keyword: str, items: list[DataSet]) -> tuple[str, Element]:
    tag, _ = element(keyword, None)
    return tag, {"vr": "SQ", "Value": items}


def _stored(header: Header, warning: int, tally: _Tally) -> DataSet:
    study, series, instance = header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid
    told = [element("WarningReason", warning)] if warning else []
    if instance not in tally.hidden:
        url = f"{tally.base_url}/studies/{study}/series/{series}/instances/{instance}"
        told = [element("RetrieveURL", url), *told]
    return {**_reference(_named(header)), **dict(told)}


def _failed(named: _Named, reason: int) -> DataSet:
    return {**_reference(named), **dict([element("FailureReason", reason)])}


def _reference(named: _Named) -> DataSet:
    sop_class, sop_instance = named
    return dict(
        [element("ReferencedSOPClassUID", sop_class), element("ReferencedSOPInstanceUID", sop_instance)],
    )

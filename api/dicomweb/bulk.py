"""WADO-RS bulk data: one value's bytes, as a BulkDataURI of the metadata names it (PS3.18 10.4.1.1.5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from api.answers import unchanged
from api.context import ApiContext, Context
from api.crossorigin import ROOT
from api.dicomweb import media
from api.dicomweb.described import answers
from api.dicomweb.explicit import value_pieces
from api.dicomweb.kept import bulk_url, instances_of, leaves_as, signed
from api.dicomweb.model import find, is_bulk, placed
from api.dicomweb.multipart import Related
from api.dicomweb.ranges import Whole, partial
from api.dicomweb.source import Checked, Source, stored
from api.dicomweb.streams import stream, strong_tag, withheld
from api.dicomweb.walk import Kind, Step, walk
from api.uids import InstancePath, SeriesPath, StudyPath
from pacs_gateway.elements import encoding_of
from storage.errors import CatalogueUnknown

if TYPE_CHECKING:
    from storage.records import InstanceRecord

router = APIRouter(prefix=ROOT, tags=["dicomweb"], default_response_class=Response)

VALUES: Final = f'{media.MULTIPART}; type="{media.OCTETS}"'
_PATH: Final = re.compile(r"([0-9A-F]{8}/\d{1,6}/)*[0-9A-F]{8}")
ValuePath = Annotated[str, Path(json_schema_extra={"pattern": "^[0-9A-F]{8}$"})]
"""Told for a value outside of sequences; `_PATH` is what is taken."""
_ANSWERS: Final = answers(
    VALUES, media.OCTETS, problems=(404, 406, 416), also={206: "Partial Content", 304: "Not Modified"}
)
_ALL: Final = answers(VALUES, problems=(404, 406), also={304: "Not Modified"})
_METHODS: Final = ["GET", "HEAD"]
_LONGEST_UNIT: Final = 8


@router.api_route(
    "/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path:path}",
    methods=_METHODS,
    responses=_ANSWERS,
)
def retrieve_bulk(
    context: Context, request: Request, study: StudyPath, series: SeriesPath, instance: InstancePath, *, path: ValuePath
) -> Response:
    """Retrieve one value's bytes.

    Native values come in little endian order; encapsulated pixel data as it is kept, items and all.
    """
    one = instances_of(context, study, series, instance)[0]
    choice = media.choose(request, (VALUES, media.OCTETS))
    tag = strong_tag(context, choice.offer, [one], path)
    source = stored(context.archive, one)
    step = _step(context, one, source, path)
    held = unchanged(request, tag)
    if held is not None:
        return held
    pieces = _value(context, one, source, step)
    if choice.offer == VALUES:
        body = Related(media.OCTETS, tag)
        declared = f"{media.OCTETS}; transfer-syntax={leaves_as(one)}"
        part = body.part(declared, pieces, location=f"{bulk_url(context, one)}/{path}")
        return stream(request, chain(part, body.last()), body.media_type, {"ETag": tag})
    headers = {"ETag": tag, "Content-Length": str(step.length), "Accept-Ranges": "bytes"}
    whole = Whole(size=step.length, media_type=media.OCTETS, tag=tag, read=_Span(source, step))
    return partial(request, whole, headers) or stream(request, pieces, media.OCTETS, headers)


# --------------------------------------------------------------------------------------------------- all of many
@router.api_route("/studies/{study}/bulkdata", methods=_METHODS, responses=_ALL)
def retrieve_study_bulk(context: Context, request: Request, study: StudyPath) -> Response:
    """Retrieve every bulk value of a study."""
    return all_values(context, request, instances_of(context, study))


@router.api_route("/studies/{study}/series/{series}/bulkdata", methods=_METHODS, responses=_ALL)
def retrieve_series_bulk(context: Context, request: Request, study: StudyPath, series: SeriesPath) -> Response:
    """Retrieve every bulk value of a series."""
    return all_values(context, request, instances_of(context, study, series))


@router.api_route("/studies/{study}/series/{series}/instances/{instance}/bulkdata", methods=_METHODS, responses=_ALL)
def retrieve_instance_bulk(
    context: Context, request: Request, study: StudyPath, series: SeriesPath, instance: InstancePath
) -> Response:
    """Retrieve every bulk value of an instance: those that its metadata give as a BulkDataURI."""
    return all_values(context, request, instances_of(context, study, series, instance))


def all_values(context: ApiContext, request: Request, found: list[InstanceRecord]) -> Response:
    """Answer with every bulk value of instances; `CatalogueUnknown` where there is none."""
    tag = strong_tag(context, media.choose(request, (VALUES,)).offer, found, "bulkdata")
    held = unchanged(request, tag)
    if held is not None:
        return held
    body = Related(media.OCTETS, tag)
    parts = chain.from_iterable(_parts(context, body, one) for one in found)
    first = next(parts, None)
    if first is None:
        raise CatalogueUnknown("there is no bulk data here")
    pieces = chain(first, chain.from_iterable(parts), body.last())
    return stream(request, pieces, body.media_type, {"ETag": tag})


def _parts(context: ApiContext, body: Related, one: InstanceRecord) -> Iterator[Iterator[bytes]]:
    """Yield a part for each bulk value of an instance; its values are read apart from the walk."""
    steps = walk(
        stored(context.archive, one), encoding_of(one.transfer_syntax_uid), signed=signed(context.archive, one)
    )
    declared = f"{media.OCTETS}; transfer-syntax={leaves_as(one)}"
    for path, step in placed(steps):
        if is_bulk(step):
            pieces = _value(context, one, stored(context.archive, one), step)
            yield body.part(declared, pieces, location="/".join((bulk_url(context, one), *path)))


# ------------------------------------------------------------------------------------------------------- one value
def _step(context: ApiContext, one: InstanceRecord, source: Source, path: str) -> Step:
    """Return where a value lies; `CatalogueUnknown` where there is none at this path."""
    found = None
    if _PATH.fullmatch(path):
        steps = walk(source, encoding_of(one.transfer_syntax_uid), signed=signed(context.archive, one))
        found = find(steps, tuple(path.split("/")))
    if found is None:
        raise CatalogueUnknown("the instance has no value at this path")
    return found


def _value(context: ApiContext, instance: InstanceRecord, source: Source, step: Step) -> Iterable[bytes]:
    """Yield a value's bytes; one that is most of its object is read with the rest of it, to check the digest."""
    if source.size != instance.size_bytes - instance.meta_bytes or step.length * 2 < source.size:
        return _value_of(source, step)
    checked = Checked(context.archive, instance)
    return withheld(_finished(_value_of(Source(checked, source.size), step), checked))


def _value_of(source: Source, step: Step) -> Iterable[bytes]:
    if step.kind is Kind.ENCAPSULATED:
        return source.pieces(step.start, step.length)
    return value_pieces(source, step)


def _finished(pieces: Iterable[bytes], checked: Checked) -> Iterator[bytes]:
    yield from pieces
    checked.finish()


class _Span:
    """A part of a value; the digest cannot be checked with a part."""

    def __init__(self, source: Source, step: Step) -> None:
        self._source = source
        self._step = step

    def __call__(self, start: int, length: int) -> Iterator[bytes]:
        """Yield `length` bytes from `start`, read in whole units of the VR: their order may have to be turned."""
        over = start % _LONGEST_UNIT
        end = min(self._step.length, -(-(start + length) // _LONGEST_UNIT) * _LONGEST_UNIT)
        begin = start - over
        aligned = self._step._replace(start=self._step.start + begin, length=end - begin)
        for piece in _value_of(self._source, aligned):
            part = piece[over : over + length]
            over = max(0, over - len(piece))
            length -= len(part)
            if part:
                yield part

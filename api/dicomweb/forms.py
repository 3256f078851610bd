"""Data sets as a client wants them: DICOM JSON, or DICOM XML in parts (PS3.18 8.7.3.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

import orjson
from fastapi import Response

from api.dicomweb import compression, media
from api.dicomweb.multipart import Related
from api.dicomweb.native import as_xml
from api.dicomweb.streams import gathered, stream

if TYPE_CHECKING:
    from fastapi import Request

    from api.dicomweb.model import DataSet

XML_PARTS: Final = f'{media.MULTIPART}; type="{media.DICOM_XML}"'
FORMS: Final = (media.DICOM_JSON, media.JSON, XML_PARTS)


def give(request: Request, offer: str, models: Iterable[DataSet], tag: str = "") -> Response:
    """Answer with data sets, made one at a time as they leave; squeezed where that is wanted.

    `tag` names these very bytes, or nothing does.
    """
    pieces, headers, media_type = _made(request, offer, models, tag)
    return stream(request, gathered(pieces), media_type, headers)


def give_text(request: Request, offer: str, pieces: Iterable[bytes | compression.Squeezed], tag: str) -> Response:
    """Answer with JSON text that is made, or was made before, and perhaps squeezed."""
    headers = {"ETag": tag}
    if compression.wanted(request):
        return stream(request, gathered(compression.gzipped(pieces)), offer, headers | compression.GZIP)
    return stream(request, gathered(compression.plain(pieces)), offer, headers)


def give_at_once(request: Request, offer: str, models: Sequence[DataSet]) -> Response:
    """Answer with a few data sets."""
    pieces, headers, media_type = _made(request, offer, models, "")
    return Response(b"".join(pieces), media_type=media_type, headers=headers)


def give_answers(request: Request, offer: str, answers: Iterable[Sequence[bytes]]) -> Response:
    """Answer with the data sets of a search, whose attributes are JSON already."""
    text = b"[%b]" % b",".join([b"{%b}" % b",".join(attributes) for attributes in answers])
    if offer == XML_PARTS:
        return give_at_once(request, offer, orjson.loads(text))
    pieces, headers = _squeezed(request, [text], {})
    return Response(b"".join(pieces), media_type=offer, headers=headers)


def _made(
    request: Request, offer: str, models: Iterable[DataSet], tag: str
) -> tuple[Iterable[bytes], dict[str, str], str]:
    headers = {"ETag": tag} if tag else {}
    if offer != XML_PARTS:
        return *_squeezed(request, _as_array(models), headers), offer
    body = Related(media.DICOM_XML, tag)
    return *_squeezed(request, _as_parts(body, models), headers), body.media_type


def _squeezed(
    request: Request, pieces: Iterable[bytes], headers: dict[str, str]
) -> tuple[Iterable[bytes], dict[str, str]]:
    if not compression.wanted(request):
        return pieces, headers
    return compression.gzipped(pieces), headers | compression.GZIP


def _as_array(models: Iterable[DataSet]) -> Iterator[bytes]:
    opening = b"["
    for model in models:
        yield opening + orjson.dumps(model)
        opening = b","
    yield b"]" if opening == b"," else b"[]"


def _as_parts(body: Related, models: Iterable[DataSet]) -> Iterator[bytes]:
    return chain(chain.from_iterable(body.part(media.DICOM_XML, [as_xml(model)]) for model in models), body.last())

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
    pieces, media_type, headers = _made(request, offer, models, tag)
    return stream(request, gathered(pieces), media_type, headers)


def give_text(request: Request, offer: str, pieces: Iterable[bytes | compression.Squeezed], tag: str) -> Response:
    """Answer with JSON text that is made, or was made before, and perhaps squeezed."""
    headers = {"ETag": tag}
    if compression.wanted(request):
        return stream(request, gathered(compression.gzipped(pieces)), offer, headers | compression.GZIP)
    return stream(request, gathered(compression.plain(pieces)), offer, headers)


def give_at_once(request: Request, offer: str, models: Sequence[DataSet]) -> Response:
    """Answer with the few data sets of a search."""
    pieces, media_type, headers = _made(request, offer, models, "")
    return Response(b"".join(pieces), media_type=media_type, headers=headers)


def _made(
    request: Request, offer: str, models: Iterable[DataSet], tag: str
) -> tuple[Iterable[bytes], str, dict[str, str]]:
    body = Related(media.DICOM_XML, tag)
    pieces: Iterable[bytes] = _as_parts(body, models) if offer == XML_PARTS else _as_array(models)
    headers = {"ETag": tag} if tag else {}
    if compression.wanted(request):
        pieces, headers = compression.gzipped(pieces), headers | compression.GZIP
    return pieces, body.media_type if offer == XML_PARTS else offer, headers


def _as_array(models: Iterable[DataSet]) -> Iterator[bytes]:
    opening = b"["
    for model in models:
        yield opening + orjson.dumps(model)
        opening = b","
    yield b"]" if opening == b"," else b"[]"


def _as_parts(body: Related, models: Iterable[DataSet]) -> Iterator[bytes]:
    return chain(chain.from_iterable(body.part(media.DICOM_XML, [as_xml(model)]) for model in models), body.last())

"""Range: parts of an answer whose length is known (RFC 9110 14), a few of them at most (R-52)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Final

from api import problems
from api.dicomweb.streams import stream

if TYPE_CHECKING:
    from fastapi import Request, Response

MAX_RANGES: Final = 8
_UNIT: Final = "bytes="
_ASKED: Final = re.compile(r"\s*(\d{0,18})-(\d{0,18})\s*")

Read = Callable[[int, int], Iterable[bytes]]
"""(start, length) -> those bytes of the whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    """What ranges are parts of."""

    size: int
    media_type: str
    tag: str
    read: Read


def partial(request: Request, whole: Whole, headers: Mapping[str, str]) -> Response | None:
    """Return 206 or 416 to a request with a Range; None where the whole is to be given.

    That is so for another unit, for what is malformed, for ranges that together are longer than the whole, and where
    If-Range names what has changed.
    """
    text = request.headers.get("range", "")
    if request.method != "GET" or not text.startswith(_UNIT) or request.headers.get("if-range", whole.tag) != whole.tag:
        return None
    asked = [_ASKED.fullmatch(part) for part in islice(text.removeprefix(_UNIT).split(","), MAX_RANGES + 1)]
    if len(asked) > MAX_RANGES:
        return _refused(request, whole, f"more than {MAX_RANGES} ranges")
    spans: list[tuple[int, int]] = []
    for part in asked:
        if part is None or part[0].strip() == "-" or (part[1] and part[2] and int(part[1]) > int(part[2])):
            return None
        spans += _span(part[1], part[2], whole.size)
    if not spans:
        return _refused(request, whole, f"no range lies within {whole.size} bytes")
    if len(spans) > 1 and sum(length for _, length in spans) > whole.size:
        return None
    return _answer(request, whole, spans, headers)


def _span(first: str, last: str, size: int) -> list[tuple[int, int]]:
    """Return start and length of one range; nothing where it lies outside."""
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    return [(start, end - start)] if start < end else []


def _answer(request: Request, whole: Whole, spans: list[tuple[int, int]], headers: Mapping[str, str]) -> Response:
    kept = {name: value for name, value in headers.items() if name != "Content-Length"}
    if len(spans) > 1:
        boundary = secrets.token_hex(16)
        media_type = f"multipart/byteranges; boundary={boundary}"
        return stream(request, _parts(whole, spans, boundary), media_type, kept, status=HTTPStatus.PARTIAL_CONTENT)
    ((start, length),) = spans
    told = {**kept, "Content-Range": _named(start, length, whole), "Content-Length": str(length)}
    return stream(request, whole.read(start, length), whole.media_type, told, status=HTTPStatus.PARTIAL_CONTENT)


def _parts(whole: Whole, spans: list[tuple[int, int]], boundary: str) -> Iterator[bytes]:
    for start, length in spans:
        head = (
            f"--{boundary}\r\nContent-Type: {whole.media_type}\r\nContent-Range: {_named(start, length, whole)}\r\n\r\n"
        )
        yield head.encode()
        yield from whole.read(start, length)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _named(start: int, length: int, whole: Whole) -> str:
    return f"bytes {start}-{start + length - 1}/{whole.size}"


def _refused(request: Request, whole: Whole, detail: str) -> Response:
    headers = {"Content-Range": f"bytes */{whole.size}"}
    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    return problems.respond(status, detail, problems.request_id_of(request), headers=headers)

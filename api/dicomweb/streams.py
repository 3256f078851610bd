"""Answers that leave in pieces: read in a thread, checked before the first byte, cut where they cannot be whole."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Final

import orjson
from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

if TYPE_CHECKING:
    from fastapi import Request

    from api.context import ApiContext
    from storage.records import InstanceRecord, NamedInstance

_BATCH: Final = 1024 * 1024
_SMALL: Final = 16 * 1024


def stream(
    request: Request, pieces: Iterable[bytes], media_type: str, headers: Mapping[str, str], *, status: int = 200
) -> Response:
    """Answer with `pieces`; what fails before the first of them is still a problem, later the answer is cut.

    HEAD is told what GET would be, and no length where GET would not know it either (RFC 9110 9.3.2).
    """
    source = iter(pieces)
    first = next(source, b"")
    if request.method != "HEAD":
        body = _crossing(chain([first], source))
        return StreamingResponse(body, status_code=status, media_type=media_type, headers=headers)
    answer = Response(status_code=status, media_type=media_type, headers=dict(headers))
    if "Content-Length" not in headers:
        del answer.headers["content-length"]
    return answer


async def _crossing(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield `pieces`, read in a thread of the pool, some at a time, the next while these are on their way out."""
    batches = _Batches(pieces)
    ahead = asyncio.ensure_future(run_in_threadpool(batches.next))
    try:
        while batch := await ahead:
            ahead = asyncio.ensure_future(run_in_threadpool(batches.next))
            for piece in batch:
                yield piece
    finally:  # where the client has gone, nobody asks what has become of it
        ahead.add_done_callback(lambda task: task.cancelled() or task.exception())
        ahead.cancel()


class _Batches:
    """Pieces, enough of them at a time that crossing to a thread costs little."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._error: Exception | None = None

    def next(self) -> list[bytes]:
        """Return the next pieces, none at the end; an error comes after the pieces that were read before it."""
        if self._error is not None:
            raise self._error
        batch: list[bytes] = []
        small: list[bytes] = []  # heads and ends of parts go out together: each piece costs a call of the server
        size = 0
        try:
            for piece in self._pieces:
                size += len(piece)
                if len(piece) < _SMALL:
                    small.append(piece)
                else:
                    batch += [b"".join(small), piece] if small else [piece]
                    small = []
                if size >= _BATCH:
                    break
        except Exception as error:
            if not size:
                raise
            self._error = error
        return [*batch, b"".join(small)] if small else batch


def gathered(pieces: Iterable[bytes], least: int = 256 * 1024) -> Iterator[bytes]:
    """Yield larger pieces: a thread is crossed for each."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= least:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def withheld(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield each piece once the next one, or the end, has come without an error."""
    source = iter(pieces)
    held = next(source, b"")
    for piece in source:
        yield held
        held = piece
    yield held


def strong_tag(context: ApiContext, form: str, instances: Iterable[InstanceRecord | NamedInstance], *parts: str) -> str:
    """Return the strong ETag of what `instances` make in a form (RFC 9110 8.8.1).

    The objects are named by their content, so equal tags are equal bytes: for one version of the program and one
    public address, which stands in links.
    """
    kept = [(one.object_key, one.meta_bytes, one.transfer_syntax_uid, one.sop_instance_uid) for one in instances]
    said = orjson.dumps([context.server_version, context.public_base_url, form, parts, kept])
    return f'"{hashlib.blake2b(said, digest_size=16).hexdigest()}"'

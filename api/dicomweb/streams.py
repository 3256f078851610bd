"""Answers that leave in pieces: read in a thread, checked before the first byte, cut where they cannot be whole."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol

import orjson
from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.answers import location

if TYPE_CHECKING:
    from fastapi import Request

    from api.context import ApiContext
    from storage.records import InstanceRecord, NamedInstance

BATCH: Final = 1024 * 1024
_SMALL: Final = 16 * 1024

Piece = bytes | memoryview
"""A part of an answer on its way out."""


class Batches(Protocol):
    """Pieces of an answer, some at a time.  Used by one thread at a time.

    An error comes after the pieces that were read before it.
    """

    waits: bool
    """Whether the next batch is likely to be waited for: it is then read while the last one leaves."""

    def next(self) -> list[Piece]:
        """Return the next pieces, none at the end; may wait, for a disk or for another computer."""
        ...

    def at_once(self) -> list[Piece] | None:
        """Return the next pieces as `next` does if that takes no waiting, None where it does."""
        ...

    def close(self) -> None:
        """Let go of what is open, also before the end."""
        ...


def stream(
    request: Request, pieces: Iterable[Piece], media_type: str, headers: Mapping[str, str], *, status: int = 200
) -> Response:
    """Answer with `pieces`; what fails before the first of them is still a problem, later the answer is cut.

    HEAD is told what GET would be, and no length where GET would not know it either (RFC 9110 9.3.2).
    """
    source = iter(pieces)
    first = next(source, b"")
    wanted = source if request.method != "HEAD" else iter(())  # no more is made than tells whether it can be
    return in_batches(request, Crossing(chain([first], wanted)), media_type, headers, status=status)


def in_batches(
    request: Request, batches: Batches, media_type: str, headers: Mapping[str, str], *, status: int = 200
) -> Response:
    """Answer as `stream` does."""
    headers = {**location(request), **headers}
    try:
        first = batches.next()
    except BaseException:
        batches.close()
        raise
    if request.method != "HEAD":
        body = _leaving(batches, first)
        return StreamingResponse(body, status_code=status, media_type=media_type, headers=headers)
    batches.close()
    answer = Response(status_code=status, media_type=media_type, headers=dict(headers))
    if "Content-Length" not in headers:
        del answer.headers["content-length"]
    return answer


async def _leaving(batches: Batches, batch: list[Piece]) -> AsyncIterator[Piece]:
    """Yield the pieces of `batch` and of those that follow it.

    What would be waited for is read in a thread of the pool, the next while the last is on its way out; what takes no
    waiting is read here when it is due: going to a thread and back costs more than the reading, and moves the bytes to
    another processor.
    """
    ahead: asyncio.Future[list[Piece]] | None = None
    try:
        while batch:
            if batches.waits:
                ahead = _in_thread(batches)
            for piece in batch:
                yield piece
            at_once = batches.at_once() if ahead is None else None
            if at_once is not None:
                batch = at_once
                await asyncio.sleep(0)  # the others' turn: a client that reads fast enough never makes us wait
                continue
            ahead = ahead or _in_thread(batches)
            batch = await ahead
            ahead = None
    finally:
        if ahead is None:
            batches.close()
        else:  # the client has gone, and nobody asks what has become of it
            ahead.add_done_callback(partial(_given_up, batches))
            ahead.cancel()


def _given_up(batches: Batches, ahead: asyncio.Future[list[Piece]]) -> None:
    if not ahead.cancelled():
        ahead.exception()
    batches.close()


def _in_thread(batches: Batches) -> asyncio.Future[list[Piece]]:
    return asyncio.ensure_future(run_in_threadpool(batches.next))


class Crossing:
    """Batches of any pieces, enough of them at a time that crossing to a thread costs little."""

    waits = True

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._error: Exception | None = None

    def next(self) -> list[Piece]:
        """Return the next pieces, none at the end; an error comes after the pieces that were read before it."""
        if self._error is not None:
            raise self._error
        batch: list[Piece] = []
        size = 0
        try:
            for piece in self._pieces:
                batch.append(piece)
                size += len(piece)
                if size >= BATCH:
                    break
        except Exception as error:
            if not size:
                raise
            self._error = error
        return fewer(batch)

    def at_once(self) -> None:
        """Say that nothing is known of what the next pieces take."""

    def close(self) -> None:
        """Do nothing: a generator closes what it opened."""


def fewer(pieces: Iterable[Piece]) -> list[Piece]:
    """Put small pieces together: each costs a call of the server."""
    made: list[Piece] = []
    small: list[Piece] = []
    for piece in pieces:
        if len(piece) < _SMALL:
            small.append(piece)
        else:
            made += [b"".join(small), piece] if small else [piece]
            small = []
    return [*made, b"".join(small)] if small else made


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

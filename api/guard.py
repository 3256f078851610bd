"""The outermost layer: who may ask, how much they may send, and what every answer carries."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from anyio import current_time, fail_after
from fastapi import Response
from starlette.datastructures import Headers

from api import problems
from api.connection import MAX_HEAD_BYTES
from api.crossorigin import ROOT, VARY, CrossOrigin, is_preflight
from api.errors import (
    BodyLate,
    BodyTooLarge,
    HeadTooLong,
    HostRefused,
    HostUnclear,
    OriginRefused,
    RequestRejected,
    ResponseBroken,
    TargetTooLong,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 64 * 1024
"""What a body may hold, STOW-RS apart, which streams."""

MAX_TARGET_BYTES: Final = 32 * 1024
"""What path and query string may hold."""

BODY_S: Final = 30
"""How long such a body may take."""

_TOO_LONG: Final = f"longer than the {MAX_BODY_BYTES} bytes this resource takes"

_OF_SOCKETS: Final = {"ws": "http", "wss": "https"}

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}
"""On every answer that does not say otherwise."""


class Guard:
    """ASGI middleware around the whole application.

    Refuses a foreign Host (a page elsewhere may make its own name point here) and changes that a page of another
    site asks for; answers what nobody foresaw with a request id and logs it.
    """

    def __init__(
        self, app: ASGIApp, *, host_names: frozenset[str], origin: str, cross_origin: CrossOrigin | None = None
    ) -> None:
        self._app = app
        self._host_names = host_names
        self._origin = origin
        self._cross_origin = cross_origin or CrossOrigin(())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = scope["roi_request_id"] = secrets.token_hex(8)
        if scope["type"] == "websocket":
            await self._shake_hands(scope, receive, send, request_id)
            return
        answer = _Answer(send, request_id, {**_negotiated(scope), **self._cross_origin.headers(scope)})
        try:
            self._check(scope)
            if is_preflight(scope):
                preflight = Response(status_code=204, headers=self._cross_origin.preflight())
                await preflight(scope, receive, answer)
                return
            await self._app(scope, _limited(scope, receive), answer)
        except RequestRejected as error:
            problem = problems.problem_of(error)
            if problem is None or answer.started:
                raise
            await problems.of_error(error, problem, request_id)(scope, receive, answer)
        except Exception:  # the one place where a process that serves HTTP must go on
            logger.exception("request crashed", extra={"action": "request-crashed", "request": request_id})
            if answer.started:
                raise ResponseBroken(f"answer {request_id} was cut") from None
            sentence = "An unforeseen error; the log holds its trace under this request id."
            await problems.respond(500, sentence, request_id)(scope, receive, answer)

    async def _shake_hands(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """Serve a websocket: a browser opens one for any page, so the page's origin counts (R-49)."""
        try:
            self._check_handshake(scope)
        except RequestRejected as error:
            problem = problems.problem_of(error)
            if problem is None:
                raise
            await problems.of_error(error, problem, request_id)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_handshake(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self._host_names:
            raise HostRefused
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
            raise TargetTooLong(f"path and query string hold more than {MAX_TARGET_BYTES} bytes")
        own = f"{_OF_SOCKETS.get(scope['scheme'], 'http')}://{host}"
        origin = headers.get("origin")
        admitted = self._cross_origin.admits({**scope, "method": "GET"})
        if origin is not None and origin not in {self._origin, own} and not admitted:
            raise OriginRefused

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        count = len(headers.getlist("host"))
        if count > 1 or (not count and scope.get("http_version", "1.1") != "1.0"):
            raise HostUnclear("a request has one Host field")
        if _name(host) not in self._host_names:
            raise HostRefused
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
            raise HeadTooLong(f"the header fields hold more than {MAX_HEAD_BYTES} bytes")
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
            raise TargetTooLong(f"path and query string hold more than {MAX_TARGET_BYTES} bytes")
        if not _streams(scope) and _declared(headers) > MAX_BODY_BYTES:
            raise BodyTooLarge(_TOO_LONG)
        if is_preflight(scope) and not self._cross_origin.admits(scope):
            raise OriginRefused
        if scope["method"] in SAFE_METHODS or self._cross_origin.admits(scope):
            return
        if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            raise OriginRefused
        origin = headers.get("origin")
        if origin is not None and origin not in {self._origin, f"{scope['scheme']}://{host}"}:
            raise OriginRefused


class _Answer:
    """`send` with our headers, which knows whether the answer has begun."""

    def __init__(self, send: Send, request_id: str, more: Mapping[str, str]) -> None:
        self._send = send
        self._ours = [*_ALWAYS, *_raw({**more, "X-Request-Id": request_id})]
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            raw = message.setdefault("headers", [])
            said = {name for name, _ in raw}
            raw += [(name, value) for name, value in self._ours if name not in said]
        await self._send(message)


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return header fields as they go over the wire."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


_ALWAYS: Final = _raw(HEADERS)


def _name(host: str) -> str:
    """Return the name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _negotiated(scope: Scope) -> dict[str, str]:
    """Return what caches must know: whose answer it is, and that it hangs on what was accepted (R-51)."""
    path = str(scope["path"])
    return {"Vary": VARY} if path == ROOT or path.startswith(f"{ROOT}/") else {}


def _streams(scope: Scope) -> bool:
    return scope["method"] == "POST" and str(scope["path"]).startswith(f"{ROOT}/")


def _declared(headers: Headers) -> int:
    """Return the length that a body claims; what is no number the server refuses itself."""
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def _limited(scope: Scope, receive: Receive) -> Receive:
    """Return `receive` with a bound on what a body holds, and on when it ends."""
    if _streams(scope):
        return receive
    taken = 0
    is_whole = False
    late_at = current_time() + BODY_S

    async def count() -> Message:
        nonlocal taken, is_whole
        if is_whole:  # nothing is left but to hear of the client's going away
            return await receive()
        try:
            with fail_after(late_at - current_time()):
                message = await receive()
        except TimeoutError:
            raise BodyLate(f"the body did not come within {BODY_S} s") from None
        taken += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if taken > MAX_BODY_BYTES:
            raise BodyTooLarge(_TOO_LONG)
        return message

    return count

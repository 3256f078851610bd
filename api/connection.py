"""One client's connection: how long a request's head may take and be, and how slowly a client may read (R-52).

uvicorn bounds the pause between two requests only.  A client that never ends a head, sends one without end, leaves a
body unfinished, or does not read what it asked for holds a socket and memory here: each of them has its bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

HEAD_S: Final = 30
"""From the connection, or the first byte of a further request, to the end of the request's head."""

LINGER_S: Final = 30
"""How long the rest of a body may take once the request has been answered without it."""

UNREAD_S: Final = 60
"""How long a client may leave more unread than our buffer holds."""

MAX_HEAD_BYTES: Final = 64 * 1024
"""Target and header fields of one request."""

MAX_WAITING: Final = 512
"""Connections without a request under way: one more, and that which has waited longest is closed."""

_REFUSAL: Final = b"HTTP/1.1 %s\r\nContent-Length: 0\r\nCache-Control: private\r\nConnection: close\r\n\r\n"
TARGET_TOO_LONG: Final = _REFUSAL % b"414 URI Too Long"
HEAD_TOO_LONG: Final = _REFUSAL % b"431 Request Header Fields Too Large"


class Waiting:
    """The connections of one server that have no request under way, the longest first."""

    def __init__(self) -> None:
        self._connections: dict[Connection, None] = {}

    def add(self, connection: Connection) -> None:
        """Let a connection wait; where too many do, the first of them goes."""
        self._connections[connection] = None
        if len(self._connections) > MAX_WAITING:
            first = next(iter(self._connections))
            self.remove(first)
            first.transport.abort()

    def remove(self, connection: Connection) -> None:
        """Let a connection be served, or go."""
        self._connections.pop(connection, None)


class Connection(HttpToolsProtocol):
    """uvicorn's connection with bounds."""

    def __init__(self, *args: Any, waiting: Waiting, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **named)
        self._waiting = waiting
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True
        self._in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a first request."""
        super().connection_made(transport)
        self._waiting.add(self)
        self._close_in(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its timers."""
        self._waiting.remove(self)
        self._keep()
        self._is_read()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a head that goes on for too long is refused."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(TARGET_TOO_LONG if len(self.url) > MAX_HEAD_BYTES // 2 else HEAD_TOO_LONG)
                self.transport.close()
        if self._deadline is None and self.timeout_keep_alive_task is None and self._is_idle():
            self._close_in(HEAD_S)  # what came ended the pause between requests, and began none

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        if self._deadline is None:
            self._close_in(HEAD_S)

    def on_headers_complete(self) -> None:
        """End a head."""
        self._in_head, self._in_body = False, True
        self._waiting.remove(self)
        self._keep()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a body."""
        self._in_body = False
        if self._is_idle():  # answered before: the next request may come
            self._keep()
            self._close_in(HEAD_S)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """End an answer; what is left of the body has to come soon."""
        super().on_response_complete()
        if self._in_body:
            self._close_in(LINGER_S)
        if self._is_idle() and not self.transport.is_closing():
            self._waiting.add(self)

    def pause_writing(self) -> None:
        """Give the client some time to read what waits for it."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._is_read()

    def timeout_keep_alive_handler(self) -> None:
        """Close; a client that has not even read its last answer is not waited for."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_in(self, seconds: float) -> None:
        self._keep()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _keep(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

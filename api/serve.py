"""The web server: one loopback address, until sign-in exists."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.connection import Connection, Waiting
from api.errors import BindFailed, BindRefused

if TYPE_CHECKING:
    from asyncio import BaseTransport
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

_GRACE_S: Final = 5
MOST_SAID: Final = 4096
"""Bytes that a websocket's peer may say at a time; nothing it says is looked at."""

_UNREAD_MS: Final = 60_000
"""So long what was sent on a websocket may stay unread, until the kernel ends the connection."""


class WebServer:
    """Serves an application on a loopback address, bound when this returns.

    Raises
    ------
    BindRefused
        The host is not a loopback address.
    BindFailed
        The port is taken, or the address does not exist here.
    """

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        self._socket = _listen(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=partial(Connection, waiting=Waiting()),  # type: ignore[arg-type]  # called as a class is
            log_config=None,
            access_log=False,  # a query string may hold a patient's name
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_GRACE_S,
            lifespan="off",
            ws=_Socket,
            ws_max_size=MOST_SAID,
            ws_per_message_deflate=False,
        )
        self._server = _Server(config)

    def run(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT; requests under way get a few seconds to end."""
        with self._socket, _stopping_at_signals(self.stop):
            self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Ask `run` to return; callable from any thread."""
        self._server.should_exit = True


class _Socket(WebSocketsSansIOProtocol):
    """A websocket whose peer cannot hold it for ever by reading nothing: closing waits for what was sent before."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)


class _Server(uvicorn.Server):
    """Leaves signals alone: uvicorn raises them again once it has stopped, and nobody could close anything after it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield


@contextmanager
def _stopping_at_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at SIGTERM and SIGINT; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    address = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise BindRefused
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=512)
    except OSError as error:
        raise BindFailed(f"HTTP cannot listen on {host}:{port}: {error.strerror}") from error

"""Clients that take their time, on a real socket: each is cut, and nobody else waits (R-52)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from api import WebServer, connection

GET = b"GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LONG = 32 * 1024 * 1024


@pytest.fixture
def port() -> Iterator[int]:
    app = FastAPI()

    @app.get("/short")
    def short() -> Response:
        return Response(b"done")

    @app.post("/unread")
    def unread() -> Response:
        return Response(b"done")

    @app.get("/long")
    def long() -> Response:
        return StreamingResponse(bytes(1024 * 1024) for _ in range(LONG // (1024 * 1024)))

    @app.post("/read")
    async def read(request: Request) -> Response:
        return Response(str(len(await request.body())))

    server = WebServer(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.port
    server.stop()
    thread.join()


def connect(port: int, sent: bytes = b"") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=20)
    made.sendall(sent)
    return made


def rest(client: socket.socket) -> bytes:
    """What still comes until the server ends the connection."""
    found = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            found += piece
    return bytes(found)


def drip(client: socket.socket, sent: bytes) -> None:
    for letter in sent:
        client.sendall(bytes([letter]))
        time.sleep(0.02)


def short(port: int) -> bytes:
    with connect(port, GET % b"short") as client:
        return client.recv(1000)


@pytest.mark.parametrize("sent", [b"", b"GET /short HTTP/1.1\r\n", b"\r\n", GET[:-2] % b"short" + b"X: y"])
def test_a_head_that_does_not_end_is_cut(port: int, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    with connect(port, sent) as client:
        assert rest(client) == b""


def test_a_head_that_drips_is_cut_also_as_a_further_request(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    with connect(port, GET % b"short") as client:
        assert client.recv(1000).endswith(b"done")
        with pytest.raises(OSError, match=r"reset|pipe"):
            drip(client, (GET[:-2] % b"short") + b"X: y\r\n" * 1000)
    assert short(port).endswith(b"done")


def test_a_further_request_in_time_is_served(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.5)
    with connect(port) as client:
        for _ in range(4):
            client.sendall(GET % b"short")
            assert client.recv(1000).endswith(b"done")
            time.sleep(0.3)
        client.sendall(GET % b"short" * 3)
        time.sleep(0.2)
        assert client.recv(10_000).count(b"done") == 3


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"GET /short HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 600_000, connection.HEAD_TOO_LONG),
        (b"GET /short HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 100_000, connection.HEAD_TOO_LONG),
        (b"GET /" + b"y" * 600_000, connection.TARGET_TOO_LONG),
    ],
)
def test_a_head_without_end_is_refused(port: int, sent: bytes, answer: bytes) -> None:
    with connect(port) as client:
        with contextlib.suppress(OSError):
            client.sendall(sent)
        assert rest(client) in {answer, b""}  # a reset may overtake the answer
    assert short(port).endswith(b"done")


def test_a_client_that_does_not_read_is_cut(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNREAD_S", 0.5)
    with connect(port, GET % b"long") as client:
        time.sleep(2)
        assert len(rest(client)) < LONG


def test_a_client_that_reads_gets_all_of_it(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "UNREAD_S", 2)
    with connect(port, (GET % b"long").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as client:
        assert len(rest(client)) > LONG


def test_the_rest_of_a_body_that_nobody_wants_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 0.3)
    head = b"POST /unread HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
    with connect(port, head + b"x") as client:
        assert client.recv(1000).endswith(b"done")
        with pytest.raises(OSError, match=r"reset|pipe"):
            drip(client, b"x" * 200)


def test_of_too_many_that_wait_the_first_goes(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_WAITING", 20)
    body = b"POST /read HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nab"
    with connect(port, body) as busy:
        time.sleep(0.2)
        idle = [connect(port) for _ in range(60)]
        assert short(port).endswith(b"done")
        assert rest(idle[0]) == b""
        busy.sendall(b"cd")
        assert busy.recv(1000).endswith(b"4")
        for client in idle:
            client.close()

"""An S3 server that takes requests and answers none: said after one time of silence, and no request is repeated."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from threading import Thread

import pytest

from storage.adapters import s3
from storage.errors import ObjectStoreUnavailable
from storage.records import ObjectKey


class Server:
    """Answers its first request, for the bucket, and no other."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"s3://bucket?endpoint=http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard: list[str] = []
        self._lines: list[socket.socket] = []
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                self._lines.append(self._listener.accept()[0])
                Thread(target=self._serve, args=(self._lines[-1],), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with suppress(OSError):  # the client has had enough
            while request := line.recv(65536):
                if request.startswith((b"HEAD", b"GET", b"PUT")):
                    self.heard.append(request.partition(b" HTTP/")[0].decode())
                if len(self.heard) == 1:
                    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        for each in (self._listener, *self._lines):
            with suppress(OSError):  # it has ended by itself
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_silent_object_store_is_away_and_is_asked_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_READ_S", 0.5)
    store = s3.open_store(server.url, access_key="access", secret_key="secret-key")
    key = ObjectKey(sha256(b"").hexdigest())
    with pytest.raises(ObjectStoreUnavailable, match=rf"^object store, object {key}: ReadTimeoutError$"):
        store.put(key, io.BytesIO(b"bytes"))
    assert server.heard == ["HEAD /bucket", f"HEAD /bucket/{key[:2]}/{key}"]

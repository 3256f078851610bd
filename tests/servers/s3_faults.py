"""A proxy before an S3 server that answers 503, slowly, half, or with a wrong ETag, when told to."""

from __future__ import annotations

import http.client
import random
import threading
import time
from contextlib import suppress
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.servers.process import free_port
from tests.servers.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_WRONG_ETAG = '"00000000000000000000000000000000"'


class StoreFault(Enum):
    """What the proxy does to a request that it picks."""

    REFUSES = "answers 503 without asking the server"
    DOUBTS = "asks the server, which does it, and answers 503"
    SLOW = "waits before it asks the server"
    TRUNCATES = "ends the connection half through the request's body, or else the answer's"
    WRONG_ETAG = "answers with another ETag than the server's"


class FaultyS3:
    """Forwards to `server`; looks like an `S3Server` to who only wants its address.  A context manager."""

    access_key = ACCESS_KEY
    secret_key = SECRET_KEY

    def __init__(self, server: S3Server, *, seed: int) -> None:
        self.server = server
        self.fault: StoreFault | None = None
        self.share = 1.0
        """Of the requests, while there is a fault."""
        self.slow_s = 1.0
        self.struck = 0
        """Requests that met a fault so far."""
        self.random = random.Random(seed)
        self._http = _Http(("127.0.0.1", free_port()), self)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> FaultyS3:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def bucket_url(self, bucket: str) -> str:
        """Return a bucket's address as our settings write it, by way of the proxy."""
        return f"s3://{bucket}?endpoint={self.url}&region={REGION}"

    def picks(self) -> StoreFault | None:
        """Return what befalls the next request."""
        fault = self.fault
        if fault is None or self.random.random() >= self.share:
            return None
        self.struck += 1
        return fault


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], proxy: FaultyS3) -> None:
        self.proxy = proxy
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up, and a server that was killed, are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def do_GET(self) -> None:
        self._forward()

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _forward(self) -> None:
        fault = self.server.proxy.picks()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault is StoreFault.SLOW:
            time.sleep(self.server.proxy.slow_s)
        if fault is StoreFault.REFUSES:
            self._refuse()
            return
        if fault is StoreFault.TRUNCATES and body:
            self._ask(body, half=True)
            self.close_connection = True
            return
        answer = self._ask(body)
        if answer is None:  # the server is away: so are we
            self.close_connection = True
        elif fault is StoreFault.DOUBTS:
            self._refuse()
        else:
            self._answer(*answer, fault=fault)

    def _ask(self, body: bytes, *, half: bool = False) -> tuple[int, list[tuple[str, str]], bytes] | None:
        server = urlsplit(self.server.proxy.server.url)
        connection = http.client.HTTPConnection(server.hostname or "", server.port, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # Host too: it is signed
                connection.putheader(name, value)
            connection.endheaders(body[: len(body) // 2] if half else body)
            if half:
                return None
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _refuse(self) -> None:
        self._answer(503, [("Content-Type", "application/xml")], _SLOW_DOWN)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, *, fault: StoreFault | None = None
    ) -> None:
        length = {name.lower(): value for name, value in headers}.get("content-length", str(len(body)))
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                changed = fault is StoreFault.WRONG_ETAG and name.lower() == "etag"
                self.send_header(name, _WRONG_ETAG if changed else value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        if fault is StoreFault.TRUNCATES:
            body = body[: len(body) // 2]
            self.close_connection = True
        with suppress(OSError):  # hung up
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

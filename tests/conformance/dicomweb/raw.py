"""HTTP as bytes on a socket: what no honest client sends."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

RELATED = 'multipart/related; type="application/dicom"; boundary=b'


def said(base_url: str, sent: bytes | Iterable[bytes], timeout_s: float = 20) -> bytes:
    """Say bytes and return the first answer's status line, head and what came with it; empty where there is none."""
    split = urlsplit(base_url)
    with socket.create_connection((split.hostname, split.port), timeout=timeout_s) as client:
        pieces = [sent] if isinstance(sent, bytes) else sent
        with contextlib.suppress(OSError):  # the server may have had enough
            for piece in pieces:
                client.sendall(piece)
        with contextlib.suppress(ConnectionResetError):
            return client.recv(65536)
    return b""


def status(answer: bytes) -> int:
    """Return the status of an answer."""
    return int(answer.split(b" ", 2)[1])


def post(content_type: str, length: int | None, body: bytes = b"", *, path: str = "/dicom-web/studies") -> bytes:
    """Return a request; without a length it comes in chunks of its own making."""
    framed = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n{framed}\r\n\r\n"
    return head.encode("latin-1") + body


def chunked(pieces: Iterable[bytes]) -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

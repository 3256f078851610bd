"""multipart/related, both ways, as a stream (RFC 2046 5.1, RFC 2387)."""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from api.dicomweb.media import MULTIPART, MediaType
from api.errors import BodyIncomplete, BodyRejected

MAX_PREAMBLE: Final = 64 * 1024
MAX_PARTS: Final = 20_000
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,199}[0-9A-Za-z'()+_,./:=?-]")
"""RFC 2046 5.1.1, but for the length: it allows 70, and Orthanc's are 73 long."""


# ----------------------------------------------------------------------------------------------------- outgoing
class Related:
    """A multipart/related body on its way out: one boundary, parts of one type.

    A body that has a strong `tag` has its boundary too, so that the same body is the same bytes.  No content can hold
    that boundary: the tag is a digest of it.
    """

    def __init__(self, root: str, tag: str = "") -> None:
        self._boundary = tag.strip('"') or secrets.token_hex(16)
        self.media_type = f'{MULTIPART}; type="{root}"; boundary={self._boundary}'

    def part(self, content_type: str, pieces: Iterable[bytes], *, location: str | None = None) -> Iterator[bytes]:
        """Yield one part; its head goes out once there is a first piece."""
        head = self._head(content_type, location)
        for piece in pieces:
            if head:
                yield head
                head = b""
            yield piece
        yield head + b"\r\n"

    def before(self, content_type: str, *, is_first: bool) -> bytes:
        """Return what stands before a part's content, and behind the content of the part before it."""
        return (b"" if is_first else b"\r\n") + self._head(content_type, None)

    def behind(self) -> bytes:
        """Return what stands behind the content of the last part."""
        return b"\r\n" + self.end()

    def part_bytes(self, content_type: str, size_bytes: int, *, location: str | None = None) -> int:
        """Return the length of a part that holds so many bytes."""
        return len(self._head(content_type, location)) + size_bytes + 2

    def _head(self, content_type: str, location: str | None) -> bytes:
        where = f"Content-Location: {location}\r\n" if location else ""
        return f"--{self._boundary}\r\nContent-Type: {content_type}\r\n{where}\r\n".encode()

    def end(self) -> bytes:
        """Return the final boundary."""
        return f"--{self._boundary}--\r\n".encode()

    def last(self) -> Iterator[bytes]:
        """Yield the final boundary, once what goes before it has gone out."""
        yield self.end()


# ----------------------------------------------------------------------------------------------------- incoming
def boundary_of(media: MediaType) -> str:
    """Return a multipart body's boundary; `BodyRejected` where there is none, or not a legal one."""
    boundary = media.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BodyRejected("the Content-Type names no legal multipart boundary")
    return boundary


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of a body; read `pieces` before asking for the next part, what is left is passed over."""

    headers: dict[str, str]
    pieces: Iterator[memoryview]


def parts(chunks: Iterable[bytes], boundary: str) -> Iterator[Part]:
    """Yield the parts of a multipart body as it arrives; nothing is buffered but one chunk.

    Raises
    ------
    BodyIncomplete
        The body ends before its final boundary: also inside `Part.pieces`, so that a part cut short is never whole.
    BodyRejected
        It is not a multipart body, or has too many parts.
    """
    events = _Events(_without_preamble(chunks, boundary), boundary)
    for count in range(MAX_PARTS + 1):
        headers = events.headers()
        if headers is None:
            return
        if count == MAX_PARTS:
            raise BodyRejected(f"a body of more than {MAX_PARTS} parts")
        pieces = events.pieces()
        yield Part(headers=headers, pieces=pieces)
        for _ in pieces:
            pass


def _without_preamble(chunks: Iterable[bytes], boundary: str) -> Iterator[bytes]:
    """Drop what stands before the first delimiter, which may follow a line end only (RFC 2046 5.1.1)."""
    source = iter(chunks)
    delimiter = b"--" + boundary.encode()
    held = b"\r\n"
    for chunk in source:
        held += chunk
        place = held.find(b"\n" + delimiter)
        if place >= 0:
            yield held[place + 1 :]
            yield from source
            return
        if len(held) > MAX_PREAMBLE:
            raise BodyRejected(f"no boundary within the first {MAX_PREAMBLE} bytes")
    raise BodyIncomplete("the body holds no boundary")


_PART_END: Final = None


class _Events:
    """Turns the parser's callbacks around: the reader asks, chunks are fed as needed."""

    def __init__(self, chunks: Iterator[bytes], boundary: str) -> None:
        self._chunks = chunks
        self._queue: deque[dict[str, str] | memoryview | None] = deque()
        self._headers: dict[str, str] = {}
        self._name, self._value = bytearray(), bytearray()
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def headers(self) -> dict[str, str] | None:
        """Return the next part's headers, None at the final boundary."""
        event = self._next()
        if isinstance(event, dict) or (event is None and self._ended and not self._queue):
            return event
        raise BodyRejected("the body is not well-formed multipart")

    def pieces(self) -> Iterator[memoryview]:
        """Yield the current part's bytes."""
        while isinstance(event := self._next(), memoryview):
            yield event

    def _next(self) -> dict[str, str] | memoryview | None:
        while not self._queue and not self._ended:
            chunk = next(self._chunks, b"")
            if not chunk:
                raise BodyIncomplete
            try:
                self._parser.write(chunk)
            except MultipartParseError:
                raise BodyRejected("the body is not well-formed multipart") from None
        return self._queue.popleft() if self._queue else None

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._name, self._value = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        self._queue.append(self._headers)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._queue.append(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        self._queue.append(_PART_END)

    def _on_end(self) -> None:
        self._ended = True

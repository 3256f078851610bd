"""gzip on the way out, for JSON and XML only: pixels are compressed already, or asked for as they are (W-10)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from api.dicomweb.media import weight

if TYPE_CHECKING:
    from fastapi import Request

GZIP: Final = {"Content-Encoding": "gzip"}
_GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS
_FAST: Final = 1  # metadata shrinks to a tenth even so
_ACCEPTED: Final = re.compile(r"\s*([\w*-]+)\s*(?:;\s*q\s*=\s*([\d.]+))?\s*")


def wanted(request: Request) -> bool:
    """Tell whether a client takes gzip (RFC 9110 12.5.3)."""
    parts = (_ACCEPTED.fullmatch(part) for part in request.headers.get("accept-encoding", "")[:1024].split(","))
    weights = {part[1].lower(): weight(part[2] or "1") for part in parts if part is not None}
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield `pieces` as one gzip stream, the same bytes each time: it names no time."""
    squeeze = zlib.compressobj(_FAST, zlib.DEFLATED, _GZIP_FORMAT)
    for piece in pieces:
        if made := squeeze.compress(piece):
            yield made
    yield squeeze.flush()

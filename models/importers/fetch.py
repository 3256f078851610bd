"""Brings a foreign file here and holds it to the digest that was pinned for it."""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import urlsplit

from models.errors import ImportRefused

if TYPE_CHECKING:
    from http.client import HTTPMessage

LIMIT_BYTES: Final = 4 << 30
_WAIT_S: Final = 60.0
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def bring(source: str, sha256: str, to: Path) -> None:
    """Copy a file, or download an ``https`` URL, and check its digest.

    Raises
    ------
    ImportRefused
        `sha256` is none, the source cannot be read, is too large, or has another digest.
    """
    if not _SHA256.fullmatch(sha256):
        raise ImportRefused("--sha256 wants the 64 hexadecimal digits of the file that you mean")
    digest, size = hashlib.sha256(), 0
    with _opened(source) as incoming, to.open("wb") as file:
        while part := incoming.read(1 << 20):
            size += len(part)
            if size > LIMIT_BYTES:
                raise ImportRefused(f"the file is larger than {LIMIT_BYTES >> 30} GiB")
            digest.update(part)
            file.write(part)
    if digest.hexdigest() != sha256:
        raise ImportRefused(f"the file has SHA-256 {digest.hexdigest()}, not the {sha256} that was pinned")


@contextmanager
def _opened(source: str) -> Iterator[IO[bytes]]:
    scheme = urlsplit(source).scheme
    if len(scheme) <= 1:  # none, or a drive's letter
        scheme = ""
    try:
        if scheme == "":
            with Path(source).open("rb") as file:
                yield file
        elif scheme == "https":
            with urllib.request.build_opener(_OnlyHttps).open(source, timeout=_WAIT_S) as answer:
                yield answer
        else:
            raise ImportRefused(f"a model is taken from a file or an https address, not from {scheme}:")
    except (OSError, ValueError) as error:
        place = Path(source).name if scheme == "" else urlsplit(source).hostname
        raise ImportRefused(f"{place} does not give the file: {_reason(error)}") from error


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917 - the library's form
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            raise ImportRefused("the address leads on to one that is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers {error.code}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return getattr(error, "strerror", None) or type(error).__name__

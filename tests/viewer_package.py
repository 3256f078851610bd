"""A package built like the viewer's, of a few kilobytes: every place that our edits are made for, and little else."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from web.viewer import Release, Shelf, pinned_release

HASHED = "app.bundle.0123456789abcdef.js"

FILES = {
    "package/package.json": b"{}",
    "package/LICENSE": b"MIT",
    "package/dist/index.html": b"".join(
        [
            b"<!doctype html><title>fake viewer</title>",
            b'<script>window.PUBLIC_URL="/"</script>' * 2,
            b'<link href="/app.bundle.css">' * 32,
            b'<script rel="preload" type="module" src="/init-service-worker.js"></script>',
        ]
    ),
    f"package/dist/{HASHED}": b'__webpack_require__.p = "/";\n' * 8 + b"// " + b"x" * 2000,
    "package/dist/app.bundle.css": b"url(/a.woff2)" * 5,
    "package/dist/0123456789abcdef.wasm": b"\0asm" * 500,
    "package/dist/manifest.json": b'"src": "/assets/x.png"' * 9,
    "package/dist/assets/manifest.webapp": b'"/assets/x.png"' * 8,
    "package/dist/app-config.js": b"window.config = {}",
    "package/dist/sw.js": b"importScripts('https://elsewhere.example/sw.js')",
    "package/dist/ort/big.wasm": b"pruned",
    f"package/dist/{HASHED}.map": b"pruned",
}


def packed(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """The members as a gzipped tar archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(file.getvalue(), mtime=0)


def package(files: dict[str, bytes] | None = None) -> bytes:
    """A package; `files` are added to the usual ones, or take their place."""
    return packed((tarfile.TarInfo(name), content) for name, content in {**FILES, **(files or {})}.items())


def release_of(content: bytes) -> Release:
    """The release whose package has these bytes."""
    digest = b64encode(hashlib.sha512(content).digest()).decode()
    return replace(pinned_release(), integrity=f"sha512-{digest}", files=len(FILES))


def shelf_with(root: Path, content: bytes | None = None) -> Shelf:
    """A shelf on which such a viewer is installed."""
    content = package() if content is None else content
    shelf = Shelf(root, release_of(content))
    shelf.install(io.BytesIO(content))
    return shelf

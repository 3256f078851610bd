"""What is left out of the viewer's package, and what is changed in the rest, as tables.

The package is built to live at the root of a site; ours lives below `PREFIX`.  The edits move it there and do nothing
else, so a file whose name holds the hash of its content may still be kept for ever by a browser: the same address
always has the same bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from web.viewer.errors import PackageUnfit

PREFIX: Final = "/ohif/"

PRUNED: Final = (
    "*.map",
    "ort/*",  # in-browser networks for a click-to-segment tool, 136 MB
    "dicom-microscopy-viewer/*",  # whole-slide images, 20 MB
    "customizations/*",  # data files that a URL may name; none may here
    "app-config.js",  # made by the server
    "sw.js",  # a service worker, which names a host of the internet
    "init-service-worker.js",
    "silent-refresh.html",  # sign-in at providers elsewhere
    "oidc-client.min.js",
    "google.js",
    "es6-shim.min.js",
    "polyfill.min.js",
    "serve.json",  # other servers' settings
    "_headers",
    "_redirects",
)
"""Files that are not taken over, as patterns; a star also stands for folders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """Every match of `find` in the files of a pattern is replaced; in all of them together there are `count`."""

    files: str
    find: bytes
    put: bytes
    count: int


_HERE: Final = PREFIX.encode()

EDITS: Final = (
    Edit(files="index.html", find=rb'\b(href|src|content)="/', put=rb'\1="' + _HERE, count=33),
    Edit(files="index.html", find=rb'window\.PUBLIC_URL="/"', put=rb'window.PUBLIC_URL="' + _HERE + rb'"', count=2),
    Edit(files="index.html", find=rb'<script [^>]*src="[^"]*init-service-worker\.js"></script>', put=b"", count=1),
    Edit(
        files="*.js", find=rb'__webpack_require__\.p = "/"', put=rb'__webpack_require__.p = "' + _HERE + rb'"', count=8
    ),
    Edit(files="*.css", find=rb"url\(/", put=rb"url(" + _HERE, count=5),
    Edit(files="manifest.json", find=rb'"src": "/', put=rb'"src": "' + _HERE, count=9),
    Edit(files="assets/*.[jwx]*", find=rb'"/assets/', put=rb'"' + _HERE + rb"assets/", count=8),
)


def is_pruned(name: str) -> bool:
    """Tell whether a file of the package is left out."""
    return any(fnmatchcase(name, pattern) for pattern in PRUNED)


class Editor:
    """Applies the edits to one file after another, and counts."""

    def __init__(self, edits: Iterable[Edit] = EDITS) -> None:
        self._edits = tuple(edits)
        self._made: Counter[Edit] = Counter()

    def edit(self, name: str, content: bytes) -> bytes:
        """Return what a file becomes."""
        for edit in self._edits:
            if fnmatchcase(name, edit.files):
                content, made = re.subn(edit.find, edit.put, content)
                self._made[edit] += made
        return content

    def check(self) -> None:
        """Check that every edit was made as often as it has to be.

        Raises
        ------
        PackageUnfit
            One was not: the package is built in another way than the one the edits were written for.
        """
        for edit in self._edits:
            if self._made[edit] != edit.count:
                raise PackageUnfit(
                    f"the package is built in another way: {self._made[edit]} places to change in {edit.files}, "
                    f"{edit.count} expected; nothing was installed"
                )

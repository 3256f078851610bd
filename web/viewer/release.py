"""Which release of the viewer belongs to this release of ours: `release.json` beside this file."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import BinaryIO

from web.viewer.edits import EDITS, PRUNED
from web.viewer.errors import PackageUnfit


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A package of npm, known by its bytes.

    `files` is how many it holds; `integrity` is the digest as npm writes it: its name, a
    hyphen, and the bytes in base64.
    """

    package: str
    version: str
    licence: str
    files: int
    integrity: str

    @property
    def spec(self) -> str:
        """What npm calls it."""
        return f"{self.package}@{self.version}"

    @property
    def file_name(self) -> str:
        """What `npm pack` calls its file."""
        return f"{self.package.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    @property
    def folder_name(self) -> str:
        """The name of its folder: another one as soon as the package, the edits or what is left out differ."""
        made_from = repr((self.integrity, EDITS, PRUNED)).encode()
        return f"ohif-{self.version}-{hashlib.blake2b(made_from, digest_size=6).hexdigest()}"

    def check(self, package: BinaryIO) -> None:
        """Read a file to its end and hold it against `integrity`.

        Raises
        ------
        PackageUnfit
            It is another one.
        """
        name, _, wanted = self.integrity.partition("-")
        digest = hashlib.new(name)
        while piece := package.read(1 << 20):
            digest.update(piece)
        if b64encode(digest.digest()).decode() != wanted:
            raise PackageUnfit(f"the file is not {self.spec}: its {name} differs; nothing was installed")


@cache
def pinned_release() -> Release:
    """Return the release that this program installs and serves, and no other."""
    return Release(**json.loads((files("web.viewer") / "release.json").read_text(encoding="utf-8")))

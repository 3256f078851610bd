"""The files of an npm package: a gzipped tar archive whose names all begin with ``package/``."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, Final

from web.viewer.errors import PackageUnfit

_TOP: Final = "package"
_MOST_FILES: Final = 5_000
_MOST_BYTES: Final = 1 << 29


def files_of(package: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Yield name, without ``package/``, and content of every file, one at a time.

    A name never leads out of a folder: it is relative, of plain parts.

    Raises
    ------
    PackageUnfit
        It is no such archive, or holds a link, a device, a name that leads elsewhere, a name twice, or too much.
    """
    seen: set[str] = set()
    room = _MOST_BYTES
    try:
        with tarfile.open(fileobj=package, mode="r|gz") as archive:
            for member in archive:
                if member.isdir():
                    continue
                name = _name(member)
                room -= member.size
                if name in seen or len(seen) >= _MOST_FILES or room < 0:
                    raise PackageUnfit("the package holds a file twice, or more than a viewer has")
                seen.add(name)
                content = archive.extractfile(member)
                if content is None:
                    raise PackageUnfit(_NOT_PLAIN)
                yield name, content.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise PackageUnfit("the package cannot be unpacked to its end") from error


_NOT_PLAIN: Final = "the package holds something else than plain files below package/"


def _name(member: tarfile.TarInfo) -> str:
    parts = member.name.split("/")
    plain = all(part not in {"", ".", ".."} and "\\" not in part and part.isprintable() for part in parts)
    if not member.isreg() or not plain or len(parts) < 2 or parts[0] != _TOP:
        raise PackageUnfit(_NOT_PLAIN)
    return str(PurePosixPath(*parts[1:]))

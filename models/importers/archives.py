"""Zip files from outside: looked over before anything is taken out, and taken out by name alone."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from models.errors import ImportRefused

_MEMBERS: Final = 20_000
_WHOLE_BYTES: Final = 4 << 30
_RATIO: Final = 200
"""How much larger a member may be than its packed form, where it is large at all."""
_SMALL_BYTES: Final = 1 << 20


def check(archive: zipfile.ZipFile) -> None:
    """Check that nothing in an archive leads elsewhere or grows out of proportion.

    Raises
    ------
    ImportRefused
        A member has a path that leaves its folder, is a link, is encrypted, comes twice, or is too large.
    """
    members = archive.infolist()
    if len(members) > _MEMBERS:
        raise ImportRefused(f"the archive has {len(members)} members; at most {_MEMBERS} are looked at")
    if sum(member.file_size for member in members) > _WHOLE_BYTES:
        raise ImportRefused(f"the archive holds more than {_WHOLE_BYTES >> 30} GiB")
    if len({member.filename for member in members}) < len(members):
        raise ImportRefused("the archive has two members of the same name")
    for member in members:
        _check_member(member)


def take(archive: zipfile.ZipFile, name: str, to: Path, *, limit_bytes: int = _WHOLE_BYTES) -> None:
    """Write one member of a checked archive to a file, bounded by the size that it says it has.

    Raises
    ------
    ImportRefused
        There is no such member, or it is larger than it says, or than `limit_bytes`.
    """
    try:
        member = archive.getinfo(name)
    except KeyError as error:
        raise ImportRefused(f"the archive has no {name}") from error
    if member.file_size > limit_bytes:
        raise ImportRefused(f"{name} has {member.file_size} bytes; at most {limit_bytes} are read")
    left = member.file_size
    with archive.open(member) as packed, to.open("wb") as file:
        while part := packed.read(1 << 20):
            left -= len(part)
            if left < 0:
                raise ImportRefused(f"{name} is larger than the archive says")
            file.write(part)


def _check_member(member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or set(member.filename) & {"\\", ":", "\0"}:
        raise ImportRefused(f"the archive has a member that leaves its folder: {member.filename!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ImportRefused(f"the archive has a link: {member.filename!r}")
    if member.flag_bits & 0x1:
        raise ImportRefused(f"the archive has an encrypted member: {member.filename!r}")
    if member.file_size > _SMALL_BYTES and member.file_size > _RATIO * max(1, member.compress_size):
        raise ImportRefused(f"the archive has a member that grows more than {_RATIO} times: {member.filename!r}")

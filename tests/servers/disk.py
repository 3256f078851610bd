"""A small disk: an ext4 file system in a file, which can be filled to the last block."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.servers.process import find_program

_BALLAST = "ballast"


class SmallDisk:
    """A mounted file system; `fill` takes its blocks, `free` gives them back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, *, leave: int = 0) -> None:
        """Take every block that is left, or all but `leave` bytes."""
        with (self.folder / _BALLAST).open("ab") as ballast:
            for step in (1 << 24, 1 << 20, 1 << 16, 1 << 12):
                with suppress(OSError):  # ENOSPC: what was asked for
                    while not leave or self.free_bytes() - step >= leave:
                        os.posix_fallocate(ballast.fileno(), os.fstat(ballast.fileno()).st_size, step)

    def free(self) -> None:
        """Give the blocks back."""
        (self.folder / _BALLAST).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Return how many bytes can still be written."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize


def available() -> str | None:
    """Return why no file system can be mounted here, or None."""
    if os.geteuid() != 0:
        return "a small disk needs root, to be mounted"
    if not find_program("mkfs.ext4", folders=[Path("/usr/sbin"), Path("/sbin")]):
        return "mkfs.ext4 is not installed"
    return None if Path("/dev/loop-control").exists() else "no loop devices here"


@contextmanager
def small_disk(folder: Path, *, size_mb: int) -> Iterator[SmallDisk]:
    """Mount a new file system at `folder`; the file that holds it lies beside it and is sparse."""
    image = folder.with_suffix(".img")
    folder.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(size_mb << 20)
    mkfs = find_program("mkfs.ext4", folders=[Path("/usr/sbin"), Path("/sbin")])
    _run(str(mkfs), "-q", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", str(image))
    _run("mount", "-o", "loop", str(image), str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        _run("umount", "--lazy", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)

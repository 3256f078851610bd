"""Files, and the names in folders, made to survive a power cut."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_WRITE: Final = 2
"""SYNC_FILE_RANGE_WRITE: begin to write out what is not written yet."""
_TELLS_SINCE: Final = (5, 8)
"""The kernel whose syncfs(2) tells of what could not be written."""
_MANY: Final = 32
"""Fewer files are synced one by one: syncfs(2) waits for what everybody has written."""


def sync_folder(folder: Path | str) -> None:
    """Make the names in a folder survive."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path | str) -> None:
    """Make a file's bytes survive, whoever wrote them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Syncer:
    """Syncs many files of one file system at once, and the folders that name them.

    Raises `OSError` where something written since the one before could not be kept.
    """

    def __init__(self, folder: Path) -> None:
        # Opened before anything is written: what fails from now on is told to this descriptor.
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def sync(self, paths: Sequence[str]) -> None:
        """Return when these files, those of them that are there, and their names survive a power cut."""
        with ExitStack() as stack:
            found = [descriptor for path in paths if (descriptor := _open(path, stack)) is not None]
            for descriptor in found:  # each is begun here, so that the disk works on all of them
                _call("sync_file_range", descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _WRITE)
            if len(found) >= _MANY and _kernel() >= _TELLS_SINCE:
                sync_all(self._descriptor)
                return
            for descriptor in found:
                os.fsync(descriptor)
        for folder in {os.path.dirname(path) for path in paths}:  # noqa: PTH120 - no path objects here
            with suppress(FileNotFoundError):  # all of it removed since
                sync_folder(folder)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def sync_all(descriptor: int) -> None:
    """Make everything on a descriptor's file system survive a power cut: syncfs(2)."""
    _call("syncfs", descriptor)


def file_system(folder: Path) -> str:
    """Return the kind of file system that a folder lies on, as the kernel names it; empty where it does not say."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            mount, _, kind = line.partition(" - ")
            if mount.split()[2] == wanted:
                return kind.split()[0]
    return ""


def _open(path: str, stack: ExitStack) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # removed since
        return None
    stack.callback(os.close, descriptor)
    return descriptor


def _call(name: str, *arguments: object) -> None:
    if getattr(_LIBC, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _kernel() -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return tuple(map(int, found.groups())) if found else (0, 0)

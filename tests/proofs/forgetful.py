"""A gateway on a disk that keeps nothing but what was synced: every sync is written down as it was asked for.

``python -m tests.proofs.forgetful SHADOW gateway ...`` runs `roi gateway ...`.  When a sync has returned, `SHADOW`
holds what the file, or the names in the folder, were when it was called: what a power cut from now on leaves.  SQLite
syncs by itself and is not followed.  Syncs are slow here, so that a cut finds many of them under way.
"""

from __future__ import annotations

import itertools
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

_SLOW_S = 0.02


class Shadow:
    """What is on the disk: bytes by inode, names by folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._looks = itertools.count()
        self._seen: dict[Path, int] = {}
        for name in ("files", "folders"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def look(self) -> int:
        """Return a number for what is about to be looked at: of two looks the later one holds."""
        return next(self._looks)

    def content(self, inode: int) -> bytes | None:
        """Return the bytes of a file, None where they never were synced."""
        path = self.folder / "files" / str(inode)
        return path.read_bytes() if path.exists() else None

    def names(self, folder: Path) -> Mapping[str, int]:
        """Return the names in a folder, and the files that they stand for."""
        path = self.folder / "folders" / quote(str(folder), safe="")
        lines = path.read_text().splitlines() if path.exists() else []
        return {name: int(inode) for name, _, inode in (line.rpartition("\t") for line in lines)}

    def write_file(self, look: int, inode: int, content: bytes) -> None:
        """Note a file's bytes, all of them or none."""
        self._write(look, self.folder / "files" / str(inode), content)

    def write_folder(self, look: int, folder: Path, names: Mapping[str, int]) -> None:
        """Note the names in a folder."""
        lines = "".join(f"{name}\t{inode}\n" for name, inode in names.items())
        self._write(look, self.folder / "folders" / quote(str(folder), safe=""), lines.encode())

    def _write(self, look: int, path: Path, content: bytes) -> None:
        with self._lock:
            if look < self._seen.get(path, -1):
                return
            descriptor, name = tempfile.mkstemp(dir=self.folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).replace(path)
            self._seen[path] = look


def names_now(folder: Path) -> dict[str, int]:
    """Return what a folder holds, but for what has gone since it was listed."""
    return dict(_entries(folder))


def _entries(folder: Path) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name, entry.inode()


def follow(shadow: Shadow) -> None:
    """Write down every sync of this process from now on."""

    def followed(call: Callable[[int], None]) -> Callable[[int], None]:
        def call_and_note(descriptor: int) -> None:
            time.sleep(_SLOW_S)
            here, found, look = Path(f"/proc/self/fd/{descriptor}"), os.fstat(descriptor), shadow.look()
            if stat.S_ISDIR(found.st_mode):
                folder, names = here.readlink(), names_now(here)
                call(descriptor)
                shadow.write_folder(look, folder, names)
            else:
                content = here.read_bytes()
                call(descriptor)
                shadow.write_file(look, found.st_ino, content)

        return call_and_note

    os.fsync, os.fdatasync = followed(os.fsync), followed(os.fdatasync)  # type: ignore[assignment]


def main() -> None:
    """Run it."""
    follow(Shadow(Path(sys.argv[1])))
    from roi.cli import app  # not before its syncs are followed

    app(sys.argv[2:])


if __name__ == "__main__":
    main()

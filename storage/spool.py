"""A bounded buffer on its way to disk: an arriving data set, hashed while it is written."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from storage import checksum
from storage.records import ObjectKey


class Spool:
    """One arriving Part 10 file below the spool folder, removed on exit.

    Write the file meta first with `write_meta`, then the data set bytes with `write`; only the latter are hashed.
    Used by one thread at a time.  The folder should lie on the object store's file system, where there is one, so that
    the finished file can be moved, not copied.  What a killed process left is removed by `Spool.sweep` at start.
    """

    def __init__(self, folder: Path) -> None:
        self.path = f"{folder}/{os.getpid()}-{secrets.token_hex(8)}.part"
        self._file: BinaryIO = open(self.path, "xb+", buffering=0)  # noqa: SIM115, PTH123 - closed by `close`
        self._digest = hashlib.sha256()
        self._checksum = checksum.begun()
        self.meta_bytes = 0
        self.size_bytes = 0

    def write_meta(self, meta: bytes) -> None:
        """Write preamble and file meta information (PS3.10 7.1)."""
        self._append(meta)
        self.meta_bytes += len(meta)
        self.size_bytes += len(meta)

    def write(self, part: bytes | bytearray | memoryview) -> None:
        """Append data set bytes."""
        self._digest.update(part)
        self._checksum.update(part)
        self._append(part)
        self.size_bytes += len(part)

    def _append(self, part: bytes | bytearray | memoryview) -> None:
        """Write all of it: a disk that is nearly full takes a part and says so only the next time."""
        written = self._file.write(part)
        if written < len(part):
            view = memoryview(part)
            while written < len(part):
                written += self._file.write(view[written:])

    @property
    def key(self) -> ObjectKey:
        """The SHA-256 of the data set bytes written so far."""
        return ObjectKey(self._digest.hexdigest())

    @property
    def checksum(self) -> bytes:
        """The quick checksum of the same bytes."""
        return self._checksum.digest()

    def reader(self) -> BinaryIO:
        """Return the underlying file, positioned at its start."""
        self._file.seek(0)
        return self._file

    def head(self, length: int) -> bytes:
        """Return up to `length` data set bytes from their start, leaving the write position at the end."""
        return os.pread(self._file.fileno(), length, self.meta_bytes)

    def close(self) -> None:
        """Close and forget the file; a file already moved away stays where it went."""
        self._file.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)  # noqa: PTH108 - a path object for every instance costs more than the call

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def sweep(folder: Path) -> int:
        """Remove what dead processes left in `folder`; return how many files went."""
        removed = 0
        for path in folder.glob("*.part"):
            if not _alive(path.name.partition("-")[0]):
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def _alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()

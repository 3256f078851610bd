"""A process that takes instances into a landing zone, uploads them, and dies at a chosen step.

``python -m tests.proofs.landing FOLDER STEP TIMES`` keeps instances in the archive of FOLDER, says each one's UID once
it would be acknowledged, uploads them, and kills itself when STEP happens for the TIMES-th time.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from typing import BinaryIO

from storage.adapters.directory import DirectoryStore
from storage.records import ObjectKey, Verdict
from tests.builders import ct_slice, keep_data_set
from tests.landed import landed_archive, upload

STEPS = (
    "landed",
    "indexed",
    "upload begins",
    "half uploaded",
    "uploaded",
    "read back",
    "row gone",
    "file gone",
)
INSTANCES = 6


class Death:
    """Kills this process, as a power cut would, when a step happens for the last of `times`."""

    def __init__(self, step: str, times: int) -> None:
        self._step, self._left = step, times

    def meets(self, step: str) -> None:
        """Note that a step happened."""
        self._left -= step == self._step
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


class DeadlyStore(DirectoryStore):
    """The object store at whose steps the process may die."""

    def __init__(self, root: Path, death: Death) -> None:
        super().__init__(root)
        self._death = death

    def put(self, key: ObjectKey, source: BinaryIO) -> int:
        self._death.meets("upload begins")
        size_bytes = super().put(key, _Halting(source, self._death))
        self._death.meets("uploaded")
        return size_bytes

    def open(self, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        stream = super().open(key, offset=offset, length=length)
        self._death.meets("read back")
        return stream


class _Halting(io.BytesIO):
    """An object that stops half way."""

    def __init__(self, source: BinaryIO, death: Death) -> None:
        super().__init__(source.read())
        self._death = death

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            self._death.meets("half uploaded")
        return super().read(min(size, 600) if size and size > 0 else 600)


class DeadlyFolder(DirectoryStore):
    """The landing zone's folder at whose steps the process may die."""

    def __init__(self, root: Path, death: Death) -> None:
        super().__init__(root)
        self._death = death

    def put(self, key: ObjectKey, source: BinaryIO) -> int:
        size_bytes = super().put(key, source)
        self._death.meets("landed")
        return size_bytes

    def remove(self, key: ObjectKey) -> None:
        self._death.meets("row gone")
        super().remove(key)
        self._death.meets("file gone")


def run(folder: Path, step: str, times: int) -> None:
    """Take instances in, upload them, die."""
    death = Death(step, times)
    archive = landed_archive(folder, DeadlyStore(folder / "store", death))
    assert archive.landing is not None
    archive.landing.objects = DeadlyFolder(folder / "landing", death)
    for number in range(1, INSTANCES + 1):
        assert keep_data_set(archive, ct_slice(number)) is Verdict.STORED
        death.meets("indexed")
        sys.stdout.write(f"2.25.1.1.{number}\n")
        sys.stdout.flush()
    upload(archive)
    upload(archive)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

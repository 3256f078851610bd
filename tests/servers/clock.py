"""A clock of our own processes that can be set while they run: libfaketime and a file that tells the offset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/local/lib/*/faketime/libfaketimeMT.so.1")

_SHIM = '''"""Lets time.sleep do without clock_nanosleep: libfaketime 0.9.10 spoils its absolute deadlines."""

import threading
import time


def _sleep(seconds):
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    threading.Event().wait(seconds)


time.sleep = _sleep
'''


class ShiftedClock:
    """The time of day of every process that has `environment`; how long things take stays true."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "sitecustomize.py").write_text(_SHIM)
        self._file = folder / "offset"
        self.shift_s = 0
        self.environment: Mapping[str, str] = {
            "PYTHONPATH": str(folder),
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the memory that libfaketime shared between processes which were killed."""
        for pattern in ("faketime_shm_*", "sem.faketime_sem_*"):
            for left in Path("/dev/shm").glob(pattern):
                if not Path(f"/proc/{left.name.rpartition('_')[2]}").exists():
                    left.unlink(missing_ok=True)

    def set(self, shift_s: int) -> None:
        """Show the true time plus so many seconds, in every process within a second."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{shift_s:+d}\n")
        fresh.replace(self._file)  # nobody reads half a number
        self.shift_s = shift_s


def available() -> str | None:
    """Return why the clock cannot be shifted here, or None."""
    return None if _library() else "libfaketime is not installed"


def _library() -> Path | None:
    found = [path for pattern in _LIBRARIES for path in Path("/").glob(pattern.removeprefix("/"))]
    return found[0] if found else None

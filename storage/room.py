"""Room on the file systems that instances arrive on, held against a high-water mark."""

from __future__ import annotations

import logging
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from storage.errors import HighWaterReached, Misconfigured, ObjectStoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""Between two looks at a file system: at 1 GB/s, so much may be written beyond the mark."""

_UNITS: Final = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_FORM: Final = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>%|[KMGT]iB|)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """How much of a file system stays free: the smaller of a share (0..1) and a number of bytes, where given."""

    share: float = 1.0
    size_bytes: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``2%``, ``500MiB``, ``1000000`` (bytes), ``0`` (no mark) or ``auto`` (2 %, 2 GiB at most).

        Raises
        ------
        Misconfigured
            It is none of these.
        """
        if text == "auto":
            return cls(share=0.02, size_bytes=2 * 2**30)
        found = _FORM.fullmatch(text)
        number = float(found["number"]) if found else -1.0
        if not found or (found["unit"] == "%" and number >= 100):
            raise Misconfigured(f"{text}: expected auto, a share as 2%, or a size as 500MiB")
        if found["unit"] == "%":
            return cls(share=number / 100)
        return cls(size_bytes=int(number * _UNITS[found["unit"]]))

    def of(self, total_bytes: int) -> int:
        """Return how many bytes stay free of a file system of this size."""
        share = int(total_bytes * self.share)
        return share if self.size_bytes is None else min(share, self.size_bytes)


class Room:
    """The file systems of some folders, each with a part that stays free for what must go on: catalogue, log, repair.

    Any number of threads may ask; a file system is looked at once in `LOOK_S`.
    """

    def __init__(self, folders: Iterable[Path], mark: Mark, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folders = tuple(folders)
        self._mark = mark
        self._clock = clock
        self._look_at = clock()
        self._shortage: str | None = None

    def check(self) -> None:
        """Return if there is room for an instance.

        Raises
        ------
        HighWaterReached
            Less is free than the mark keeps.
        ObjectStoreUnavailable
            A folder is not there.
        """
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._note(next(filter(None, map(self._short, self._folders)), None))
        if self._shortage:
            raise HighWaterReached

    def _short(self, folder: Path) -> str | None:
        try:
            found = os.statvfs(folder)
        except OSError as error:
            raise ObjectStoreUnavailable(f"the folder {folder} cannot be looked at: {error.strerror}") from error
        free, kept = found.f_bavail * found.f_frsize, self._mark.of(found.f_blocks * found.f_frsize)
        return f"{free} bytes are free, {kept} stay free" if free < kept else None

    def _note(self, shortage: str | None) -> None:
        """Say once that the mark was reached, and once that there is room again."""
        if shortage and not self._shortage:
            logger.error("no room for instances", extra={"action": "room-short", "reason": shortage})
        if self._shortage and not shortage:
            logger.warning("room for instances again", extra={"action": "room-again"})
        self._shortage = shortage

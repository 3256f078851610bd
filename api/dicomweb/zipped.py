"""A ZIP file that leaves while it is made: members are stored as they are, and of any length."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Final

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The first time that ZIP knows: the same files are the same bytes."""


def zipped(files: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[bytes]:
    """Yield a ZIP file of named files, each given in pieces."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, pieces in files:
            with archive.open(zipfile.ZipInfo(name, _EPOCH), "w", force_zip64=True) as member:
                for piece in pieces:
                    member.write(piece)
                    yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Holds what has been written until it is taken; it cannot seek, so that nothing is written twice."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, part: object) -> int:
        """Hold `part`."""
        piece = memoryview(part)  # type: ignore[arg-type]  # the base class says less than any buffer
        self._held += piece
        return piece.nbytes

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        taken = bytes(self._held)
        self._held.clear()
        return taken

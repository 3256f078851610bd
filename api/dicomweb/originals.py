"""Files that leave as they are kept, one after the other in one body: read where they are sent, if they lie in memory.

Most of what a whole study costs is moving its bytes.  A file that the system has in memory, and that is quick to check,
is read, checked and sent by one thread, one piece after the other; everything else is read ahead in another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from api.dicomweb.streams import BATCH, Piece, fewer
from storage.errors import StorageError

if TYPE_CHECKING:
    from api.context import ApiContext
    from storage.reading import Reading
    from storage.records import InstanceRecord

_AHEAD: Final = 256
"""Files that are looked at in a thread, so that the system knows where they are and opening them takes no waiting."""
_TURN: Final = 256 * 1024
"""What is read at once before others get their turn."""


class Originals:
    """Batches (see `streams.Batches`) of kept instances, each with the text that stands before it, and of an `end`."""

    def __init__(self, context: ApiContext, files: Iterable[tuple[bytes, InstanceRecord]], end: bytes = b"") -> None:
        self._archive = context.archive
        self._buffers = context.buffers
        self._files = deque(files)
        self._looked_at = 0
        """Of the first so many of them is known where they are."""
        self._before = b""
        self._reading: Reading | None = None
        self._held = b""
        """A piece whose text has been given."""
        self._end = end
        self._error: Exception | None = None
        self.waits = False

    def next(self) -> list[Piece]:
        """Return the next pieces, none at the end.

        Raises
        ------
        ObjectCorrupt
            A file is not what was received; its last piece has not been given.
        Unavailable
            The object store does not answer.
        """
        self.waits = False
        return self._batch(self._read)

    def at_once(self) -> list[Piece] | None:
        """Return the next pieces, None where they are waited for; raises as `next`."""
        batch = self._batch(self._read_at_once)
        return batch or (None if self._reading or self._files else [])

    def close(self) -> None:
        """Close what is open, and give nothing more."""
        self._files.clear()
        self._end = b""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _batch(self, read: Callable[[], Piece | None]) -> list[Piece]:
        if self._error is not None:
            raise self._error
        batch: list[Piece] = []
        size = 0
        try:
            while size < (_TURN if self._looked_at and not self.waits else BATCH) and (piece := read()):
                batch.append(piece)
                size += len(piece)
        except Exception as error:
            if not batch:
                raise
            self._error = error
        return fewer(batch)

    def _read(self) -> Piece | None:
        if self._files and not (self._held or self._reading):
            self._open()
            self._look_ahead()
        piece = self._read_at_once()
        if piece is not None or self._reading is None:
            return piece
        self.waits = True
        before, piece = self._before, self._reading.read()
        self._given()
        self._held = piece if before else b""
        return before or piece

    def _read_at_once(self) -> Piece | None:
        if self._held:
            held, self._held = self._held, b""
            return held
        if self._reading is None and self._looked_at:
            self._open()
        if self._reading is None:
            return None if self._files else self._taken_end()
        piece = self._reading.read_at_once(self._buffers, self._before)
        if piece is not None:
            self._given()
        return piece

    def _open(self) -> None:
        self._before, one = self._files.popleft()
        self._looked_at = max(0, self._looked_at - 1)
        self._reading = self._archive.reading(one)

    def _look_ahead(self) -> None:
        is_file = self._reading is not None and self._reading.is_file
        if self._looked_at or not is_file or self._archive.landing is not None:  # who has a landing zone asks for each
            return
        for _, one in islice(self._files, _AHEAD):
            with suppress(StorageError):  # it will be told when its turn comes
                self._archive.objects.size(one.object_key)
            self._looked_at += 1

    def _given(self) -> None:
        """Go on behind a piece of the open file."""
        self._before = b""
        if self._reading is not None and self._reading.is_over:
            self._reading.close()
            self._reading = None

    def _taken_end(self) -> bytes:
        end, self._end = self._end, b""
        return end

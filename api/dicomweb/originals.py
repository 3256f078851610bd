"""Files that leave as they are kept, one after the other in one body: read where they are sent, if they lie in memory.

Most of what a whole study costs is moving its bytes.  A file that the system has in memory, and that is quick to check,
is read, checked and sent by one thread, one piece after the other; everything else is read ahead in another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from api.dicomweb.streams import BATCH, Piece, fewer
from storage.errors import StorageError

if TYPE_CHECKING:
    from api.context import ApiContext
    from storage.reading import Reading
    from storage.records import InstanceRecord

_OPEN: Final = 8
"""Files that are open at a time: opening may wait, so it takes a thread, and the way there costs."""
_TURN: Final = 256 * 1024
"""What is read at once before others get their turn."""


class Originals:
    """Batches (see `streams.Batches`) of kept instances, each with the text that stands before it, and of an `end`."""

    def __init__(self, context: ApiContext, files: Iterable[tuple[bytes, InstanceRecord]], end: bytes = b"") -> None:
        self._archive = context.archive
        self._buffers = context.buffers
        self._files = deque(files)
        self._opened: deque[tuple[bytes, Reading]] = deque()
        self._end = end
        self._held = b""
        """A piece whose text has been given."""
        self._error: Exception | None = None
        self.waits = False

    def next(self) -> list[Piece]:
        """Return the next pieces, none at the end; open files for some time to come.

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
        return batch or (None if self._opened or self._files else [])

    def close(self) -> None:
        """Close what is open, and give nothing more."""
        while self._opened:
            self._opened.popleft()[1].close()
        self._files.clear()
        self._end = b""

    def _batch(self, read: Callable[[], Piece | None]) -> list[Piece]:
        if self._error is not None:
            raise self._error
        batch: list[Piece] = []
        size = 0
        try:
            while size < (BATCH if self.waits else _TURN) and (piece := read()):
                batch.append(piece)
                size += len(piece)
        except Exception as error:
            if not batch:
                raise
            self._error = error
        return fewer(batch)

    def _read(self) -> Piece | None:
        if not self._opened and not self._held:
            self._open_some()
        piece = self._read_at_once()
        if piece is not None or not self._opened:
            return piece
        self.waits = True
        before, reading = self._opened[0]
        piece = reading.read()
        self._given()
        self._held = piece if before else b""
        return before or piece

    def _read_at_once(self) -> Piece | None:
        if self._held:
            held, self._held = self._held, b""
            return held
        if not self._opened:
            return None if self._files else self._taken_end()
        before, reading = self._opened[0]
        piece = reading.read_at_once(self._buffers, before)
        if piece is not None:
            self._given()
        return piece

    def _given(self) -> None:
        """Go on behind a piece of the first open file."""
        _, reading = self._opened[0]
        if reading.is_over:
            reading.close()
            self._opened.popleft()
        else:
            self._opened[0] = (b"", reading)

    def _taken_end(self) -> bytes:
        end, self._end = self._end, b""
        return end

    def _open_some(self) -> None:
        """Open what comes next: some files, or one connection, which must not be left waiting for others."""
        while self._files and len(self._opened) < _OPEN:
            before, one = self._files[0]
            try:
                reading = self._archive.reading(one)
            except StorageError:
                if not self._opened:
                    raise
                return  # it will be told when its turn comes
            self._files.popleft()
            self._opened.append((before, reading))
            if not reading.is_file:
                return

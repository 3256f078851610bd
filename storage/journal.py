"""The journal of a folder of objects: where their bytes are durable before the objects themselves are.

A file of its own for each object costs a power-safe store several writes in several places.  The journal's are in one,
on blocks that are there already: an object's bytes go there first and are synced, then the object gets its name without
a sync, and some time later many objects are synced at once and their records given up.

Every name therefore stands for bytes that survive a power cut: in their own file, or as a record of a journal, from
which `recover` makes the file anew.  Nobody else's record of that key is valid then, whatever file meta it came with.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from storage.records import ObjectKey
from storage.segment import (
    GENERATION_BYTES,
    MOST_BYTES,
    SEGMENT_BYTES,
    SUFFIX,
    UNFINISHED,
    Record,
    Segment,
    generation_of,
    is_whole,
    records,
    room_of,
)
from storage.sync import Syncer, sync_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

MOST_SEGMENTS: Final = 8
SETTLE_S: Final = 1.0
"""How long objects may wait for their own sync where few arrive."""
_SETTLE_AT: Final = 3
"""Full segments are settled together, so many at least."""
_PATIENCE_S: Final = 10.0
"""How long a put waits for room before it goes the long way."""
_AGAIN_S: Final = 1.0
_REMOVED: Final = "removed"

Rewrite = Callable[[ObjectKey, memoryview], None]
"""Makes an object's file anew and syncs it, in place of what is there."""


class Journal:
    """What one process writes; any number of threads may.

    Where the journal cannot be written or is full for long, `holding` says so and the caller has to sync the object
    itself: it never stands in the way of what the disk can do without it.
    """

    def __init__(self, folder: Path, objects: Path, rewrite: Rewrite) -> None:
        self._folder = folder
        self._syncer = Syncer(objects)
        self._rewrite = rewrite
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._current: Segment | None = None
        self._full: list[Segment] = []
        self._free: list[Segment] = []
        self._made = 0
        self._settling: threading.Thread | None = None
        self._doubtful = False
        """Whether something that is to be settled may not have been written."""
        self._closing = False

    @contextmanager
    def holding(self, key: ObjectKey, source: int, size_bytes: int, target: str) -> Iterator[bool]:
        """Hold the bytes of the file `source`, durably, while the block gives it its name; False where it cannot."""
        place = self._reserve(room_of(size_bytes)) if 0 < size_bytes <= MOST_BYTES else None
        if place is None:
            yield False
            return
        segment, offset = place
        try:
            yield self._write(segment, offset, key, source, size_bytes)
        finally:
            with self._changed:
                segment.targets.append(target)
                segment.under_way -= 1
                if not segment.under_way and segment in self._full:
                    self._changed.notify_all()

    def _write(self, segment: Segment, offset: int, key: ObjectKey, source: int, size_bytes: int) -> bool:
        try:
            return segment.write(offset, key, source, size_bytes)
        except OSError as error:
            _warn("the journal cannot be written", error, action="journal-failed")
            return False

    def _reserve(self, room: int) -> tuple[Segment, int] | None:
        """Return a place for a record; None where there is none in time."""
        if os.getpid() != self._pid:  # a child's copy of a journal is not its own
            return None
        deadline = time.monotonic() + _PATIENCE_S
        with self._changed:
            while not self._closing:
                try:
                    segment = self._current or self._next()
                except OSError as error:
                    _warn("the journal cannot grow", error, action="journal-failed")
                    return None
                if segment is None:
                    if not self._changed.wait(deadline - time.monotonic()):
                        return None
                    continue
                self._current = segment
                if segment.end + room <= SEGMENT_BYTES:
                    offset, segment.end = segment.end, segment.end + room
                    segment.under_way += 1
                    self._see_to_settling()
                    return segment, offset
                self._fill_up()
        return None

    def _next(self) -> Segment | None:
        """Return a segment to write to: one that is settled, else a new one, else none for now."""
        if self._free:
            return self._free.pop()
        if self._made >= MOST_SEGMENTS:
            return None
        self._folder.mkdir(exist_ok=True)
        segment = Segment.make(self._folder)
        self._made += 1
        return segment

    def _fill_up(self) -> None:
        """Write no more to the current segment until it is settled."""
        if self._current is not None:
            self._full.append(self._current)
            self._current = None
            self._changed.notify_all()

    # ------------------------------------------------------------------------------------------------- settling
    def _see_to_settling(self) -> None:
        if self._settling is None:
            self._settling = threading.Thread(target=self._settle, name="journal", daemon=True)
            self._settling.start()

    def _settle(self) -> None:
        """Settle what becomes full, and the rest in time; end when nothing is left."""
        while True:
            with self._changed:
                self._changed.wait_for(self._is_due, SETTLE_S)
                if len(self._full) < _SETTLE_AT:
                    self._fill_up()
                ready = [segment for segment in self._full if not segment.under_way]
                if not self._full:
                    self._settling = None
                    return
            if not ready:
                continue
            if self._settle_now(ready):
                with self._changed:
                    self._full = [segment for segment in self._full if segment not in ready]
                    self._free += ready
                    self._changed.notify_all()
            elif self._closing:  # whoever opens the store next recovers what is left
                self._settling = None
                return
            else:
                time.sleep(_AGAIN_S)

    def _is_due(self) -> bool:
        if not (self._full or self._current):
            return True
        waiting = sum(not segment.under_way for segment in self._full)
        starving = self._current is None and not self._free and self._made >= MOST_SEGMENTS
        return waiting >= _SETTLE_AT or (waiting > 0 and (starving or self._closing))

    def _settle_now(self, ready: Sequence[Segment]) -> bool:
        try:
            self._make_durable(ready)
            for segment in ready:
                segment.restart()
            tidy(self._folder)
        except OSError as error:
            # The kernel tells of a failed write once and takes the page for written: only the journal has it then.
            self._doubtful = True
            _warn("objects could not be synced: they stay in the journal", error, action="journal-not-settled")
            return False
        return True

    def _make_durable(self, ready: Sequence[Segment]) -> None:
        targets = {target.rpartition("/")[2]: target for segment in ready for target in segment.targets}
        if self._doubtful:
            for record in (record for segment in ready for record in records(segment.path)):
                if os.path.exists(targets.get(record.key, "")) and record.is_whole:  # noqa: PTH110
                    self._rewrite(record.key, record.content)
            self._doubtful = False
        self._syncer.sync(list(targets.values()))

    def close(self) -> None:
        """Settle everything and remove the journal."""
        if os.getpid() != self._pid:
            return
        with self._changed:
            self._closing = True
            self._fill_up()
            settling = self._settling
            self._changed.notify_all()
        if settling is not None and settling is not threading.current_thread():
            settling.join()
        for segment in self._free:
            segment.drop()
        if self._free:
            tidy(self._folder)
        self._free = []
        self._syncer.close()


# -------------------------------------------------------------------------------------------------------- recovery
def recover(folder: Path, objects: Path, rewrite: Rewrite) -> int:
    """Make anew what the journals of dead processes hold and the disk has lost; return how many objects that were.

    Returns when what they hold is durable without them.  Waits for another process that is at it.
    """
    if not [*folder.glob(f"*{SUFFIX}"), *folder.glob(f"*{UNFINISHED}")]:
        return 0
    with _turn(folder):
        made = sum(_recover_one(path, folder, objects, rewrite) for path in sorted(folder.glob(f"*{SUFFIX}")))
        for path in folder.glob(f"*{UNFINISHED}"):
            with _dead(path):
                pass
        tidy(folder)
    if made:
        logger.warning("objects recovered", extra={"action": "journal-recovered", "objects": made})
    return made


def _recover_one(path: Path, folder: Path, objects: Path, rewrite: Rewrite) -> int:
    made, kept = 0, []
    with _dead(path) as is_dead:
        if not is_dead:
            return 0
        for record in records(path):
            target = objects / record.key[:2] / record.key
            if _was_removed(folder, record):
                continue
            if _holds(target, record.key):
                kept.append(str(target))
            elif record.is_whole:
                rewrite(record.key, record.content)
                made += 1
        syncer = Syncer(objects)
        try:
            syncer.sync(kept)
        finally:
            syncer.close()
    return made


def _holds(target: Path, key: ObjectKey) -> bool:
    try:
        return is_whole(key, memoryview(target.read_bytes()))
    except FileNotFoundError:
        return False


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _dead(path: Path) -> Iterator[bool]:
    """Tell whether a segment's owner is dead; where it is, the segment goes with the block."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):  # its owner has just given it up, or lives
            yield False
            return
        yield path.exists()
        path.unlink(missing_ok=True)


def unsettled(folder: Path) -> int:
    """Return how many records the journals hold at this moment."""
    return sum(sum(1 for _ in records(path)) for path in folder.glob(f"*{SUFFIX}"))


# -------------------------------------------------------------------------------------------------------- removal
def forget(folder: Path, key: ObjectKey) -> None:
    """Keep a later recovery from bringing back an object that is about to be removed.

    What is noted is which generations may hold it: it is put again in another one, or synced by whoever puts it.
    """
    generations = _generations(folder)
    if not generations:
        return
    notes = folder / _REMOVED
    if not notes.is_dir():
        notes.mkdir(exist_ok=True)
        sync_folder(folder)
    with (notes / key).open("wb") as file:
        file.write(b"".join(sorted(generations)))
        file.flush()
        os.fsync(file.fileno())
    sync_folder(notes)


def is_forgotten(folder: str, key: ObjectKey) -> bool:
    """Tell whether a recovery may pass an object over."""
    return os.path.exists(f"{folder}/{_REMOVED}/{key}")  # noqa: PTH110 - asked for every instance


def tidy(folder: Path) -> None:
    """Remove the notes on generations that are no more."""
    notes = folder / _REMOVED
    noted = list(notes.iterdir()) if notes.is_dir() else []
    generations = _generations(folder) if noted else set()
    for path in noted:
        if not generations & _noted(path):
            path.unlink(missing_ok=True)


def _was_removed(folder: Path, record: Record) -> bool:
    return record.generation in _noted(folder / _REMOVED / record.key)


def _generations(folder: Path) -> set[bytes]:
    found = map(generation_of, folder.glob(f"*{SUFFIX}"))
    return {generation for generation in found if generation is not None}


def _noted(path: Path) -> set[bytes]:
    content = b""
    with suppress(FileNotFoundError):
        content = path.read_bytes()
    starts = range(0, len(content) - GENERATION_BYTES + 1, GENERATION_BYTES)
    return {content[start : start + GENERATION_BYTES] for start in starts}


def _warn(text: str, error: OSError, *, action: str) -> None:
    logger.warning(text, extra={"action": action, "reason": error.strerror})

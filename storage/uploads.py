"""Brings what has landed to the object store, reads it back, and only then lets the landing zone forget it.

For each object, in this order: the copy here is read and has its digest; it is put into the object store; the object
store's copy is read back and has the digest; the row that says "on its way" is deleted, committed; the copy here is
removed.  A process that dies in between leaves a row or a file, and whoever comes next repeats what is left.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO, Final

from storage.catalog import landings, removals
from storage.catalog.landings import LONGEST_WAIT, Copy
from storage.errors import Misconfigured, ObjectCorrupt, ObjectMissing, StorageError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from storage.catalog.landings import Landed
    from storage.database import Database
    from storage.landing import Landing
    from storage.ports import ObjectStore
    from storage.records import ObjectKey

logger = logging.getLogger(__name__)

PARALLEL: Final = 4
"""Uploads at a time: one alone does not use what a store of S3 can take, and more would take from senders."""
_BATCH: Final = 8 * PARALLEL
_CHUNK: Final = 1 << 20
_FIRST_WAIT: Final = timedelta(seconds=1)
"""After a first failed attempt at one object; doubled with each further one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often an uploader looks, in seconds."""

    look_s: float = 1.0
    """Between two looks where nothing rings: another process's arrivals are seen so."""
    away_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0)
    """Before an object store that is away is asked again: the first time, the second, ..."""
    tell_s: float = 60.0
    """Between two log lines of a backlog that lasts."""
    tidy_s: float = 60.0
    """Between two looks for files without a row."""
    settle_s: float = 300.0
    """A file without a row that is younger may still get one: its instance is arriving."""


@dataclass(slots=True)
class _Outcome:
    """What became of a batch."""

    copies: list[Copy] = field(default_factory=list)
    failed: dict[Landed, StorageError] = field(default_factory=dict)
    """The object itself is at fault, here or there."""
    away: dict[Landed, StorageError] = field(default_factory=dict)
    """The object store is: nothing more is tried now."""


class Uploader:
    """One process's uploader of one landing zone; of those that share the folder, one works at a time.

    `adopt` is called for a file without a row, with its key, and has it indexed as if it arrived now: left by a crash
    before the row was committed, or by a catalogue that was lost.
    """

    def __init__(
        self,
        landing: Landing,
        *,
        store: ObjectStore,
        database: Database,
        adopt: Callable[[ObjectKey], None],
        pace: Pace = Pace(),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._landing, self._store, self._database, self._adopt = landing, store, database, adopt
        self._pace, self._clock = pace, clock
        self._lock_file: BinaryIO | None = None
        self._thread = threading.Thread(target=self._run, name="uploads", daemon=True)
        self._stopped = threading.Event()
        self._away_times = 0
        self._count_at = 0.0
        self._tell_at = 0.0
        self._tidy_at = 0.0

    def start(self) -> None:
        """Upload in a thread of its own until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Let the uploads under way end, and return; what is left goes on at the next start."""
        self._stopped.set()
        self._landing.bell.set()
        if self._thread.is_alive():
            self._thread.join()
        self._give_up()

    # -------------------------------------------------------------------------------------------------- the loop
    def _run(self) -> None:
        while not self._stopped.is_set():
            self._landing.bell.clear()
            try:
                rest_s = self.step()
            except Unavailable as error:  # the catalogue: the object store's absence is an outcome
                logger.warning("storage away", extra={"action": "storage-away", "loop": "uploads", "error": str(error)})
                rest_s = self._pace.away_s[0]
            except Exception:
                logger.exception("a step failed", extra={"action": "step-failed", "loop": "uploads"})
                rest_s = self._pace.away_s[0]
            if self._away_times:
                self._stopped.wait(rest_s)  # a ring does not bring the object store back
            elif rest_s:
                self._landing.bell.wait(rest_s)

    def step(self) -> float:
        """Upload one batch; return for how many seconds there is nothing to do, 0 where there may be more."""
        self._count()
        if not self._is_ours():
            return self._pace.look_s
        self._tidy()
        with self._database.read() as tx:
            batch = landings.due(tx, self._landing.place, now=self._clock(), limit=_BATCH)
        if not batch:
            self._away_times = 0
            return self._pace.look_s
        outcome = self._upload(batch)
        self._note(outcome)
        return self._rest(outcome)

    def _rest(self, outcome: _Outcome) -> float:
        if not outcome.away:
            if self._away_times:
                logger.info("object store back", extra={"action": "uploads-resumed"})
            self._away_times = 0
            return 0.0 if outcome.copies or outcome.failed else self._pace.look_s
        waits_s = self._pace.away_s[min(self._away_times, len(self._pace.away_s) - 1)]
        self._away_times += 1
        if self._away_times == 1:
            reason = type(next(iter(outcome.away.values()))).__name__
            logger.warning("object store away, uploads wait", extra={"action": "uploads-wait", "reason": reason})
        return waits_s

    # ----------------------------------------------------------------------------------------------- one at a time
    def _is_ours(self) -> bool:
        """Tell whether this process uploads: the kernel takes the lock back from one that dies."""
        if self._lock_file is not None:
            return True
        file = self._landing.lock_path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another process of this host uploads
            file.close()
            return False
        self._lock_file = file
        return True

    def _give_up(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    # --------------------------------------------------------------------------------------------------- uploading
    def _upload(self, batch: Sequence[Landed]) -> _Outcome:
        """Bring objects on, oldest first, until the object store turns out to be away."""
        outcome = _Outcome()
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="upload") as pool:
            list(pool.map(lambda landed: self._bring(landed, outcome), batch))
        return outcome

    def _bring(self, landed: Landed, outcome: _Outcome) -> None:
        if outcome.away or self._stopped.is_set():
            return
        try:
            outcome.copies.append(self._brought(landed))
        except (Unavailable, Misconfigured) as error:
            outcome.away[landed] = error
        except StorageError as error:
            outcome.failed[landed] = error

    def _brought(self, landed: Landed) -> Copy:
        key = landed.object_key
        try:
            self._check_here(landed)
        except ObjectMissing:  # uploaded, its row entered again by a sender at the same moment
            return self._read_back(landed)
        with self._landing.objects.open(key) as source:
            self._store.put(key, source)
        try:
            return self._read_back(landed)
        except ObjectCorrupt:
            # The copy here is good and stays: the next attempt puts it where the bad one was.
            self._store.remove(key)
            raise

    def _check_here(self, landed: Landed) -> None:
        with self._landing.objects.open(landed.object_key, offset=landed.meta_bytes) as stream:
            if _digest(stream)[0] != landed.object_key:
                raise ObjectCorrupt(f"object {landed.object_key} in the landing zone no longer has its digest")

    def _read_back(self, landed: Landed) -> Copy:
        """Return the object store's copy, read to its end; `ObjectCorrupt` where it is not what was received."""
        key = landed.object_key
        with self._store.open(key, offset=landed.meta_bytes) as stream:
            digest, length = _digest(stream)
        if digest == key:
            return Copy(object_key=key, size_bytes=landed.meta_bytes + length, meta_bytes=landed.meta_bytes)
        # The object store may have had the data set before, with file meta of another length.
        size_bytes = self._store.size(key)
        meta_bytes = size_bytes - (landed.size_bytes - landed.meta_bytes)
        if meta_bytes >= 0 and meta_bytes != landed.meta_bytes:
            with self._store.open(key, offset=meta_bytes) as stream:
                if _digest(stream)[0] == key:
                    return Copy(object_key=key, size_bytes=size_bytes, meta_bytes=meta_bytes)
        raise ObjectCorrupt(f"object {key} was read back from the object store with another digest")

    def _note(self, outcome: _Outcome) -> None:
        """Commit what became of a batch, then remove the files that are needed no more."""
        if not (outcome.copies or outcome.failed or outcome.away):
            return
        now, place = self._clock(), self._landing.place
        with self._database.write() as tx:
            landings.arrived(tx, outcome.copies)
            for landed, error in outcome.away.items():
                landings.note_failed(tx, place, landed.object_key, type(error).__name__)
            for landed, error in outcome.failed.items():
                waits = min(_FIRST_WAIT * 2 ** min(landed.attempts, 10), LONGEST_WAIT)
                landings.note_failed(tx, place, landed.object_key, type(error).__name__, not_before=now + waits)
        for copy in outcome.copies:
            self._landing.objects.remove(copy.object_key)
        for landed, error in outcome.failed.items():
            extra = {"action": "upload-failed", "object": landed.object_key, "attempts": landed.attempts + 1}
            logger.error("object not uploaded", extra={**extra, "error": type(error).__name__, "reason": str(error)})

    # -------------------------------------------------------------------------------------------------- tidying up
    def _tidy(self) -> None:
        """Find what no row speaks of: what was uploaded or removed goes, anything else is taken in."""
        if time.monotonic() < self._tidy_at:
            return
        leftovers = list(self._leftovers())
        if leftovers and not self._answers():  # nobody can tell whether these were uploaded
            self._tidy_at = time.monotonic() + self._pace.away_s[-1]
            return
        self._tidy_at = time.monotonic() + self._pace.tidy_s  # before anything that may fail: uploads must go on
        for key in leftovers:
            self._tidy_one(key)

    def _leftovers(self) -> Iterator[ObjectKey]:
        with self._database.read() as tx:
            known = landings.keys_of(tx, self._landing.place)
        old = time.time() - self._pace.settle_s
        for key in list(self._landing.objects.keys()):
            if key not in known and self._landing.changed_at(key) <= old:
                yield key

    def _tidy_one(self, key: ObjectKey) -> None:
        with self._database.write() as tx:  # a sender who wants the object back waits, and then puts it again
            if removals.hold_removed(tx, key):
                self._landing.objects.remove(key)
                return
        logger.info("landed object taken in", extra={"action": "landing-adopted", "object": key})
        self._adopt(key)

    def _answers(self) -> bool:
        try:
            self._store.ping()
        except (Unavailable, Misconfigured):  # its absence is told with the uploads
            return False
        return True

    # ------------------------------------------------------------------------------------------------------ telling
    def _count(self) -> None:
        """Count the backlog about once a second, and log one that lasts once a minute."""
        now = time.monotonic()
        if now < self._count_at:
            return
        self._count_at = now + self._pace.look_s
        backlog = self._landing.recount(self._database)
        age_s = (self._clock() - backlog.oldest).total_seconds() if backlog else 0.0
        if backlog is None or age_s < self._pace.tell_s or now < self._tell_at:
            return
        self._tell_at = now + self._pace.tell_s
        extra = {"objects": backlog.objects, "bytes": backlog.size_bytes, "seconds": round(age_s)}
        logger.warning("landing zone waits for the object store", extra={"action": "landing-behind", **extra})


def _digest(stream: BinaryIO) -> tuple[str, int]:
    """Return the SHA-256 of what is left of a stream, and its length."""
    digest, length = hashlib.sha256(), 0
    while part := stream.read(_CHUNK):
        digest.update(part)
        length += len(part)
    return digest.hexdigest(), length

"""Looks after kept objects for life: reads every one, finds damage, and removes what no row has needed for a while."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from storage import checksum
from storage.archive import utc_now
from storage.catalog import checksums, damages, references, removals
from storage.catalog.damages import Damage
from storage.errors import CatalogueUnavailable, ObjectMissing, ObjectOnItsWay
from storage.removal import remove_object
from storage.turn import Stopped, turn_at

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.checksum import Running
    from storage.records import ObjectKey
    from storage.turn import Turn

logger = logging.getLogger(__name__)

KIND = "scrub"
AFTER = timedelta(hours=24)
RATE_MB_S = 20.0
_CHUNK = 1 << 20
_PAGE = 500
_LONGEST_RECEPTION = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """How far a scrub is, and what it found; objects, but for `bytes`."""

    checked: int = 0
    bytes: int = 0
    waiting: int = 0
    """In the landing zone of another host, where this process cannot read them: the next scrub will."""
    missing: int = 0
    corrupt: int = 0
    restored: int = 0
    """Damaged at an earlier scrub, whole now."""
    unreferenced: int = 0
    """No row needs them, but not yet for long enough."""
    removed: int = 0
    postponed: int = 0
    """Due to be removed, but the catalogue could not be held for it."""

    @property
    def clean(self) -> bool:
        """Whether every needed object is whole and nothing else is there."""
        return not (self.missing or self.corrupt or self.unreferenced)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How a scrub goes about it."""

    rate_mb_s: float = RATE_MB_S
    """Most megabytes read per second; 0: as fast as it goes."""
    after: timedelta = AFTER
    """How long no row must have needed an object before it is removed."""
    clock: Callable[[], datetime] = utc_now
    sleep: Callable[[float], object] = time.sleep
    stopped: Callable[[], bool] = lambda: False


def scrub(
    archive: Archive,
    manner: Manner,
    *,
    actor: str,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Figures:
    """Scrub the archive, or go on with a scrub that was stopped or killed.

    Damaged objects are told (change, audit, log) once, and never removed.  `on_progress` hears (checked, to check).

    Raises
    ------
    UnderWay
        Another process is at it.
    Stopped
        `manner.stopped` said so.
    Unavailable
        Object store or catalogue does not answer; what was found so far is kept.
    """
    with turn_at(archive.database, KIND, clock=manner.clock) as turn:
        work = _Work(archive, manner, turn, actor)
        work.check(on_progress)
        work.list_unreferenced()
        work.remove_marked()
        work.end()
        return work.figures


class _Work:
    """One process's part in a run."""

    def __init__(self, archive: Archive, manner: Manner, turn: Turn, actor: str) -> None:
        self._archive = archive
        self._manner = manner
        self._turn = turn
        self._actor = actor
        self._position = turn.run.position
        self.figures = Figures(**turn.run.figures)
        self._started = time.monotonic()
        self._read_here = 0

    # ------------------------------------------------------------------------------------------------- what is needed
    def check(self, on_progress: Callable[[int, int], None]) -> None:
        """Read every needed object from where the run stands."""
        with self._archive.database.read() as tx:
            total = references.count(tx)
        while page := self._page():
            known, unsummed = self._known_about([key for key, _ in page])
            summed: dict[ObjectKey, bytes] = {}
            for key, meta_bytes in page:
                quick = checksum.begun() if key in unsummed else None
                if self._check_one(key, meta_bytes, quick, known=key in known) and quick is not None:
                    summed[key] = quick.digest()
                self._position = key
                on_progress(self.figures.checked, max(total, self.figures.checked))
                self._beat_in_time()
            self._note_checksums(summed)
            self._beat()

    def _page(self) -> list[tuple[ObjectKey, int]]:
        with self._archive.database.read() as tx:
            return references.page(tx, after=self._position, limit=_PAGE)

    def _damage(self, key: ObjectKey, meta_bytes: int, quick: Running | None) -> Damage | None:
        digest = hashlib.sha256()
        try:
            with self._archive.objects.open(key, offset=meta_bytes) as stream:
                while part := stream.read(_CHUNK):
                    digest.update(part)
                    if quick is not None:
                        quick.update(part)
                    self._pace(len(part))
        except ObjectMissing:
            return Damage.MISSING
        return None if digest.hexdigest() == key else Damage.CORRUPT

    def _check_one(self, key: ObjectKey, meta_bytes: int, quick: Running | None, *, known: bool) -> bool:
        """Tell whether an object is whole; its bytes go into `quick` too."""
        try:
            damage = found = self._damage(key, meta_bytes, quick)
        except ObjectOnItsWay:
            self._count(waiting=1)
            return False
        if damage or known:
            damage = self._note(key, damage)
        self._count(checked=1, **({damage.value: 1} if damage else {}))
        return found is None

    def _known_about(self, keys: list[ObjectKey]) -> tuple[set[ObjectKey], set[ObjectKey]]:
        """Return those that are known as damaged, and those whose checksum nobody has noted."""
        with self._archive.database.read() as tx:
            return damages.known_among(tx, keys), checksums.lacking(tx, keys)

    def _note_checksums(self, found: Mapping[ObjectKey, bytes]) -> None:
        if found:
            with self._archive.database.write() as tx:
                checksums.note(tx, found)

    def _note(self, key: ObjectKey, damage: Damage | None) -> Damage | None:
        """Note what was found of an object, and return it; nothing where its last row went while it was read."""
        now = self._manner.clock()
        with self._archive.database.write() as tx:
            if not references.needed(tx, [key]):
                return None
            if damage is None:
                self._count(restored=int(damages.mend(tx, key, actor=self._actor, now=now)))
                return None
            new = damages.note(tx, key, damage, actor=self._actor, now=now)
        if new:
            fields = {"action": "object-damaged", "object": key, "reason": damage.value}
            logger.error("an object is not what was received", extra=fields)
        return damage

    # --------------------------------------------------------------------------------------------- what nobody needs
    def list_unreferenced(self) -> None:
        """Note every object that no row needs, and mark those that have been so for long enough."""
        now = self._manner.clock()
        with self._archive.database.write() as tx:
            removals.prune(tx, before=now - _LONGEST_RECEPTION)
        keys = self._archive.objects.keys()
        while batch := list(islice(keys, _PAGE)):
            self._look_at(batch, now)
            self._beat_in_time()

    def _look_at(self, keys: list[ObjectKey], now: datetime) -> None:
        with self._archive.database.read() as tx:
            needed = references.needed(tx, keys)
            reprieved = removals.seen(tx, sorted(needed))
        unneeded = [key for key in keys if key not in needed]
        if not (unneeded or reprieved):
            return
        with self._archive.database.write() as tx:
            removals.forget_seen(tx, reprieved)
            removals.note_seen(tx, unneeded, now=now)
        try:
            with self._archive.database.write() as tx:
                removals.exclude_senders(tx)
                marked = removals.mark_old(tx, unneeded, before=now - self._manner.after)
        except CatalogueUnavailable:
            # A backup may hold the table for hours: what is due stays for the next scrub.
            marked = []
            self._count(postponed=len(unneeded))
            logger.warning("removals postponed", extra={"action": "removals-postponed", "objects": len(unneeded)})
        self._count(unreferenced=len(unneeded) - len(marked))

    def remove_marked(self) -> None:
        """Remove what is marked, also by a scrub or a removal that was killed."""
        last = ""
        while keys := self._marked(last):
            for key in keys:
                self._remove(key)
            last = keys[-1]

    def _marked(self, after: str) -> list[ObjectKey]:
        with self._archive.database.read() as tx:
            return removals.marked(tx, after=after, limit=_PAGE)

    def _remove(self, key: ObjectKey) -> None:
        if remove_object(self._archive, key, now=self._manner.clock()):
            self._count(removed=1)
            logger.info("object removed", extra={"action": "object-removed", "object": key})
        self._beat_in_time()

    # ------------------------------------------------------------------------------------------------------ the run
    def end(self) -> None:
        """Note that the run is over, and what it found."""
        self._turn.end(asdict(self.figures))
        logger.info("scrub ended", extra={"action": "scrub-ended", "objects": self.figures.checked})

    def _count(self, **more: int) -> None:
        self.figures = replace(self.figures, **{name: getattr(self.figures, name) + by for name, by in more.items()})

    def _pace(self, size_bytes: int) -> None:
        self._count(bytes=size_bytes)
        self._read_here += size_bytes
        if self._manner.rate_mb_s:
            ahead_s = self._read_here / (self._manner.rate_mb_s * 1e6) - (time.monotonic() - self._started)
            if ahead_s > 0:
                self._manner.sleep(ahead_s)
        self._beat_in_time()

    def _beat_in_time(self) -> None:
        if self._manner.stopped():
            self._beat()
            raise Stopped
        if self._turn.is_due:
            self._beat()

    def _beat(self) -> None:
        self._turn.beat(self._position, asdict(self.figures))

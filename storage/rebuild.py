"""Makes a catalogue anew from the object store alone.

First the tombstones, then everything else in any order, and last the conflicts: which of several objects with one SOP
Instance UID is kept is the one that a person preferred, else the one that was received first, else (where the files do
not say when) the one with the smallest key.  So the outcome does not depend on the order of the listing.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from storage import tombstones
from storage.archive import utc_now
from storage.catalog import arrivals, hidden, references, rejections, removals, renewal
from storage.catalog import tombstones as tombstone_rows
from storage.catalog.arrivals import Kept
from storage.catalog.removals import State
from storage.conflicts import same_but_for_syntax
from storage.errors import Damaged, Rejected, StorageError
from storage.records import Arrival, InstanceUid, ObjectKey, Verdict
from storage.tombstones import MAGIC, Kind, Tombstone
from storage.turn import turn_at

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.database import Transaction
    from storage.ports import ObjectStore
    from storage.turn import Turn

logger = logging.getLogger(__name__)

KIND = "rebuild"
LOST = (
    "jobs, results, and what people said of studies: priorities, what was read, feedback",
    "revisions and states of studies",
    "network addresses and users of senders",
    "receive times of files that older releases wrote",
)
"""What only the catalogue knew.  Peers, targets, audit, changes and workitems too, which stay where it is replaced."""
_FILLING = "filling"
_BATCH = 256
_READERS = 8
_LATEST = datetime.max.replace(tzinfo=UTC)


class NotEmpty(Rejected):
    """The catalogue is not empty; --replace makes a copy of it and begins anew."""


class Unreadable(StorageError):
    """An object is neither a DICOM file that this archive would take nor a tombstone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An object as it arrives for the second time."""

    arrival: Arrival
    received: datetime | None
    """When it arrived for the first time, where its file says so."""


ReadObject = Callable[["ObjectStore", ObjectKey], Found]
"""Reads an object's file meta and header; `Unreadable` where that cannot be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What was made of the objects."""

    entered: int = 0
    """New instances."""
    quarantined: int = 0
    """Copies with a kept one's SOP Instance UID and other content."""
    reencoded: int = 0
    """Copies of a kept one in another transfer syntax: left without a row, for the scrub."""
    hidden: int = 0
    """Instances that stay out of sight."""
    buried: int = 0
    """Objects that were removed on purpose."""
    tombstones: int = 0
    without_time: int = 0
    """Instances whose file does not say when it was received."""
    unreadable: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Graveyard:
    """What the tombstones say, taken together."""

    told: tuple[Tombstone, ...] = ()
    dead: Mapping[ObjectKey, ObjectKey] = field(default_factory=dict)
    """Object -> the tombstone that holds for it."""
    preferred: Mapping[InstanceUid, tuple[datetime, ObjectKey]] = field(default_factory=dict)
    hidden: Sequence[tuple[Tombstone, tuple[InstanceUid, ...]]] = ()
    """Tombstones with the UIDs that they still keep out of sight."""


def rebuild(
    archive: Archive,
    read: ReadObject,
    *,
    replace_it: bool = False,
    clock: Callable[[], datetime] = utc_now,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Figures:
    """Fill an empty catalogue with what the object store holds; killed, it goes on when it is run again.

    `on_progress` hears (objects read, objects there).

    Raises
    ------
    NotEmpty
        The catalogue holds studies, and `replace_it` does not say that they may go, after a copy was made.
    UnderWay
        Another process is at it.
    Unavailable
        Object store or catalogue does not answer; run it again.
    """
    with archive.database.read() as tx:
        may_fill = replace_it or renewal.is_empty(tx) or renewal.is_under_way(tx, KIND)
    if not may_fill:
        raise NotEmpty
    with turn_at(archive.database, KIND, clock=clock) as turn:
        if turn.run.position != _FILLING:
            _begin(archive, turn, clock())
        work = _Work(archive, read, turn, clock)
        graveyard = work.bury()
        work.enter(on_progress)
        work.decide_conflicts(graveyard.preferred)
        work.finish(graveyard)
        return work.figures


def _begin(archive: Archive, turn: Turn, now: datetime) -> None:
    database = archive.database
    with database.read() as tx:
        empty = renewal.is_empty(tx)
    name = f"before_{now:%Y%m%d_%H%M%S}"
    if not empty and database.is_sqlite:
        _copy_sqlite(database.url, name)
    with database.write() as tx:
        if not empty:
            renewal.clear(tx, copy_to=name)
    turn.beat(_FILLING, asdict(Figures()))


def _copy_sqlite(url: str, name: str) -> None:
    path = unquote(urlsplit(url).path).replace("//", "/")
    with closing(sqlite3.connect(path)) as here, closing(sqlite3.connect(f"{path}.{name}")) as there:
        here.backup(there)


class _Work:
    """One turn at filling the catalogue."""

    def __init__(self, archive: Archive, read: ReadObject, turn: Turn, clock: Callable[[], datetime]) -> None:
        self._archive = archive
        self._read_object = read
        self._turn = turn
        self._clock = clock
        self._rivals: dict[InstanceUid, list[Found]] = defaultdict(list)
        self.figures = Figures()
        self._skipped: set[ObjectKey] = set()
        """Tombstones, and what they bury."""
        self._remains: set[ObjectKey] = set()
        """What is buried, and lies there still."""
        self._there = 0

    def bury(self) -> Graveyard:
        """Read every tombstone and enter its row."""
        told: list[Tombstone] = []
        with ThreadPoolExecutor(_READERS) as pool:
            for batch in _batches(self._archive.objects.keys()):
                for key, start in zip(batch, pool.map(self._start, batch), strict=True):
                    if tombstones.is_tombstone(start):
                        self._skipped.add(key)
                        told += self._tombstone(key)
                self._there += len(batch)
                self._beat_in_time()
        graveyard = _graveyard(told)
        with self._archive.database.write() as tx:
            for tombstone in told:
                tombstone_rows.add(tx, tombstone)
            for tombstone, uids in graveyard.hidden:
                hidden.expect(tx, uids, tombstone)  # so that they are hidden as they arrive
        self._skipped |= graveyard.dead.keys()
        self._count(tombstones=len(told), buried=len(graveyard.dead))
        return graveyard

    def enter(self, on_progress: Callable[[int, int], None]) -> None:
        """Enter all instances but those whose UID is taken already: these are rivals, judged when all are known."""
        done = 0
        with ThreadPoolExecutor(_READERS) as pool:
            for batch in _batches(self._archive.objects.keys()):
                self._remains.update(self._skipped.intersection(batch))
                found = pool.map(self._read, self._unknown(batch))
                self._enter_batch([each for each in found if each is not None])
                done += len(batch)
                on_progress(done, max(done, self._there))
                self._beat_in_time()

    def decide_conflicts(self, preferred: Mapping[InstanceUid, tuple[datetime, ObjectKey]]) -> None:
        """Keep one of the objects with one SOP Instance UID, and put the others aside."""
        for uid, rivals in self._rivals.items():
            self._decide(uid, rivals, preferred.get(uid))
            self._beat_in_time()

    def finish(self, graveyard: Graveyard) -> None:
        """Mark what was removed on purpose and is there still, give studies their times, and end the run."""
        now = self._clock()
        with self._archive.database.write() as tx:
            removals.exclude_senders(tx)
            for key, tombstone in graveyard.dead.items():
                if not references.needed(tx, [key]):
                    state = State.MARKED if key in self._remains else State.GONE
                    removals.mark(tx, [key], tombstone=tombstone, now=now, state=state)
            for stone in graveyard.told:
                if stone.note is not None:
                    rejections.note_applied(tx, stone.note, code=stone.code)
            self._count(without_time=renewal.tell_times(tx, now=now))
        self._turn.end(asdict(self.figures))

    # ----------------------------------------------------------------------------------------------------- reading
    def _start(self, key: ObjectKey) -> bytes:
        try:
            with self._archive.objects.open(key, length=len(MAGIC)) as stream:
                return stream.read(len(MAGIC))
        except Damaged:  # gone since it was listed: there is nothing to enter
            return b""

    def _tombstone(self, key: ObjectKey) -> Iterator[Tombstone]:
        try:
            yield tombstones.read(self._archive.objects, key)
        except Damaged as error:
            self._leave_out(key, error)

    def _read(self, key: ObjectKey) -> Found | None:
        try:
            return self._read_object(self._archive.objects, key)
        except (Unreadable, Damaged) as error:
            self._leave_out(key, error)
            return None

    def _leave_out(self, key: ObjectKey, error: StorageError) -> None:
        self._count(unreadable=1)
        fields = {"action": "object-unreadable", "object": key, "reason": str(error)}
        logger.warning("an object cannot be entered", extra=fields)

    # ---------------------------------------------------------------------------------------------------- entering
    def _unknown(self, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
        """Return those that an earlier turn has not entered."""
        wanted = [key for key in keys if key not in self._skipped]
        with self._archive.database.read() as tx:
            known = references.needed(tx, wanted)
        return [key for key in wanted if key not in known]

    def _enter_batch(self, found: Sequence[Found]) -> None:
        with self._archive.database.write() as tx:
            answers = arrivals.record(tx, [each.arrival for each in found], now=self._clock(), lapses=False)
            stored = [each for each, answer in zip(found, answers, strict=True) if answer is Verdict.STORED]
            aside = [each for each, answer in zip(found, answers, strict=True) if answer is Verdict.HIDDEN]
            renewal.note_received(tx, _times([*stored, *aside]))
        for each, answer in zip(found, answers, strict=True):
            if not isinstance(answer, Verdict):
                self._rivals[each.arrival.header.sop_instance_uid].append(each)
        self._count(entered=len(stored), hidden=len(aside))

    def _decide(self, uid: InstanceUid, rivals: Sequence[Found], preferred: tuple[datetime, ObjectKey] | None) -> None:
        with self._archive.database.read() as tx:
            kept_key = renewal.key_of(tx, uid)
        kept = self._read(kept_key)
        if kept is None:
            return
        choice = preferred[1] if preferred else None
        first, *others = sorted([kept, *rivals], key=lambda each: _precedence(each, choice))
        apart = [each for each in others if not self._is_reencoded(first, each)]
        with self._archive.database.write() as tx:
            if first is not kept:
                renewal.drop_instance(tx, uid)
                arrivals.record(tx, [first.arrival], now=self._clock(), lapses=False)
                renewal.note_received(tx, _times([first]))
            for each in apart:
                answer = arrivals.record(tx, [each.arrival], now=self._clock(), lapses=False)[0]
                if isinstance(answer, Kept):
                    self._put_aside(tx, each, answer)
        self._count(quarantined=len(apart), reencoded=len(others) - len(apart))

    def _put_aside(self, tx: Transaction, found: Found, kept: Kept) -> None:
        arrivals.put_aside(tx, found.arrival, kept, now=found.received or self._clock())

    def _is_reencoded(self, first: Found, second: Found) -> bool:
        one, other = first.arrival.header, second.arrival.header
        if (one.study_instance_uid, one.series_instance_uid) != (other.study_instance_uid, other.series_instance_uid):
            return False
        if one.transfer_syntax_uid == other.transfer_syntax_uid:
            return False
        objects = self._archive.objects
        with objects.open(first.arrival.key) as kept, objects.open(second.arrival.key) as copy:
            return same_but_for_syntax(kept, copy)

    # ------------------------------------------------------------------------------------------------------ the run
    def _count(self, **more: int) -> None:
        self.figures = replace(self.figures, **{name: getattr(self.figures, name) + by for name, by in more.items()})

    def _beat_in_time(self) -> None:
        if self._turn.is_due:
            self._turn.beat(_FILLING, asdict(self.figures))


def _batches(keys: Iterator[ObjectKey]) -> Iterator[list[ObjectKey]]:
    return iter(lambda: list(islice(keys, _BATCH)), [])


def _graveyard(told: Iterable[Tombstone]) -> Graveyard:
    told = tuple(told)
    lifted = {(name, answer) for stone in told for answer in stone.answers for name in _names(stone)}
    dead: dict[ObjectKey, ObjectKey] = {}
    preferred: dict[InstanceUid, tuple[datetime, ObjectKey]] = {}
    for stone in told:
        for each in stone.objects:
            if stone.kind is Kind.REMOVED and (each.object_key, stone.key) not in lifted:
                dead[each.object_key] = stone.key
            if stone.kind is Kind.PREFERRED:
                choice = (stone.at, each.object_key)
                preferred[each.sop_instance_uid] = max(choice, preferred.get(each.sop_instance_uid, choice))
    hides = [(stone, _still_hidden(stone, lifted)) for stone in told if stone.kind is Kind.HIDDEN]
    return Graveyard(told=told, dead=dead, preferred=preferred, hidden=tuple(hides))


def _names(stone: Tombstone) -> Iterator[str]:
    """Yield by what a tombstone names its objects: what is out of sight is named by its UID."""
    for each in stone.objects:
        yield each.object_key
        yield each.sop_instance_uid
    yield from stone.awaited


def _still_hidden(stone: Tombstone, lifted: Collection[tuple[str, ObjectKey]]) -> tuple[InstanceUid, ...]:
    uids = (*(each.sop_instance_uid for each in stone.objects), *stone.awaited)
    return tuple(uid for uid in uids if (uid, stone.key) not in lifted)


def _precedence(found: Found, preferred: ObjectKey | None) -> tuple[bool, datetime, ObjectKey]:
    return (found.arrival.key != preferred, found.received or _LATEST, found.arrival.key)


def _times(found: Iterable[Found]) -> dict[ObjectKey, datetime]:
    return {each.arrival.key: each.received for each in found if each.received is not None}

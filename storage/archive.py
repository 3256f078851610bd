"""The archive: objects and catalogue kept consistent, the object durable first, its row second."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

from storage import tombstones
from storage.catalog import arrivals, audit, hidden, removals, renewal
from storage.catalog import tombstones as tombstone_rows
from storage.catalog.removals import Removal
from storage.conflicts import same_but_for_syntax
from storage.database import Database, GroupCommit
from storage.errors import CatalogueUnavailable
from storage.reading import Reading
from storage.records import Arrival, Verdict
from storage.room import Mark, Room
from storage.tombstones import Buried, Kind, Tombstone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from storage.database import Transaction
    from storage.landing import LandedObjects, Landing
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord, NamedInstance, ObjectKey, StudyUid

_AT_THIS_MOMENT = "the instance was hidden at this very moment; send it again"
Entered = TypeVar("Entered", bound=arrivals.Answer)


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class Source(Protocol):
    """What `Archive.keep` takes an arriving Part 10 file from: a `Spool`, or a file that is here already."""

    def reader(self) -> BinaryIO:
        """Return the file, positioned at its start."""
        ...


class Archive:
    """Keeps instances and gives them back, byte for byte.

    Safe to share between threads; any number of processes may share one object store and one catalogue.  A crash
    between object and row leaves an object without a row, which `scrub` finds, never a row without its object.
    """

    def __init__(
        self,
        *,
        objects: ObjectStore,
        database: Database,
        spool_folder: Path,
        room: Room | None = None,
        landing: LandedObjects | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.objects = objects
        self.store = landing.store if landing is not None else objects
        """The object store itself, which `objects` may stand before."""
        self._landing = landing
        self.database = database
        self.spool_folder = spool_folder
        self.room = room or Room([spool_folder], Mark.parse("0"))
        self._clock = clock
        self._commits: GroupCommit[Arrival, arrivals.Answer | Removal] = GroupCommit(database, self._record)

    @property
    def landing(self) -> Landing | None:
        """The landing zone of this host, where it has one."""
        return self._landing.landing if self._landing is not None else None

    def admit(self) -> None:
        """Return if an instance may arrive now.

        Raises
        ------
        Unavailable
            Nothing is taken in: the high-water mark is reached, or the landing zone full.
        """
        self.room.check()
        if self._landing is not None:
            self._landing.check()

    def keep(self, spool: Source, arrival: Arrival) -> Verdict:
        """Keep what `spool` holds; once this returns, object and row survive a power cut.

        Idempotent by SOP Instance UID and digest.  Callers in several threads share commits.

        Raises
        ------
        Unavailable
            Object store or catalogue cannot take it now; nothing was promised, the sender may try again.
        """
        arrival = self._put(spool, arrival)
        answer = self._commits.submit(arrival)
        if isinstance(answer, Removal):
            answer = self._enter_again(spool, arrival, answer, self._record_one)
        if isinstance(answer, arrivals.Lapsed):
            answer = self._bring_back(spool, arrival, answer)
        verdict = answer if isinstance(answer, Verdict) else self._second_copy(spool, arrival, answer)
        if self._landing is not None:
            self._landing.settle(arrival, verdict, now=self._clock())
        return verdict

    def release(self, study_uids: Iterable[StudyUid]) -> None:
        """Note that the association or request which brought these studies ended in order."""
        uids = list(study_uids)
        if uids:
            with self.database.write() as tx:
                arrivals.release(tx, uids, now=self._clock())

    def check_readable(self, tx: Transaction, instances: Sequence[InstanceRecord | NamedInstance]) -> None:
        """Return if all of these can be read here; `ObjectOnItsWay` where one is in another host's landing zone."""
        if self._landing is not None:
            self._landing.check_readable(tx, [instance.object_key for instance in instances])

    def open(self, instance: InstanceRecord) -> BinaryIO:
        """Open the Part 10 bytes of a kept instance."""
        return self.objects.open(instance.object_key)

    def open_data_set(self, instance: InstanceRecord) -> BinaryIO:
        """Open the data set bytes as they were received, without preamble and file meta."""
        return self.objects.open(instance.object_key, offset=instance.meta_bytes)

    def reading(self, instance: InstanceRecord) -> Reading:
        """Open a kept instance to be read from start to end; whoever asks closes it."""
        return Reading(self.open(instance), instance)

    def chunks(self, instance: InstanceRecord) -> Iterator[bytes]:
        """Yield the Part 10 bytes of a kept instance, checked as they pass.

        Raises
        ------
        ObjectCorrupt
            In place of the last piece, where they are not what was received.
        """
        with closing(self.reading(instance)) as reading:
            while piece := reading.read():
                yield piece

    def close(self) -> None:
        """Let running commits finish and close the database."""
        self._commits.close()
        self.database.close()

    def _record(self, tx: Transaction, batch: Sequence[Arrival]) -> list[arrivals.Answer | Removal]:
        """Enter arrivals, but for those whose object is about to go or has gone: these come back with it put again."""
        now = self._clock()
        met = removals.met(tx, [arrival.key for arrival in batch], now=now)
        late = arrivals.orphans(tx, batch)  # after `met`: a removal under way has ended
        entered = [arrival for arrival in batch if arrival.key not in met and arrival not in late]
        answers = arrivals.record(tx, entered, now=now)
        self._enter_landed(tx, entered, answers, now=now)
        following = iter(answers)
        return [self._answer(arrival, met, late) or next(following) for arrival in batch]

    @staticmethod
    def _answer(
        arrival: Arrival, met: Mapping[ObjectKey, Removal], late: Sequence[Arrival]
    ) -> Removal | Verdict | None:
        """Return what is said of an arrival that is not entered, None of one that is."""
        return Verdict.STUDY_GONE if arrival in late else met.get(arrival.key)

    def _record_one(self, tx: Transaction, arrival: Arrival) -> arrivals.Answer | Removal:
        return self._record(tx, [arrival])[0]

    def _put(self, spool: Source, arrival: Arrival) -> Arrival:
        """Put the object and return the arrival as it is kept.

        The same data set may lie there with file meta of another length: from a crash before its row was committed,
        or from a sender with another AE title that puts it at this moment.
        """
        size_bytes = self.objects.put(arrival.key, spool.reader())
        if size_bytes == arrival.size_bytes:
            return arrival
        meta_bytes = arrival.meta_bytes + size_bytes - arrival.size_bytes
        return replace(arrival, size_bytes=size_bytes, meta_bytes=meta_bytes)

    def _enter_landed(
        self, tx: Transaction, batch: Sequence[Arrival], answers: Sequence[arrivals.Answer], *, now: datetime
    ) -> None:
        if self._landing is not None:
            self._landing.enter(tx, batch, answers, now=now)

    def _enter_again(
        self,
        spool: Source,
        arrival: Arrival,
        removal: Removal,
        enter: Callable[[Transaction, Arrival], Entered | Removal],
    ) -> Entered:
        """Put the object again and `enter` its row, until no removal comes in between."""
        while True:
            arrival = self._put(spool, arrival)
            lifted = self._lift(arrival, removal)
            with self.database.write() as tx:
                removals.settle(tx, removal)
                answer = enter(tx, arrival)
                if not isinstance(answer, Removal):
                    if lifted is not None:
                        tombstone_rows.add(tx, lifted)
                    return answer
            removal = answer

    def _lift(self, arrival: Arrival, removal: Removal) -> Tombstone | None:
        """Have the object store remember that a removed object was sent again, before anybody is told it is kept."""
        if removal.tombstone is None:
            return None
        lifted = Tombstone(
            kind=Kind.RETURNED,
            study_instance_uid=arrival.header.study_instance_uid,
            at=self._clock(),
            actor=arrival.origin.calling_aet or arrival.origin.via,
            reason="sent again",
            objects=(Buried(sop_instance_uid=arrival.header.sop_instance_uid, object_key=arrival.key),),
            answers=(removal.tombstone,),
        )
        tombstones.put(self.store, lifted)
        return lifted

    def _bring_back(self, spool: Source, arrival: Arrival, lapsed: arrivals.Lapsed) -> Verdict | arrivals.Kept:
        """Have in sight again what was hidden because its retention had expired: it is sent again."""
        uid = arrival.header.sop_instance_uid
        restored = Tombstone(
            kind=Kind.RESTORED,
            study_instance_uid=arrival.header.study_instance_uid,
            at=self._clock(),
            actor=arrival.origin.calling_aet or arrival.origin.via,
            reason="sent again",
            objects=(Buried(sop_instance_uid=uid, object_key=arrival.key),),
            answers=(lapsed.tombstone_key,),
        )
        tombstones.put(self.store, restored)

        def enter(tx: Transaction, put: Arrival) -> arrivals.Answer | Removal:
            since = hidden.received_at(tx, uid)
            hidden.forget(tx, [uid])
            tombstone_rows.add(tx, restored)
            entered = self._record_one(tx, put)
            if since is not None and entered is Verdict.STORED:
                renewal.note_received(tx, {put.key: since})  # the object that is kept is the one that came then
            return entered

        with self.database.write() as tx:
            answer = enter(tx, arrival)
        if isinstance(answer, Removal):
            answer = self._enter_again(spool, arrival, answer, enter)
        if isinstance(answer, arrivals.Lapsed):
            raise CatalogueUnavailable(_AT_THIS_MOMENT)
        return answer

    def _second_copy(self, spool: Source, arrival: Arrival, kept: arrivals.Kept) -> Verdict:
        """Judge a copy that is not identical to the kept one: re-encoded, or a conflict (D-24)."""
        if self._is_reencoded(arrival, kept):
            with self.database.write() as tx:
                arrivals.note_resent(tx, arrival, now=self._clock())
            return Verdict.OTHER_SYNTAX

        def put_aside(tx: Transaction, put: Arrival) -> Verdict | Removal:
            now_kept = self._record_one(tx, put)  # what was kept may have been removed or replaced since
            if isinstance(now_kept, arrivals.Lapsed):
                raise CatalogueUnavailable(_AT_THIS_MOMENT)
            if not isinstance(now_kept, arrivals.Kept):
                return now_kept
            self._put_aside(tx, put, now_kept)
            return Verdict.CONFLICT

        with self.database.write() as tx:
            answer = put_aside(tx, arrival)
        return self._enter_again(spool, arrival, answer, put_aside) if isinstance(answer, Removal) else answer

    def _put_aside(self, tx: Transaction, arrival: Arrival, kept: arrivals.Kept) -> None:
        now, origin = self._clock(), arrival.origin
        if arrivals.put_aside(tx, arrival, kept, now=now):
            audit.append(
                tx,
                actor=origin.calling_aet or origin.via,
                action="quarantined",
                subject=arrival.header.sop_instance_uid,
                at=now,
                detail={"object_key": arrival.key, "address": origin.address},
            )

    def _is_reencoded(self, arrival: Arrival, kept: arrivals.Kept) -> bool:
        header = arrival.header
        if (kept.study_instance_uid, kept.series_instance_uid) != (
            header.study_instance_uid,
            header.series_instance_uid,
        ):
            return False
        if kept.transfer_syntax_uid == header.transfer_syntax_uid:
            return False
        with self.objects.open(kept.object_key) as first, self.objects.open(arrival.key) as second:
            return same_but_for_syntax(first, second)

"""The archive: objects and catalogue kept consistent, the object durable first, its row second."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from storage import tombstones
from storage.catalog import arrivals, removals
from storage.catalog import tombstones as tombstone_rows
from storage.catalog.removals import Removal
from storage.conflicts import same_but_for_syntax
from storage.database import Database, GroupCommit
from storage.errors import ObjectCorrupt
from storage.records import Arrival, Verdict
from storage.room import Mark, Room
from storage.tombstones import Buried, Kind, Tombstone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from storage.database import Transaction
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord, StudyUid
    from storage.spool import Spool

_CHUNK = 1 << 20

Entered = TypeVar("Entered")


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


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
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.objects = objects
        self.database = database
        self.spool_folder = spool_folder
        self.room = room or Room([spool_folder], Mark.parse("0"))
        self._clock = clock
        self._commits: GroupCommit[Arrival, Verdict | arrivals.Kept | Removal] = GroupCommit(database, self._record)

    def admit(self) -> None:
        """Return if an instance may arrive now.

        Raises
        ------
        Unavailable
            Nothing is taken in: the high-water mark is reached.
        """
        self.room.check()

    def keep(self, spool: Spool, arrival: Arrival) -> Verdict:
        """Keep what `spool` holds; once this returns, object and row survive a power cut.

        Idempotent by SOP Instance UID and digest.  Callers in several threads share commits.

        Raises
        ------
        Unavailable
            Object store or catalogue cannot take it now; nothing was promised, the sender may try again.
        """
        self.objects.put(arrival.key, spool.reader())
        answer = self._commits.submit(arrival)
        if isinstance(answer, Removal):
            answer = self._enter_again(spool, arrival, answer, lambda tx: self._record(tx, [arrival])[0])
        return answer if isinstance(answer, Verdict) else self._second_copy(spool, arrival, answer)

    def release(self, study_uids: Iterable[StudyUid]) -> None:
        """Note that the association or request which brought these studies ended in order."""
        uids = list(study_uids)
        if uids:
            with self.database.write() as tx:
                arrivals.release(tx, uids, now=self._clock())

    def open(self, instance: InstanceRecord) -> BinaryIO:
        """Open the Part 10 bytes of a kept instance."""
        return self.objects.open(instance.object_key)

    def open_data_set(self, instance: InstanceRecord) -> BinaryIO:
        """Open the data set bytes as they were received, without preamble and file meta."""
        return self.objects.open(instance.object_key, offset=instance.meta_bytes)

    def chunks(self, instance: InstanceRecord) -> Iterator[bytes]:
        """Yield the Part 10 bytes of a kept instance, checking the digest as they pass.

        Raises
        ------
        ObjectCorrupt
            After the last byte, where they are not what was received.
        """
        digest = hashlib.sha256()
        left = instance.meta_bytes
        with self.open(instance) as stream:
            while part := stream.read(_CHUNK):
                digest.update(part[left:] if left < len(part) else b"")
                left = max(0, left - len(part))
                yield part
        if digest.hexdigest() != instance.object_key:
            raise ObjectCorrupt(f"object {instance.object_key} no longer has its digest")

    def close(self) -> None:
        """Let running commits finish and close the database."""
        self._commits.close()
        self.database.close()

    def _record(self, tx: Transaction, batch: Sequence[Arrival]) -> list[Verdict | arrivals.Kept | Removal]:
        """Enter arrivals, but for those whose object is about to go or has gone: these come back with it put again."""
        now = self._clock()
        met = removals.met(tx, [arrival.key for arrival in batch], now=now)
        answers = iter(arrivals.record(tx, [arrival for arrival in batch if arrival.key not in met], now=now))
        return [met[arrival.key] if arrival.key in met else next(answers) for arrival in batch]

    def _enter_again(
        self, spool: Spool, arrival: Arrival, removal: Removal, enter: Callable[[Transaction], Entered | Removal]
    ) -> Entered:
        """Put the object again and `enter` its row, until no removal comes in between."""
        while True:
            self.objects.put(arrival.key, spool.reader())
            lifted = self._lift(arrival, removal)
            with self.database.write() as tx:
                removals.settle(tx, removal)
                answer = enter(tx)
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
        tombstones.put(self.objects, lifted)
        return lifted

    def _second_copy(self, spool: Spool, arrival: Arrival, kept: arrivals.Kept) -> Verdict:
        """Judge a copy that is not identical to the kept one: re-encoded, or a conflict (D-24)."""
        if self._is_reencoded(arrival, kept):
            with self.database.write() as tx:
                arrivals.note_resent(tx, arrival, now=self._clock())
            return Verdict.OTHER_SYNTAX

        def put_aside(tx: Transaction) -> Verdict | Removal:
            now = self._clock()
            if removal := removals.met(tx, [arrival.key], now=now).get(arrival.key):
                return removal
            arrivals.put_aside(tx, arrival, kept, now=now)
            return Verdict.CONFLICT

        with self.database.write() as tx:
            answer = put_aside(tx)
        return answer if isinstance(answer, Verdict) else self._enter_again(spool, arrival, answer, put_aside)

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

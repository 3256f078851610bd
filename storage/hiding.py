"""Out of sight, on somebody's word, and back: a tombstone first, then the rows; the bytes stay where they are (W-70).

The object store hears of it first, so that a catalogue that is made anew hides what was hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from storage import removal, tombstones
from storage.archive import utc_now
from storage.catalog import arrivals, audit, changes, deletions, facts, hidden, removals, renewal
from storage.catalog import tombstones as tombstone_rows
from storage.catalog.deletions import Target
from storage.errors import CatalogueUnavailable, CatalogueUnknown
from storage.tombstones import Buried, Kind, Tombstone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from storage.archive import Archive
    from storage.catalog.deletions import Doomed
    from storage.catalog.hidden import Chosen, Hidden
    from storage.database import Transaction
    from storage.rebuild import Found, ReadObject
    from storage.records import Arrival, Header, ObjectKey, Rejection, StudyUid

_TRIES = 10
_WAIT_MS = 5000


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """Who wants something hidden, and why; with the note that says so, where one does."""

    actor: str
    reason: str
    code: Rejection | None = None
    note: ObjectKey | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OutOfSight:
    """What was hidden."""

    instances: int
    awaited: int
    tombstone: ObjectKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What is in sight again."""

    instances: int
    forgotten: int
    """UIDs without bytes: nothing is there to be seen, but what is sent under them will be."""
    tombstone: ObjectKey


def hide(
    archive: Archive, target: Target, word: Word, read: ReadObject, *, clock: Callable[[], datetime] = utc_now
) -> OutOfSight:
    """Hide a study, a series or an instance: kept, and found by nobody, until it is restored.

    What is left of the study is its next revision, and models judge it anew.

    Raises
    ------
    CatalogueUnknown
        Nothing is in sight under the target's UIDs.
    Unavailable
        Object store or catalogue does not answer; nothing was hidden.
    """
    done = hide_found(archive, target, lambda tx: hidden.of_target(tx, target), word, read, clock=clock)
    if done is None:
        raise CatalogueUnavailable
    return done


def hide_found(
    archive: Archive,
    target: Target,
    find: Callable[[Transaction], Chosen],
    word: Word,
    read: ReadObject,
    *,
    end: Callable[[Transaction, Chosen], bool] = lambda _tx, _chosen: True,
    clock: Callable[[], datetime] = utc_now,
) -> OutOfSight | None:
    """Hide, as `hide` does, what `find` chooses of the target's study.

    None, and nothing done, where `end` says so in the transaction that would hide it.
    """
    for _ in range(_TRIES):
        with archive.database.read() as tx:
            chosen = find(tx)
        header = None if chosen.teller is None else read(archive.objects, chosen.teller).arrival.header
        tombstone = Tombstone(
            kind=Kind.HIDDEN,
            study_instance_uid=target.study,
            at=clock(),
            actor=word.actor,
            reason=word.reason,
            objects=chosen.instances,
            awaited=chosen.awaited,
            code=word.code or "",
            note=word.note,
        )
        tombstones.put(archive.store, tombstone)
        with archive.database.write() as tx:
            removals.exclude_senders(tx, wait_ms=_WAIT_MS)
            is_same = find(tx) == chosen
            if is_same and end(tx, chosen):
                _take_out_of_sight(tx, chosen, tombstone, header)
                _audit(tx, "hidden", target, tombstone, code=tombstone.code, awaited=len(tombstone.awaited))
                return OutOfSight(instances=len(chosen.instances), awaited=len(chosen.awaited), tombstone=tombstone.key)
        archive.store.remove(tombstone.key)  # it speaks of other instances than are there now, or is too late
        if is_same:
            return None
    raise CatalogueUnavailable("instances arrive faster than they can be hidden; try again when the sender is done")


def restore(
    archive: Archive,
    target: Target,
    read: ReadObject,
    *,
    actor: str,
    reason: str,
    clock: Callable[[], datetime] = utc_now,
) -> Restored:
    """Bring what is hidden under a target into sight again; its study's next revision is judged anew.

    A UID under which nothing has come, or whose bytes are gone, is forgotten: what is sent under it later is seen.

    Raises
    ------
    CatalogueUnknown
        Nothing is hidden under the target's UIDs.
    Damaged, storage.rebuild.Unreadable
        An object is not what was received; nothing was restored.
    Unavailable
        Object store or catalogue does not answer; nothing was restored.
    """
    for _ in range(_TRIES):
        with archive.database.read() as tx:
            rows = hidden.under(tx, target)
        if not rows:
            raise CatalogueUnknown("nothing is hidden under these UIDs")
        found = [(row, read(archive.objects, row.object_key)) for row in rows if row.object_key is not None]
        tombstone = _lifting(rows, actor=actor, reason=reason, now=clock())
        tombstones.put(archive.store, tombstone)
        with archive.database.write() as tx:
            removals.exclude_senders(tx, wait_ms=_WAIT_MS)
            if hidden.under(tx, target) == rows:
                _bring_into_sight(tx, rows, found, tombstone)
                _audit(tx, "restored", target, tombstone)
                return Restored(instances=len(found), forgotten=len(rows) - len(found), tombstone=tombstone.key)
        archive.store.remove(tombstone.key)
    raise CatalogueUnavailable("instances arrive faster than they can be restored; try again when the sender is done")


def purge(archive: Archive, after: timedelta, *, actor: str, clock: Callable[[], datetime] = utc_now) -> int:
    """Remove for good what has been out of sight for `after`, as `storage.removal.remove` does; return how much.

    Killed half way, the next purge or scrub goes on.
    """
    before = clock() - after
    removed = 0
    while studies := _kept_since(archive, before):
        for study in studies:
            find = partial(_due, study=study, before=before)
            reason = f"hidden for {after.days} days"
            gone = removal.remove_found(archive, Target(study=study), find, reason=reason, actor=actor, clock=clock)
            removed += gone.instances
    return removed


# -------------------------------------------------------------------------------------------------------- the rows
def _take_out_of_sight(tx: Transaction, chosen: Chosen, tombstone: Tombstone, header: Header | None) -> None:
    study, uids = tombstone.study_instance_uid, [each.sop_instance_uid for each in chosen.instances]
    if uids:
        hidden.take(tx, uids, tombstone)
        told = {"code": tombstone.code}
        deletions.withdraw(tx, study, uids, "instance-hidden", now=tombstone.at, detail=told)
    if uids and (chosen.is_all or header is not None):
        facts.forget(tx, study)
    if header is not None:
        facts.tell(tx, header)
    hidden.expect(tx, chosen.awaited, tombstone)
    tombstone_rows.add(tx, tombstone)


def _bring_into_sight(
    tx: Transaction, rows: Sequence[Hidden], found: Sequence[tuple[Hidden, Found]], tombstone: Tombstone
) -> None:
    study = tombstone.study_instance_uid
    hidden.forget(tx, [row.sop_instance_uid for row in rows])
    batch = [_as_it_came(row, each.arrival) for row, each in found]
    arrivals.record(tx, batch, now=tombstone.at)
    times = {row.object_key: row.received_at for row, _ in found if row.object_key and row.received_at}
    renewal.note_received(tx, times)
    deletions.note_times(tx, study)
    arrivals.release(tx, [study], now=tombstone.at)  # nothing more is waited for
    told = [
        changes.fact("instance-restored", at=tombstone.at, study=study, instance=row.sop_instance_uid) for row in rows
    ]
    changes.append_all(tx, told)
    tombstone_rows.add(tx, tombstone)


def _as_it_came(row: Hidden, arrival: Arrival) -> Arrival:
    checksum = bytes.fromhex(row.checksum) if row.checksum else None
    return replace(arrival, origin=replace(arrival.origin, address=row.address), checksum=checksum)


def _lifting(rows: Sequence[Hidden], *, actor: str, reason: str, now: datetime) -> Tombstone:
    return Tombstone(
        kind=Kind.RESTORED,
        study_instance_uid=rows[0].study_instance_uid,
        at=now,
        actor=actor,
        reason=reason,
        objects=tuple(
            Buried(sop_instance_uid=row.sop_instance_uid, object_key=row.object_key)
            for row in rows
            if row.object_key is not None
        ),
        awaited=tuple(row.sop_instance_uid for row in rows if row.object_key is None),
        answers=tuple(sorted({row.tombstone_key for row in rows})),
    )


def _audit(tx: Transaction, action: str, target: Target, tombstone: Tombstone, **more: object) -> None:
    subject = target.instance or target.series or target.study
    detail = {"reason": tombstone.reason, "instances": len(tombstone.objects), "tombstone": tombstone.key, **more}
    audit.append(tx, actor=tombstone.actor, action=action, subject=subject, at=tombstone.at, detail=detail)


def _kept_since(archive: Archive, before: datetime) -> list[StudyUid]:
    with archive.database.read() as tx:
        return hidden.studies_kept_since(tx, before=before)


def _due(tx: Transaction, *, study: StudyUid, before: datetime) -> Doomed:
    return deletions.of_hidden(hidden.kept_since(tx, study, before=before))

"""Removing on purpose: a tombstone first, then the rows, and the objects last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from storage import tombstones
from storage.archive import utc_now
from storage.catalog import audit, damages, deletions, landings, references, removals
from storage.catalog import tombstones as tombstone_rows
from storage.errors import CatalogueUnavailable
from storage.tombstones import Kind, Tombstone

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.archive import Archive
    from storage.catalog.deletions import Doomed, Target
    from storage.database import Transaction
    from storage.records import ObjectKey

_TRIES = 10
_WAIT_MS = 5000


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """What has gone."""

    instances: int
    quarantined: int
    tombstone: ObjectKey


def remove(
    archive: Archive, target: Target, *, reason: str, actor: str, clock: Callable[[], datetime] = utc_now
) -> Removed:
    """Remove a study, a series or an instance for good, in sight or hidden; a rebuild does not bring it back.

    Killed half way, it is finished by running it again, or by the next scrub: nothing, or the tombstone alone, or
    tombstone and rows, or everything has been done.  An instance that is sent again later is a new arrival,
    unless it was rejected.

    Raises
    ------
    CatalogueUnknown
        Nothing is kept under the target's UIDs.
    Unavailable
        Object store or catalogue does not answer; what was not removed is kept.
    """
    return remove_found(archive, target, lambda tx: deletions.find(tx, target), reason=reason, actor=actor, clock=clock)


def remove_found(
    archive: Archive,
    target: Target,
    find: Callable[[Transaction], Doomed],
    *,
    reason: str,
    actor: str,
    clock: Callable[[], datetime],
) -> Removed:
    """Remove, as `remove` does, what `find` says of a target."""
    for _ in range(_TRIES):
        with archive.database.read() as tx:
            doomed = find(tx)
        tombstone = Tombstone(
            kind=Kind.REMOVED,
            study_instance_uid=target.study,
            at=clock(),
            actor=actor,
            reason=reason,
            objects=doomed.objects,
            answers=doomed.ends,
        )
        tombstones.put(archive.store, tombstone)
        free = _delete_rows(archive, target, find, doomed, tombstone)
        if free is not None:
            for key in free:
                remove_object(archive, key, now=clock())
            return Removed(
                instances=len(doomed.instances) + len(doomed.hidden),
                quarantined=len(doomed.quarantined),
                tombstone=tombstone.key,
            )
        archive.objects.remove(tombstone.key)  # it speaks of other objects than are kept now
    raise CatalogueUnavailable("instances arrive faster than they can be removed; try again when the sender is done")


def remove_object(archive: Archive, key: ObjectKey, *, now: datetime) -> bool:
    """Remove one marked object, unless a sender wants it by now; tell whether it has gone."""
    with archive.database.write() as tx:
        if not removals.hold_marked(tx, key) or references.needed(tx, [key]):
            return False
        archive.objects.remove(key)
        removals.note_gone(tx, key, now=now)
        landings.forget(tx, key)
    return True


def _delete_rows(
    archive: Archive,
    target: Target,
    find: Callable[[Transaction], Doomed],
    doomed: Doomed,
    tombstone: Tombstone,
) -> list[ObjectKey] | None:
    """Delete the rows and return the objects to remove; None where the rows are others than those found before."""
    keys = [each.object_key for each in doomed.objects]
    with archive.database.write() as tx:
        removals.exclude_senders(tx, wait_ms=_WAIT_MS)
        if find(tx) != doomed:
            return None
        deletions.delete(tx, target, doomed, now=tombstone.at)
        free = sorted(set(keys) - references.needed(tx, keys))
        removals.mark(tx, free, tombstone=tombstone.key, now=tombstone.at)
        for key in free:
            damages.forget(tx, key)
        tombstone_rows.add(tx, tombstone)
        audit.append(
            tx,
            actor=tombstone.actor,
            action="removed",
            subject=target.instance or target.series or target.study,
            at=tombstone.at,
            detail={
                "reason": tombstone.reason,
                "instances": len(doomed.instances) + len(doomed.hidden),
                "tombstone": tombstone.key,
            },
        )
    return free

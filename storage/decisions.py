"""A person's decision on a copy in quarantine: it takes the kept one's place, or it goes (D-24).

The object store hears of it first, in a tombstone, so that a rebuilt catalogue keeps what was decided.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from storage import checksum, tombstones
from storage.archive import utc_now
from storage.catalog import audit, damages, hidden, quarantine, references, removals
from storage.catalog import tombstones as tombstone_rows
from storage.catalog.quarantine import Decision
from storage.errors import ObjectCorrupt, Rejected, Unavailable
from storage.removal import remove_object
from storage.tombstones import Buried, Kind, Tombstone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from storage.archive import Archive
    from storage.catalog.quarantine import PutAside
    from storage.database import Transaction
    from storage.rebuild import ReadObject
    from storage.records import Arrival

_WAIT_MS = 5000
_CHUNK = 1 << 20
_ACTIONS = {Decision.RELEASED: "quarantine-released", Decision.REJECTED: "quarantine-rejected"}


class DecidedOtherwise(Rejected):
    """The copy was decided on otherwise before."""


class KeptItself(Rejected):
    """The copy is the kept one by now; release it to clear its row."""


class KeptIsHidden(Rejected):
    """The kept instance is hidden; restore it first, or remove it for good."""


class Overtaken(Unavailable):
    """Somebody else decides on this copy, or removes it, at this moment; look again."""


def release(
    archive: Archive,
    row_id: int,
    read: ReadObject,
    *,
    actor: str,
    reason: str,
    clock: Callable[[], datetime] = utc_now,
) -> PutAside:
    """Keep a copy in place of the kept instance, which goes into quarantine; return the copy's row.

    Said twice, it is done once.

    Raises
    ------
    CatalogueUnknown
        There is no such row.
    DecidedOtherwise
        The copy was rejected.
    KeptIsHidden
        What it would take the place of is out of sight.
    Damaged, storage.rebuild.Unreadable
        The copy's object is not what was received; nothing was changed.
    Unavailable
        Object store or catalogue does not answer; nothing was changed.
    """
    copy = _look(archive, row_id, Decision.RELEASED)
    if copy.state is Decision.RELEASED:
        return copy
    quick = _check_digest(archive, copy)
    arrival = replace(read(archive.objects, copy.object_key).arrival, checksum=quick)
    tombstone = _tombstone(copy, Kind.PREFERRED, actor, reason, clock())
    with _told(archive, tombstone) as tx:
        copy = _decide(tx, copy, Decision.RELEASED, tombstone)
        _exchange(tx, copy, arrival, now=tombstone.at)
    return copy


def reject(
    archive: Archive, row_id: int, *, actor: str, reason: str, clock: Callable[[], datetime] = utc_now
) -> PutAside:
    """Remove a copy for good; the kept instance stays; return the copy's row.

    Said twice, it is done once.  Killed half way, the next scrub finishes it.  Sent again, it is a new copy.

    Raises
    ------
    CatalogueUnknown
        There is no such row.
    DecidedOtherwise
        The copy was released.
    KeptItself
        The copy is the kept instance by now.
    Unavailable
        Object store or catalogue does not answer; nothing was changed.
    """
    copy = _look(archive, row_id, Decision.REJECTED)
    if copy.state is Decision.REJECTED:
        return copy
    tombstone = _tombstone(copy, Kind.REMOVED, actor, reason, clock())
    with _told(archive, tombstone) as tx:
        copy = _decide(tx, copy, Decision.REJECTED, tombstone)
        if references.needed(tx, [copy.object_key]):
            raise KeptItself
        removals.mark(tx, [copy.object_key], tombstone=tombstone.key, now=tombstone.at)
        damages.forget(tx, copy.object_key)
        quarantine.tell_rejected(tx, copy, now=tombstone.at)
    remove_object(archive, copy.object_key, now=clock())
    return copy


@contextmanager
def _told(archive: Archive, tombstone: Tombstone) -> Iterator[Transaction]:
    """Tell the object store, then open the transaction; where it was overtaken, the object store is told no more.

    A catalogue that fails may have committed all the same: then the tombstone stays, and a scrub finds which it was.
    """
    tombstones.put(archive.store, tombstone)
    try:
        with archive.database.write() as tx:
            yield tx
    except (Overtaken, KeptItself):
        archive.store.remove(tombstone.key)
        raise


def _look(archive: Archive, row_id: int, wanted: Decision) -> PutAside:
    with archive.database.read() as tx:
        copy = quarantine.one(tx, row_id)
        kept = quarantine.kept_under(tx, copy.sop_instance_uid)
        is_hidden = kept is None and hidden.key_of(tx, copy.sop_instance_uid) is not None
    if copy.state not in (Decision.WAITING, wanted):
        raise DecidedOtherwise
    if wanted is Decision.REJECTED and copy.state is Decision.WAITING and kept and kept.object_key == copy.object_key:
        raise KeptItself
    if wanted is Decision.RELEASED and copy.state is Decision.WAITING and is_hidden:
        raise KeptIsHidden
    return copy


def _check_digest(archive: Archive, copy: PutAside) -> bytes:
    """Return the checksum of a copy whose SHA-256 is right."""
    digest, quick = hashlib.sha256(), checksum.begun()
    with archive.objects.open(copy.object_key, offset=copy.meta_bytes) as stream:
        while part := stream.read(_CHUNK):
            digest.update(part)
            quick.update(part)
    if digest.hexdigest() != copy.object_key:
        raise ObjectCorrupt(f"object {copy.object_key} no longer has its digest")
    return quick.digest()


def _tombstone(copy: PutAside, kind: Kind, actor: str, reason: str, now: datetime) -> Tombstone:
    return Tombstone(
        kind=kind,
        study_instance_uid=copy.study_instance_uid,
        at=now,
        actor=actor,
        reason=reason,
        objects=(Buried(sop_instance_uid=copy.sop_instance_uid, object_key=copy.object_key),),
    )


def _decide(tx: Transaction, copy: PutAside, decision: Decision, tombstone: Tombstone) -> PutAside:
    """Note the decision with its tombstone and its line in the audit, with every sender waiting."""
    removals.exclude_senders(tx, wait_ms=_WAIT_MS)
    if not quarantine.decide(tx, copy, decision, actor=tombstone.actor, reason=tombstone.reason, now=tombstone.at):
        raise Overtaken
    tombstone_rows.add(tx, tombstone)
    audit.append(
        tx,
        actor=tombstone.actor,
        action=_ACTIONS[decision],
        subject=copy.sop_instance_uid,
        at=tombstone.at,
        detail={"reason": tombstone.reason, "quarantine": copy.id, "tombstone": tombstone.key},
    )
    return quarantine.one(tx, copy.id)


def _exchange(tx: Transaction, copy: PutAside, arrival: Arrival, *, now: datetime) -> None:
    kept = quarantine.kept_under(tx, copy.sop_instance_uid)
    if kept is None:
        raise Overtaken
    if kept.object_key == copy.object_key:
        return  # the same bytes were sent again while another row of theirs was released
    if removals.met(tx, [copy.object_key, kept.object_key], now=now):
        raise Overtaken
    quarantine.swap(tx, copy, kept, arrival, now=now)

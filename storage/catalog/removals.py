"""Objects that are about to go, or have gone: what keeps the removal of an object and a re-send of it apart.

A sender's object is put first and its row committed later, while a removal looks for rows first and removes the object
later.  Both therefore meet in this table, by its key:

    SEEN     no row needed it when a scrub looked; nothing is decided, and a sender need not care
    MARKED   it will be removed: entered under `exclude_senders`, at a moment when no row needed it
    GONE     it was removed
    WANTED   a sender met MARKED or GONE; whoever settles the row has put the object again since

A sender's transaction that meets a key in MARKED, GONE or WANTED enters nothing.  It turns the row to WANTED, commits,
puts the object again, and comes back with the row's stamp: only with that very stamp, so that a mark set in between is
met again.  The object itself is removed in a transaction that holds the row in MARKED.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog import references
from storage.catalog.upsert import insert_new
from storage.records import ObjectKey
from storage.statements import Statement, among

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from storage.database import Transaction

_removals = schema.removals


class State(StrEnum):
    """Where an object's removal stands."""

    SEEN = "SEEN"
    MARKED = "MARKED"
    GONE = "GONE"
    WANTED = "WANTED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What a sender met: the object has to be put again before its row may be entered."""

    key: ObjectKey
    stamp: str
    tombstone: ObjectKey | None
    """The tombstone that tells of a deliberate removal, to be answered by a return before the row is entered."""


# --------------------------------------------------------------------------------------------------- the sender's side
_MET = Statement(
    sa.select(_removals.c.object_key).where(
        among(_removals.c.object_key, "keys"), _removals.c.state != sa.literal_column("'SEEN'")
    )
)
"""The one statement that every batch of arriving instances pays for."""


def met(tx: Transaction, keys: Sequence[ObjectKey], *, now: datetime) -> dict[ObjectKey, Removal]:
    """Return the removals that stand in the way of entering rows for `keys`, each turned to WANTED.

    On PostgreSQL this lookup is also what `exclude_senders` waits for: its lock on the table lasts as long as `tx`.
    """
    found = (_want(tx, ObjectKey(row.object_key), now) for row in _MET.rows(tx, {"keys": keys}))
    return {removal.key: removal for removal in found if removal is not None}


def settle(tx: Transaction, removal: Removal) -> None:
    """Forget a removal whose object was put again since; one that has been marked anew stays, and is met again."""
    this = (_removals.c.object_key == removal.key, _removals.c.stamp == removal.stamp)  # every mark has its own stamp
    tx.execute(sa.delete(_removals).where(*this))


def _want(tx: Transaction, key: ObjectKey, now: datetime) -> Removal | None:
    this = _removals.c.object_key == key
    change = {"state": State.WANTED, "stamp": _stamp(), "since": now}
    # Waits here while the object is being removed; what comes after is another state, or no row.
    tx.execute(sa.update(_removals).where(this, _removals.c.state.in_((State.MARKED, State.GONE))).values(change))
    row = tx.execute(sa.select(_removals).where(this)).one_or_none()
    if row is None:
        return None  # another sender of the same bytes was faster, and its row needs the object
    return Removal(key=key, stamp=row.stamp, tombstone=row.tombstone_key)


# -------------------------------------------------------------------------------------------------- the removal's side
def exclude_senders(tx: Transaction, *, wait_ms: int = 1000) -> None:
    """Wait until no sender's transaction is under way, and keep new ones waiting until this one ends.

    SQLite has one writer anyway.  On PostgreSQL senders queue behind whoever waits here, so the wait is short: with a
    backup that reads the table for hours it fails, as `CatalogueUnavailable`, and the removal is left for later.
    """
    if tx.dialect.name == "postgresql":
        tx.execute(sa.text(f"SET LOCAL lock_timeout = '{int(wait_ms)}ms'"))
        tx.execute(sa.text("LOCK TABLE removals IN ACCESS EXCLUSIVE MODE"))


def note_seen(tx: Transaction, keys: Sequence[ObjectKey], *, now: datetime) -> None:
    """Note that no row needs these objects; what is known of them already stays."""
    for key in keys:
        insert_new(tx, _removals, {"object_key": key, "state": State.SEEN, "since": now, "stamp": _stamp()})


def seen(tx: Transaction, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
    """Return those of `keys` that are noted as needed by no row, and nothing more."""
    if not keys:
        return []
    query = sa.select(_removals.c.object_key)
    found = tx.execute(query.where(_removals.c.object_key.in_(keys), _removals.c.state == State.SEEN))
    return [ObjectKey(row.object_key) for row in found]


def forget_seen(tx: Transaction, keys: Sequence[ObjectKey]) -> None:
    """Forget that no row needed these objects: one does now."""
    tx.execute(sa.delete(_removals).where(_removals.c.object_key.in_(keys), _removals.c.state == State.SEEN))


def mark_old(tx: Transaction, keys: Sequence[ObjectKey], *, before: datetime) -> list[ObjectKey]:
    """Mark those of `keys` that are noted since `before` and that no row needs; return all that are marked now.

    Call `exclude_senders` first, in the same transaction.
    """
    free = _removals.c.object_key.in_(sorted(set(keys) - references.needed(tx, keys)))
    old = (_removals.c.state != State.MARKED, _removals.c.since <= before)
    tx.execute(sa.update(_removals).where(free, *old).values(state=State.MARKED, stamp=_stamp()))
    found = tx.execute(sa.select(_removals.c.object_key).where(free, _removals.c.state == State.MARKED))
    return [ObjectKey(row.object_key) for row in found]


def mark(
    tx: Transaction,
    keys: Sequence[ObjectKey],
    *,
    tombstone: ObjectKey | None,
    now: datetime,
    state: State = State.MARKED,
) -> None:
    """Mark objects whose last row goes in this same transaction, or has gone; call `exclude_senders` first."""
    tx.execute(sa.delete(_removals).where(_removals.c.object_key.in_(keys)))
    rows = [
        {"object_key": key, "state": state, "since": now, "stamp": _stamp(), "tombstone_key": tombstone} for key in keys
    ]
    if rows:
        tx.execute(sa.insert(_removals), rows)


def marked(tx: Transaction, *, after: str, limit: int) -> list[ObjectKey]:
    """Return up to `limit` objects to remove, by key after `after`."""
    query = (
        sa.select(_removals.c.object_key)
        .where(_removals.c.state == State.MARKED, _removals.c.object_key > after)
        .order_by(_removals.c.object_key)
        .limit(limit)
    )
    return [ObjectKey(row.object_key) for row in tx.execute(query)]


def hold_marked(tx: Transaction, key: ObjectKey) -> bool:
    """Tell whether the object may be removed now; where it may, no sender passes until this transaction ends."""
    this = sa.select(_removals.c.object_key).where(_removals.c.object_key == key, _removals.c.state == State.MARKED)
    return tx.execute(this.with_for_update()).one_or_none() is not None


def hold_removed(tx: Transaction, key: ObjectKey) -> bool:
    """Tell whether the object is to go or has gone; where so, no sender passes until this transaction ends."""
    states = _removals.c.state.in_((State.MARKED, State.GONE))
    this = sa.select(_removals.c.object_key).where(_removals.c.object_key == key, states)
    return tx.execute(this.with_for_update()).one_or_none() is not None


def note_gone(tx: Transaction, key: ObjectKey, *, now: datetime) -> None:
    """Note that the object was removed: a sender who had put it before has to put it again."""
    tx.execute(sa.update(_removals).where(_removals.c.object_key == key).values(state=State.GONE, since=now))


def prune(tx: Transaction, *, before: datetime) -> None:
    """Forget removals older than any reception can be; those with a tombstone are needed as long as that is."""
    tx.execute(
        sa.delete(_removals).where(
            _removals.c.state.in_((State.GONE, State.WANTED)),
            _removals.c.tombstone_key.is_(None),
            _removals.c.since <= before,
        )
    )


def _stamp() -> str:
    return secrets.token_hex(16)

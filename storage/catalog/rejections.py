"""Key Object Selection documents, until it is known whether they reject anything and they had their effect.

A row is written with the instance, in the same transaction; it leaves WAITING in the transaction of the effect.  So a
process that dies in between costs a repeated reading, and no document is heard twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.catalog.upsert import insert_new
from storage.records import InstanceUid, ObjectKey, StudyUid

if TYPE_CHECKING:
    from storage.database import Transaction
    from storage.records import Arrival

KEY_OBJECT_SELECTION: Final = "1.2.840.10008.5.1.4.1.1.88.59"
"""The one SOP Class that a rejection note can have."""

_notes = schema.rejection_notes


class State(StrEnum):
    """What became of a document."""

    WAITING = "WAITING"
    APPLIED = "APPLIED"
    IGNORED = "IGNORED"
    """It rejects nothing, or cannot be read, as its reason says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """One document."""

    object_key: ObjectKey
    sop_instance_uid: InstanceUid
    study_instance_uid: StudyUid
    meta_bytes: int
    sender: str
    """The calling AE, or the person, that sent it."""
    received_at: datetime
    state: State
    code: str
    reason: str
    figures: Mapping[str, int]
    """How many of its references were hidden, are awaited, or are passed over."""


def enter(tx: Transaction, arrivals: Iterable[Arrival], *, now: datetime) -> None:
    """Enter the documents among new instances; one that is known by its bytes had its turn."""
    for arrival in arrivals:
        if arrival.header.sop_class_uid == KEY_OBJECT_SELECTION:
            origin = arrival.origin
            row = {
                "object_key": arrival.key,
                "sop_instance_uid": arrival.header.sop_instance_uid,
                "study_instance_uid": arrival.header.study_instance_uid,
                "meta_bytes": arrival.meta_bytes,
                "sender": origin.user or origin.calling_aet or origin.via,
                "received_at": now,
                "state": State.WAITING,
                "code": "",
                "reason": "",
                "figures": {},
            }
            insert_new(tx, _notes, row)


def waiting(tx: Transaction, *, now: datetime, limit: int = 20) -> list[Note]:
    """Return documents to be read now, oldest first."""
    is_due = sa.or_(_notes.c.not_before.is_(None), _notes.c.not_before <= now)
    query = sa.select(_notes).where(_notes.c.state == State.WAITING, is_due)
    return [_as_note(row) for row in tx.execute(query.order_by(_notes.c.received_at).limit(limit))]


def of_instance(tx: Transaction, uid: InstanceUid) -> Note | None:
    """Return the newest document of a SOP Instance UID."""
    query = sa.select(_notes).where(_notes.c.sop_instance_uid == uid).order_by(_notes.c.received_at.desc()).limit(1)
    row = tx.execute(query).one_or_none()
    return None if row is None else _as_note(row)


def end(
    tx: Transaction,
    note: Note,
    state: State,
    *,
    code: str = "",
    reason: str = "",
    figures: Mapping[str, int] | None = None,
) -> bool:
    """Note what became of a document; False where it waits no longer."""
    told = {"state": state, "code": code, "reason": reason, "figures": dict(figures or {})}
    this = (_notes.c.object_key == note.object_key, _notes.c.state == State.WAITING)
    return tx.execute(sa.update(_notes).where(*this).values(**told)).rowcount == 1


def postpone(tx: Transaction, note: Note, *, until: datetime) -> None:
    """Let a document wait that cannot be read for now."""
    tx.execute(sa.update(_notes).where(_notes.c.object_key == note.object_key).values(not_before=until))


def note_applied(tx: Transaction, key: ObjectKey, *, code: str) -> None:
    """Note of a document in a catalogue that is made anew that a tombstone tells of its effect."""
    tx.execute(sa.update(_notes).where(_notes.c.object_key == key).values(state=State.APPLIED, code=code))


def _as_note(row: sa.Row[Any]) -> Note:
    values = {name: getattr(row, name) for name in Note.__slots__}
    return Note(**{**values, "state": State(row.state)})

"""Rejection notes and their effect: what one refers to, in its own study, goes out of sight (IHE RAD TF, IOCM)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from storage import hiding
from storage.archive import utc_now
from storage.catalog import hidden, rejections
from storage.catalog.deletions import Target
from storage.catalog.rejections import Note, State
from storage.errors import Damaged, StorageError, Unavailable
from storage.hiding import Word
from storage.records import InstanceUid, Rejection

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.catalog.hidden import Chosen
    from storage.database import Transaction
    from storage.rebuild import ReadObject

logger = logging.getLogger(__name__)

_WAIT = timedelta(seconds=5)
MEANINGS = {
    Rejection.QUALITY: "Rejected for Quality Reasons",
    Rejection.PATIENT_SAFETY: "Rejected for Patient Safety Reasons",
    Rejection.WRONG_WORKLIST_ENTRY: "Incorrect Modality Worklist Entry",
    Rejection.RETENTION_EXPIRED: "Data Retention Policy Expired",
}
"""The meanings of the codes (PS3.16 CID 7011)."""


class NoteUnreadable(StorageError):
    """A Key Object Selection document cannot be read within bounds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a Key Object Selection document says."""

    title: str
    """The code of its title, of DCM; empty where it is another scheme's."""
    instances: tuple[InstanceUid, ...] = ()
    """What it refers to in its own study, each once."""
    passed_over: int = 0
    """References to other studies, to itself, or without evidence of where they belong."""
    words: str = ""
    """Its Key Object Description."""


ReadNote = Callable[["Archive", Note], Told]
"""Reads a document; `NoteUnreadable` where it takes too much, or is none."""


def apply_waiting(
    archive: Archive, read_note: ReadNote, read: ReadObject, *, clock: Callable[[], datetime] = utc_now
) -> int:
    """Apply every rejection note that waits; return how many documents were heard.

    One that cannot be read for now waits on, and holds up no other.

    Raises
    ------
    Unavailable
        The catalogue does not answer.
    """
    heard = 0
    while notes := _waiting(archive, clock()):
        for note in notes:
            try:
                apply(archive, note, read_note, read, clock=clock)
            except Unavailable as error:
                logger.warning("a note waits", extra={"action": "rejection-waits", "reason": str(error)})
                with archive.database.write() as tx:
                    rejections.postpone(tx, note, until=clock() + _WAIT)
            else:
                heard += 1
    return heard


def apply(
    archive: Archive, note: Note, read_note: ReadNote, read: ReadObject, *, clock: Callable[[], datetime] = utc_now
) -> None:
    """Read one document and hide what it rejects; its row and its effect are one transaction.

    Raises
    ------
    Unavailable
        Its object, or an instance's, cannot be read for now; nothing was done.
    """
    try:
        told = read_note(archive, note)
    except (NoteUnreadable, Damaged) as error:
        logger.warning("a note cannot be read", extra={"action": "rejection-unread", "reason": str(error)})
        _ignore(archive, note, str(error))
        return
    if told.title not in set(Rejection):
        _ignore(archive, note, "rejects nothing")
        return
    code = Rejection(told.title)
    # What comes after the retention of others had expired is new: only the other reasons hold for what is to come.
    awaits = code is not Rejection.RETENTION_EXPIRED

    def find(tx: Transaction) -> Chosen:
        study, uids = note.study_instance_uid, told.instances
        return hidden.of_references(tx, study, uids, note=note.object_key, await_others=awaits)

    def end(tx: Transaction, chosen: Chosen) -> bool:
        figures = {"hidden": len(chosen.instances), "awaited": len(chosen.awaited), "passed_over": told.passed_over}
        return rejections.end(tx, note, State.APPLIED, code=code, reason=told.words, figures=figures)

    word = Word(actor=note.sender, reason=told.words or MEANINGS[code], code=code, note=note.object_key)
    target = Target(study=note.study_instance_uid, instance=note.sop_instance_uid)
    hiding.hide_found(archive, target, find, word, read, end=end, clock=clock)


def _ignore(archive: Archive, note: Note, reason: str) -> None:
    with archive.database.write() as tx:
        rejections.end(tx, note, State.IGNORED, reason=reason)


def _waiting(archive: Archive, now: datetime) -> list[Note]:
    with archive.database.read() as tx:
        return rejections.waiting(tx, now=now)

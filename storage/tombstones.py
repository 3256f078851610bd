"""What the object store itself remembers of a person's decisions, for the day on which the catalogue is lost.

A tombstone is an object like any other, its key the digest of its bytes, told from a DICOM file by its first line.
It is durable before the rows that it speaks of change.  Which tombstone answers which is said by their keys, not left
to clocks: a return names the tombstone that it lifts.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import orjson

from storage.errors import ObjectCorrupt
from storage.records import InstanceUid, ObjectKey, StudyUid

if TYPE_CHECKING:
    from storage.ports import ObjectStore

MAGIC = b"ROI-TOMBSTONE 1\n"
_YOUNGER = ("awaited", "code", "note")
"""Fields that tombstones of older releases lack."""


class Kind(StrEnum):
    """What a tombstone tells of its objects."""

    REMOVED = "removed"
    """They were removed on purpose, and are not to come back."""
    RETURNED = "returned"
    """They were sent again after their removal, and are kept: this lifts the tombstones it answers."""
    PREFERRED = "preferred"
    """Of several objects with one SOP Instance UID, a person chose these to be the kept ones."""
    HIDDEN = "hidden"
    """They are kept, out of sight, and so is what comes under the SOP Instance UIDs that were awaited."""
    RESTORED = "restored"
    """They are in sight again: this lifts the tombstones it answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Buried:
    """One object that a tombstone speaks of."""

    sop_instance_uid: InstanceUid
    object_key: ObjectKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Tombstone:
    """A decision on objects of one study.  `reason` is a person's words and stays in the object store."""

    kind: Kind
    study_instance_uid: StudyUid
    at: datetime
    actor: str
    reason: str
    objects: tuple[Buried, ...]
    answers: tuple[ObjectKey, ...] = ()
    """Keys of earlier tombstones that hold no longer for these objects."""
    awaited: tuple[InstanceUid, ...] = ()
    """What it holds for by its SOP Instance UID alone, having no object of it."""
    code: str = ""
    """The title code of a rejection note, of what is hidden for its reason."""
    note: ObjectKey | None = None
    """The rejection note that asked for it: it has had its effect."""
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))
    """Makes two removals of one object two tombstones, whatever the clock says."""

    def encoded(self) -> bytes:
        """Return the object's bytes, the same for the same tombstone."""
        # A field younger than a tombstone is not in it: one read again has the key that it had.
        told = {name: value for name, value in asdict(self).items() if value or name not in _YOUNGER}
        return MAGIC + orjson.dumps(told, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)

    @property
    def key(self) -> ObjectKey:
        """The object's key."""
        return ObjectKey(hashlib.sha256(self.encoded()).hexdigest())


def put(objects: ObjectStore, tombstone: Tombstone) -> ObjectKey:
    """Make a tombstone durable and return its key."""
    objects.put(tombstone.key, io.BytesIO(tombstone.encoded()))
    return tombstone.key


def is_tombstone(start: bytes) -> bool:
    """Tell whether an object that starts so is a tombstone."""
    return start.startswith(MAGIC)


def read(objects: ObjectStore, key: ObjectKey) -> Tombstone:
    """Read a tombstone.

    Raises
    ------
    ObjectCorrupt
        It is not what was written.
    """
    with objects.open(key) as stream:
        content = stream.read()
    if hashlib.sha256(content).hexdigest() != key or not is_tombstone(content):
        raise ObjectCorrupt(f"tombstone {key} no longer has its digest")
    told = orjson.loads(content[len(MAGIC) :])
    return Tombstone(
        kind=Kind(told["kind"]),
        study_instance_uid=StudyUid(told["study_instance_uid"]),
        at=datetime.fromisoformat(told["at"]),
        actor=told["actor"],
        reason=told["reason"],
        objects=tuple(
            Buried(sop_instance_uid=InstanceUid(each["sop_instance_uid"]), object_key=ObjectKey(each["object_key"]))
            for each in told["objects"]
        ),
        answers=tuple(ObjectKey(each) for each in told["answers"]),
        awaited=tuple(InstanceUid(each) for each in told.get("awaited", ())),
        code=told.get("code", ""),
        note=ObjectKey(told["note"]) if told.get("note") else None,
        nonce=told["nonce"],
    )

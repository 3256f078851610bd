"""What the peer hears: a verdict or an error class as a DIMSE status (PS3.4 B.2.3, PS3.7 Annex C), as data.

A comment says what was wrong in at most 64 characters and never holds a value of the data set: it is a constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pacs_gateway import errors as ours
from storage import errors as storage
from storage.records import OnConflict, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """(0000,0900) Status and (0000,0902) Error Comment."""

    code: int
    comment: str = ""


SUCCESS: Final = Status(code=0x0000)

VERDICTS: Final = {
    Verdict.STORED: SUCCESS,
    Verdict.DUPLICATE: SUCCESS,
    Verdict.OTHER_SYNTAX: SUCCESS,
    Verdict.HIDDEN: SUCCESS,
    Verdict.STUDY_GONE: Status(code=0x0110, comment="The study is here no longer"),  # of our own objects alone
    Verdict.CONFLICT: Status(code=0x0111, comment="SOP Instance UID is kept with other content; first one stays"),
}

CONFLICTS: Final = {
    OnConflict.REFUSE: VERDICTS[Verdict.CONFLICT],
    # A warning tells that the instance was stored (PS3.4 B.2.3); of its codes this one says least that is untrue.
    OnConflict.WARN: Status(code=0xB000, comment="UID is kept with other content; this copy is in quarantine"),
    OnConflict.ACCEPT: SUCCESS,
}
"""What a peer hears of a copy that is durable in quarantine, as `roi peers add --on-conflict` says for it."""

ERRORS: Final = (
    (storage.LandingFull, Status(code=0xA700, comment="Landing zone is full; send again later")),
    (storage.OutOfSpace, Status(code=0xA700, comment="No storage space left; send again later")),
    (storage.Unavailable, Status(code=0xA700, comment="Archive is not available; send again later")),
    (ours.InstanceTooLarge, Status(code=0xA700, comment="Instance is longer than this archive takes")),
    (ours.CommandContradicted, Status(code=0xA900, comment="Data set and command name different SOP UIDs")),
    (ours.CommandUidRejected, Status(code=0x0117, comment="Command names no legal SOP Class or Instance UID")),
    (ours.UidRejected, Status(code=0xC000, comment="Study, Series or SOP UID missing or not a UID")),
    (ours.SyntaxRefused, Status(code=0xC122, comment="Transfer syntax is not taken this way")),
    (ours.HeaderRejected, Status(code=0xC000, comment="Data set does not parse in the negotiated syntax")),
    (ours.OperationUnknown, Status(code=0x0211, comment="Command is not offered on this context")),
    (ours.OperationMistyped, Status(code=0x0212, comment="Command lacks a mandatory field or its data set")),
    (ours.SopClassMismatch, Status(code=0x0122, comment="SOP Class is not that of the presentation context")),
    (storage.StorageError, Status(code=0x0110, comment="Archive could not process the instance")),
)
"""First match wins: special before general."""


def for_verdict(verdict: Verdict, on_conflict: OnConflict = OnConflict.REFUSE) -> Status:
    """Return what the peer hears of an instance that is kept, or in quarantine."""
    return CONFLICTS[on_conflict] if verdict is Verdict.CONFLICT else VERDICTS[verdict]


def for_error(error: ours.HeaderRejected | ours.RequestRejected | storage.StorageError) -> Status:
    """Return what the peer hears of a refused instance or request."""
    return next(status for kind, status in ERRORS if isinstance(error, kind))

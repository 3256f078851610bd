"""What readers do with a study of the list: they open it, close it, and say that it is read.

Each act is one line of the audit and one change.  Opening is held by a lease: a browser that was closed says nothing
more, and after `LEASE` the study counts as closed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from inference import guard, priority
from storage.catalog import audit, changes, reading, studies
from storage.errors import Rejected

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import StudyRecord, StudyUid

LEASE: Final = timedelta(minutes=10)
"""How long a study stays open unless its reader says so again."""


def open_study(tx: Transaction, uid: StudyUid, *, by: str, now: datetime) -> None:
    """Note that a reader has a study open; said again, the lease is longer and nothing is told.

    Raises
    ------
    CatalogueUnknown
        There is no such study.
    Rejected
        Another reader has it open.
    """
    study = studies.get(tx, uid)
    if not reading.hold(tx, uid, by=by, until=now + LEASE, now=now):
        raise Rejected("another reader has this study open: close it first, if nobody reads it any more")
    if not (study.is_open(now) and study.opened_by == by):
        _tell(tx, study, "study-opened", by=by, now=now)


def close_study(tx: Transaction, uid: StudyUid, *, by: str, now: datetime, cause: str = "closed") -> bool:
    """Note that nobody has a study open; False where nobody had.  What was held back while it was open happens now."""
    study = studies.get(tx, uid)
    if not reading.let_go(tx, uid):
        return False
    _tell(tx, study, "study-closed", by=by, now=now, detail={"cause": cause})
    priority.refresh(tx, uid, now=now, cause=cause, by=by)
    return True


def report(tx: Transaction, uid: StudyUid, *, by: str, now: datetime, revision: int | None = None) -> None:
    """Note that a revision of a study was read, its newest where none is named: it leaves the list.

    Raises
    ------
    CatalogueUnknown
        There is no such study.
    Rejected
        It has no such revision.
    """
    study = studies.get(tx, uid)
    read = study.revision if revision is None else revision
    if read > study.revision:
        raise Rejected(f"this study has {study.revision} revisions, and no revision {read}")
    already = study.reported_revision
    if not study.waits or (already is not None and read <= already < study.revision):
        return
    reading.enter_report(tx, uid, revision=read, by=by, at=now)
    _tell(tx, study, "study-reported", by=by, now=now, detail={"reported": read})
    close_study(tx, uid, by=by, now=now, cause="reported")
    guard.watch(tx, now=now)


def take_back(tx: Transaction, uid: StudyUid, *, by: str, now: datetime) -> None:
    """Note that a study was not read after all: it waits again."""
    study = studies.get(tx, uid)
    if study.reported_revision is None:
        return
    reading.enter_report(tx, uid, revision=None, by=None, at=None)
    _tell(tx, study, "study-returned", by=by, now=now)
    priority.refresh(tx, uid, now=now, cause="returned", by=by)
    guard.watch(tx, now=now)


def close_lapsed(tx: Transaction, *, now: datetime) -> int:
    """Close the studies whose readers said nothing for a lease; return how many."""
    over = reading.lapsed(tx, lease=LEASE, now=now)
    return sum(close_study(tx, uid, by=priority.OURSELVES, now=now, cause="lease over") for uid in over)


def _tell(
    tx: Transaction,
    study: StudyRecord,
    kind: str,
    *,
    by: str,
    now: datetime,
    detail: dict[str, object] | None = None,
) -> None:
    uid = study.study_instance_uid
    audit.append(tx, actor=by, action=kind, subject=uid, at=now, detail=detail)
    changes.append(tx, kind, at=now, study=uid, revision=study.revision, detail={**(detail or {}), "by": by})

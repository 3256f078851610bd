"""What is kept and out of sight: its rows stand here and not in `instances`, so that nobody who reads those meets it.

A row without an object holds for a SOP Instance UID alone: what a rejection note refers to and has not come yet, or
what was rejected and is gone for good.  Whatever comes under such a UID, in the same study, is hidden as it arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog.upsert import insert_new
from storage.errors import CatalogueUnknown
from storage.records import InstanceUid, ObjectKey, Rejection, SeriesUid, StudyUid
from storage.statements import among
from storage.tombstones import Buried

if TYPE_CHECKING:
    from storage.catalog.deletions import Target
    from storage.database import Transaction
    from storage.records import Arrival
    from storage.tombstones import Tombstone

_hidden, _studies, _series, _instances = schema.hidden, schema.studies, schema.series, schema.instances
_notes = schema.rejection_notes

ENDS_WITH_ITS_BYTES = ("", Rejection.RETENTION_EXPIRED)
"""Codes of what is no longer hidden once it is gone: sent again, it is a new arrival.  The others hold for the UID."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hidden:
    """One SOP Instance UID that is out of sight, and on whose word."""

    id: int
    study_instance_uid: StudyUid
    series_instance_uid: SeriesUid | None
    sop_instance_uid: InstanceUid
    sop_class_uid: str | None
    object_key: ObjectKey | None
    """None where nothing has come under this UID, or what came is gone for good."""
    size_bytes: int | None
    received_at: datetime | None
    address: str
    code: str
    """The title code of a rejection note, empty where there is none."""
    hidden_at: datetime
    hidden_by: str
    hidden_why: str
    tombstone_key: ObjectKey
    checksum: str | None
    """As in `storage.checksum`, in hexadecimal; None where none was noted."""

    @property
    def lasts(self) -> bool:
        """Whether the UID stays out of sight when the bytes have gone."""
        return self.code not in ENDS_WITH_ITS_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What is to go out of sight, and what that leaves of its study."""

    instances: tuple[Buried, ...]
    awaited: tuple[InstanceUid, ...] = ()
    teller: ObjectKey | None = None
    """The instance that tells the study's facts from now on, where the one that told them goes."""
    is_all: bool = False
    """Nothing of the study is left in sight."""


# --------------------------------------------------------------------------------------------------------- choosing
def of_target(tx: Transaction, target: Target) -> Chosen:
    """Return what a target stands for; `CatalogueUnknown` where nothing of it is in sight."""
    rows = _in_sight(tx, target.study)
    wanted = {
        row.sop_instance_uid
        for row in rows
        if target.series in (None, row.series_instance_uid) and target.instance in (None, row.sop_instance_uid)
    }
    if not wanted:
        raise CatalogueUnknown("nothing is kept under these UIDs")
    return _choose(tx, rows, wanted)


def of_references(
    tx: Transaction, study: StudyUid, uids: Sequence[InstanceUid], *, note: ObjectKey, await_others: bool
) -> Chosen:
    """Return what of a study a rejection note refers to; with `await_others`, also what has not come yet."""
    rows = _in_sight(tx, study)
    here = {row.sop_instance_uid for row in rows}
    chosen = _choose(tx, rows, here.intersection(uids), note)
    if not await_others:
        return chosen
    is_known = among(_hidden.c.sop_instance_uid, "uids")
    known = set(tx.execute(sa.select(_hidden.c.sop_instance_uid).where(is_known), {"uids": list(uids)}).scalars())
    return replace(chosen, awaited=tuple(sorted(set(uids) - here - known)))


def _in_sight(tx: Transaction, study: StudyUid) -> Sequence[sa.Row[Any]]:
    query = (
        sa.select(_instances.c.sop_instance_uid, _instances.c.object_key, _series.c.series_instance_uid)
        .join_from(_instances, _series, _series.c.id == _instances.c.series_pk)
        .join(_studies, _studies.c.id == _instances.c.study_pk)
        .where(_studies.c.study_instance_uid == study)
        .order_by(_instances.c.id)
    )
    return list(tx.execute(query))


def _choose(
    tx: Transaction, rows: Sequence[sa.Row[Any]], wanted: set[InstanceUid], note: ObjectKey | None = None
) -> Chosen:
    """Choose these; where rejection notes are all that is left beside them, `note` among them, they go too."""
    left = [row for row in rows if row.sop_instance_uid not in wanted]
    if wanted and left and {row.object_key for row in left} <= _notes_among(tx, left) | {note}:
        left, wanted = [], {row.sop_instance_uid for row in rows}
    return Chosen(
        instances=tuple(_buried(row) for row in rows if row.sop_instance_uid in wanted),
        teller=left[0].object_key if left and rows[0].sop_instance_uid in wanted else None,
        is_all=not left,
    )


def _notes_among(tx: Transaction, rows: Sequence[sa.Row[Any]]) -> set[ObjectKey | None]:
    query = sa.select(_notes.c.object_key).where(among(_notes.c.object_key, "keys"), _notes.c.code != "")
    found = tx.execute(query, {"keys": [row.object_key for row in rows]}).scalars()
    return {ObjectKey(key) for key in found}


def _buried(row: Any) -> Buried:  # noqa: ANN401 - a row
    return Buried(sop_instance_uid=InstanceUid(row.sop_instance_uid), object_key=ObjectKey(row.object_key))


# ----------------------------------------------------------------------------------------------------------- hiding
_TAKEN = ("sop_instance_uid", "sop_class_uid", "transfer_syntax_uid", "object_key", "size_bytes", "meta_bytes")
_TAKEN_TOO = ("received_at", "address", "checksum")
_NOTHING = {**dict.fromkeys((*_TAKEN[1:], "received_at", "checksum", "series_instance_uid")), "address": ""}
"""What is known of an instance that is not there."""


def take(tx: Transaction, uids: Iterable[InstanceUid], tombstone: Tombstone) -> None:
    """Enter instances that are in sight; whoever calls this deletes their rows in `instances` next."""
    # Another study may have waited for one of these UIDs: it came here, and is hidden here.
    these = {"uids": list(uids)}
    tx.execute(sa.delete(_hidden).where(among(_hidden.c.sop_instance_uid, "uids")), these)
    taken = [_instances.c[name] for name in (*_TAKEN, *_TAKEN_TOO)]
    word = {name: sa.literal(value, _hidden.c[name].type) for name, value in _word(tombstone).items()}
    source = (
        sa.select(*taken, _series.c.series_instance_uid, *word.values())
        .join_from(_instances, _series, _series.c.id == _instances.c.series_pk)
        .where(among(_instances.c.sop_instance_uid, "uids"))
        .order_by(_instances.c.id)
    )
    columns = [*_TAKEN, *_TAKEN_TOO, "series_instance_uid", *word]
    tx.execute(sa.insert(_hidden).from_select(columns, source), these)


def expect(tx: Transaction, uids: Iterable[InstanceUid], tombstone: Tombstone) -> None:
    """Enter UIDs under which nothing has come; what is known of one already stays."""
    word = _word(tombstone)
    for uid in uids:
        insert_new(tx, _hidden, {"sop_instance_uid": uid, "address": "", **word})


def fill(tx: Transaction, pk: int, arrival: Arrival, *, now: datetime) -> None:
    """Enter what came under a UID that is out of sight."""
    header = arrival.header
    tx.execute(
        sa.update(_hidden)
        .where(_hidden.c.id == pk)
        .values(
            series_instance_uid=header.series_instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=header.transfer_syntax_uid,
            object_key=arrival.key,
            size_bytes=arrival.size_bytes,
            meta_bytes=arrival.meta_bytes,
            received_at=now,
            address=arrival.origin.address,
            checksum=arrival.checksum,
        )
    )


def strip(tx: Transaction, uids: Iterable[InstanceUid]) -> None:
    """Note that the bytes are gone for good: a rejection goes on for the UID, anything else ends here."""
    these = {"uids": list(uids)}
    here = among(_hidden.c.sop_instance_uid, "uids")
    tx.execute(sa.delete(_hidden).where(here, _hidden.c.code.in_(ENDS_WITH_ITS_BYTES)), these)
    tx.execute(sa.update(_hidden).where(here).values(_NOTHING), these)


def empty(tx: Transaction, uid: InstanceUid) -> None:
    """Forget what came under a UID that is out of sight: something else is about to come."""
    tx.execute(sa.update(_hidden).where(_hidden.c.sop_instance_uid == uid).values(_NOTHING))


def forget(tx: Transaction, uids: Iterable[InstanceUid]) -> None:
    """Delete the rows: these UIDs may be in sight."""
    tx.execute(sa.delete(_hidden).where(among(_hidden.c.sop_instance_uid, "uids")), {"uids": list(uids)})


def _word(tombstone: Tombstone) -> dict[str, Any]:
    return {
        "study_instance_uid": tombstone.study_instance_uid,
        "code": tombstone.code,
        "hidden_at": tombstone.at,
        "hidden_by": tombstone.actor,
        "hidden_why": tombstone.reason,
        "tombstone_key": tombstone.key,
    }


# ---------------------------------------------------------------------------------------------------------- reading
def under(tx: Transaction, target: Target) -> list[Hidden]:
    """Return what is hidden under a target, in the order in which it was hidden; a UID alone has no series."""
    query = _SELECT.where(_hidden.c.study_instance_uid == target.study).order_by(_hidden.c.id)
    if target.series is not None:
        query = query.where(_hidden.c.series_instance_uid == target.series)
    if target.instance is not None:
        query = query.where(_hidden.c.sop_instance_uid == target.instance)
    return [_as_hidden(row) for row in tx.execute(query)]


def kept_since(tx: Transaction, study: StudyUid, *, before: datetime) -> list[Hidden]:
    """Return what of a study has been kept out of sight since `before` or longer."""
    query = _SELECT.where(_hidden.c.study_instance_uid == study, *_long_enough(before)).order_by(_hidden.c.id)
    return [_as_hidden(row) for row in tx.execute(query)]


def studies_kept_since(tx: Transaction, *, before: datetime, limit: int = 100) -> list[StudyUid]:
    """Return up to `limit` studies of which something has been kept out of sight since `before` or longer."""
    query = sa.select(_hidden.c.study_instance_uid).where(*_long_enough(before)).distinct()
    found = tx.execute(query.order_by(_hidden.c.study_instance_uid).limit(limit)).scalars()
    return [StudyUid(uid) for uid in found]


def listed(tx: Transaction, *, study: StudyUid | None = None, after: int = 0, limit: int = 100) -> list[Hidden]:
    """Return up to `limit` rows after row id `after`, of all studies or one."""
    query = _SELECT.where(_hidden.c.id > after).order_by(_hidden.c.id).limit(limit)
    if study is not None:
        query = query.where(_hidden.c.study_instance_uid == study)
    return [_as_hidden(row) for row in tx.execute(query)]


def count(tx: Transaction) -> int:
    """Return how many UIDs are out of sight."""
    return int(tx.execute(sa.select(sa.func.count()).select_from(_hidden)).scalar_one())


def key_of(tx: Transaction, uid: InstanceUid) -> ObjectKey | None:
    """Return the object that is kept out of sight under a UID, if any."""
    query = sa.select(_hidden.c.object_key).where(_hidden.c.sop_instance_uid == uid)
    key = tx.execute(query).scalar_one_or_none()
    return None if key is None else ObjectKey(key)


def received_at(tx: Transaction, uid: InstanceUid) -> datetime | None:
    """Return when what is kept out of sight under a UID came."""
    query = sa.select(_hidden.c.received_at).where(_hidden.c.sop_instance_uid == uid)
    return tx.execute(query).scalar_one_or_none()


_FIELDS = Hidden.__slots__
_SELECT = sa.select(*(_hidden.c[name] for name in _FIELDS))


def _long_enough(before: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (_hidden.c.object_key.is_not(None), _hidden.c.hidden_at <= before, _hidden.c.received_at <= before)


def _as_hidden(row: sa.Row[Any]) -> Hidden:
    said = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row's columns
    return Hidden(**{**said, "checksum": row.checksum.hex() if row.checksum else None})

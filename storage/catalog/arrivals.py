"""What an arriving instance does to the catalogue, a batch at a time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import additions, changes, hidden
from storage.catalog.upsert import insert_new
from storage.records import (
    MADE_HERE,
    Arrival,
    InstanceUid,
    ObjectKey,
    Rejection,
    StudyUid,
    Verdict,
)
from storage.statements import Statement, among

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from storage.database import Transaction

_studies, _series, _instances, _hidden = schema.studies, schema.series, schema.instances, schema.hidden

_ABOUT = ("object_key", "transfer_syntax_uid", "size_bytes", "meta_bytes")
_KNOWN = Statement(
    sa.select(
        _instances.c.sop_instance_uid,
        _studies.c.study_instance_uid,
        _series.c.series_instance_uid,
        *(_instances.c[name] for name in _ABOUT),
    )
    .join_from(_instances, _series, _series.c.id == _instances.c.series_pk)
    .join(_studies, _studies.c.id == _instances.c.study_pk)
    .where(among(_instances.c.sop_instance_uid, "uids"))
    # PostgreSQL shows a row after a restart that its standby may not have.  The lock is written to the log, and so
    # the answer to a re-send waits for the standby as that to the first send did.
    .with_for_update(read=True, key_share=True, of=_instances)
)
_OUT_OF_SIGHT = Statement(
    sa.select(
        _hidden.c.sop_instance_uid,
        _hidden.c.study_instance_uid,
        _hidden.c.series_instance_uid,
        *(_hidden.c[name] for name in _ABOUT),
        _hidden.c.id,
        _hidden.c.code,
        _hidden.c.tombstone_key,
    )
    .where(among(_hidden.c.sop_instance_uid, "uids"))
    .with_for_update(read=True, key_share=True)  # as above
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What is already kept under an arrival's SOP Instance UID, where it differs from the arrival."""

    study_instance_uid: StudyUid
    series_instance_uid: str
    object_key: ObjectKey
    transfer_syntax_uid: str
    size_bytes: int
    meta_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Lapsed:
    """The arrival was hidden because its retention had expired: sent again, it may come into sight again."""

    tombstone_key: ObjectKey


Answer = Verdict | Kept | Lapsed
"""`Kept` where only a look at both objects can tell a re-encoded copy from a conflict."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hidden:
    """A SOP Instance UID that is out of sight in a study, with what is kept under it."""

    pk: int
    study_instance_uid: StudyUid
    code: str
    tombstone_key: ObjectKey
    kept: Kept | None


def record(tx: Transaction, arrivals: Sequence[Arrival], *, now: datetime, lapses: bool = True) -> list[Answer]:
    """Enter arrivals whose objects are durable; return one answer each, in order.

    A new instance adds to its study's revision, or opens the next one where the study was complete.  What we wrote
    ourselves never reopens a study.  What is hidden stays so, but for what `lapses` by being sent again.
    """
    uids = [arrival.header.sop_instance_uid for arrival in arrivals]
    known, out_of_sight = _known(tx, uids), _out_of_sight(tx, uids)
    answers: list[Answer] = []
    new: dict[StudyUid, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        header = arrival.header
        uid = header.sop_instance_uid
        kept = known.get(uid)
        if kept is None and uid in out_of_sight:
            answer, out_of_sight[uid] = _meet_hidden(tx, arrival, out_of_sight[uid], now, lapses=lapses)
            if answer is not None:
                answers.append(answer)
                continue
        if kept is None:
            known[uid] = _as_kept(arrival)
            new[header.study_instance_uid].append(arrival)
            answers.append(Verdict.STORED)
        else:
            answers.append(Verdict.DUPLICATE if _same(kept, arrival) else kept)
    if new:
        additions.enter(tx, new, now)
    return answers


def _meet_hidden(
    tx: Transaction, arrival: Arrival, hid: _Hidden, now: datetime, *, lapses: bool
) -> tuple[Answer | None, _Hidden]:
    """Return the answer to an arrival whose UID is out of sight, None where it is new, and what is known of it now.

    A UID is out of sight in one study only: a rejection note speaks of nothing beyond its own.
    """
    kept = hid.kept
    if kept is None and hid.study_instance_uid != arrival.header.study_instance_uid:
        return None, hid
    if kept is not None and not _same(kept, arrival):
        return kept, hid
    if lapses and hid.code == Rejection.RETENTION_EXPIRED:
        return Lapsed(tombstone_key=hid.tombstone_key), hid
    if kept is None:
        hidden.fill(tx, hid.pk, arrival, now=now)
        _append_about(tx, "instance-hidden", arrival, now, {"code": hid.code})
    return Verdict.HIDDEN, replace(hid, kept=_as_kept(arrival))


def orphans(tx: Transaction, arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Return what we made ourselves of studies of which nothing is in sight any more: removed or hidden meanwhile."""
    ours = [arrival for arrival in arrivals if arrival.origin.via == MADE_HERE]
    if not ours:
        return []
    uids = {arrival.header.study_instance_uid for arrival in ours}
    query = sa.select(_studies.c.study_instance_uid).where(
        _studies.c.study_instance_uid.in_(uids), _studies.c.instance_count > 0
    )
    here = set(tx.execute(query).scalars())
    return [arrival for arrival in ours if arrival.header.study_instance_uid not in here]


def release(tx: Transaction, study_uids: Iterable[StudyUid], *, now: datetime) -> None:
    """Note that the association or request which brought these studies has ended in order."""
    table = schema.studies
    tx.execute(sa.update(table).where(table.c.study_instance_uid.in_(list(study_uids))).values(released_at=now))


def note_resent(tx: Transaction, arrival: Arrival, *, now: datetime) -> None:
    """Note a re-send of a kept instance in another transfer syntax."""
    detail = {"transfer_syntax_uid": arrival.header.transfer_syntax_uid}
    _append_about(tx, "instance-resent", arrival, now, detail)


def put_aside(tx: Transaction, arrival: Arrival, kept: Kept, *, now: datetime) -> bool:
    """Enter a conflicting copy into the quarantine (D-24); False, and nothing changed, where it waits there already."""
    elsewhere = (kept.study_instance_uid, kept.series_instance_uid) != (
        arrival.header.study_instance_uid,
        arrival.header.series_instance_uid,
    )
    row = {
        "sop_instance_uid": arrival.header.sop_instance_uid,
        "study_instance_uid": arrival.header.study_instance_uid,
        "object_key": arrival.key,
        "meta_bytes": arrival.meta_bytes,
        "kept_object_key": kept.object_key,
        "reason": "other study or series" if elsewhere else "other content",
        "calling_aet": arrival.origin.calling_aet,
        "address": arrival.origin.address,
        "received_at": now,
    }
    new = insert_new(tx, schema.quarantine, row)
    if new:
        _append_about(tx, "instance-quarantined", arrival, now, {"reason": row["reason"]})
    return new


def _append_about(tx: Transaction, kind: str, arrival: Arrival, now: datetime, detail: Mapping[str, object]) -> None:
    header = arrival.header
    changes.append(
        tx,
        kind,
        at=now,
        study=header.study_instance_uid,
        series=header.series_instance_uid,
        instance=header.sop_instance_uid,
        detail=detail,
    )


# ------------------------------------------------------------------------------------------ what is there already
def _known(tx: Transaction, uids: Sequence[InstanceUid]) -> dict[InstanceUid, Kept]:
    return {row.sop_instance_uid: _row_as_kept(row) for row in _KNOWN.rows(tx, {"uids": uids})}


def _out_of_sight(tx: Transaction, uids: Sequence[InstanceUid]) -> dict[InstanceUid, _Hidden]:
    return {row.sop_instance_uid: _as_hidden(row) for row in _OUT_OF_SIGHT.rows(tx, {"uids": uids})}


def _row_as_kept(row: Any) -> Kept:  # noqa: ANN401 - a row
    return Kept(
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        object_key=row.object_key,
        transfer_syntax_uid=row.transfer_syntax_uid,
        size_bytes=row.size_bytes,
        meta_bytes=row.meta_bytes,
    )


def _as_hidden(row: Any) -> _Hidden:  # noqa: ANN401 - a row
    return _Hidden(
        pk=row.id,
        study_instance_uid=row.study_instance_uid,
        code=row.code,
        tombstone_key=row.tombstone_key,
        kept=None if row.object_key is None else _row_as_kept(row),
    )


def _as_kept(arrival: Arrival) -> Kept:
    header = arrival.header
    return Kept(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        object_key=arrival.key,
        transfer_syntax_uid=header.transfer_syntax_uid,
        size_bytes=arrival.size_bytes,
        meta_bytes=arrival.meta_bytes,
    )


def _same(kept: Kept, arrival: Arrival) -> bool:
    header = arrival.header
    return (kept.object_key, kept.study_instance_uid, kept.series_instance_uid) == (
        arrival.key,
        header.study_instance_uid,
        header.series_instance_uid,
    )

"""Instances that are new to the catalogue: their rows, and what they make of their studies and series."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import changes, pauses, rejections
from storage.catalog.upsert import insert_new
from storage.names import found_by
from storage.records import (
    MADE_HERE,
    STUDY_TRANSITIONS,
    Arrival,
    OrderPriority,
    StudyEvent,
    StudyState,
    StudyUid,
)
from storage.statements import Statement, among, bound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Transaction

OPEN_WAIT = timedelta(seconds=30)
"""Silence on an association that stays open, after which a study counts as complete all the same."""

# (0040,1003) Requested Procedure Priority, PS3.3 C.4.11; (2200,0020) Request Priority, PS3.3 C.22.1
_ORDER = {
    "STAT": OrderPriority.STAT,
    "HIGH": OrderPriority.URGENT,
    "ROUTINE": OrderPriority.ROUTINE,
    "MEDIUM": OrderPriority.ROUTINE,
    "MED": OrderPriority.ROUTINE,
    "LOW": OrderPriority.ROUTINE,
}
_RANK = {OrderPriority.STAT: 0, OrderPriority.URGENT: 1, OrderPriority.ROUTINE: 2}

_MOST_MODALITIES = 1024
"""Letters of a study's modalities, for the index that they are in: no real study has 60 of them."""

STUDY_FACTS = (
    "patient_id",
    "issuer_of_patient_id",
    "patient_name",
    "patient_birth_date",
    "patient_sex",
    "study_date",
    "study_time",
    "accession_number",
    "study_id",
    "study_description",
    "referring_physician_name",
)
"""What the first instance that has it tells of its study."""
_SERIES_FACTS = (
    "modality",
    "series_number",
    "series_description",
    "body_part_examined",
    "protocol_name",
    "manufacturer",
    "station_name",
    "pps_start_date",
    "pps_start_time",
    "scheduled_procedure_step_ids",
    "requested_procedure_ids",
)


_studies, _series, _instances = schema.studies, schema.series, schema.instances

_STUDY_UIDS = Statement(sa.select(_studies.c.study_instance_uid).where(among(_studies.c.study_instance_uid, "uids")))
_LIFECYCLE = ("state", "revision", "received_last", "released_at", "quiet_until", "longest_gap_s", "pauses")
_TALLY = ("modalities", "series_count", "instance_count", "identity_conflict", "order_priority")
_STUDIES = Statement(
    sa.select(*(_studies.c[name] for name in ("id", "study_instance_uid", *_LIFECYCLE, *_TALLY, *STUDY_FACTS)))
    .where(among(_studies.c.study_instance_uid, "uids"))
    .order_by(_studies.c.study_instance_uid)
    .with_for_update()
)
_SERIES = Statement(
    sa.select(_series)
    .join(_studies, _studies.c.id == _series.c.study_pk)
    .where(among(_studies.c.study_instance_uid, "studies"), among(_series.c.series_instance_uid, "uids"))
)
_INSERT_SERIES = sa.insert(_series).returning(_series.c.id)
_INSERT_INSTANCES = Statement(sa.insert(_instances).values(bound(_instances, but=("id",))))
_UPDATE_STUDIES = Statement(
    sa.update(_studies)
    .where(_studies.c.id == sa.bindparam("pk"))
    .values({name: sa.bindparam(f"new_{name}", type_=_studies.c[name].type) for name in (*_LIFECYCLE, *_TALLY)})
)
_UPDATE_SERIES = Statement(
    sa.update(_series).where(_series.c.id == sa.bindparam("pk")).values(instance_count=sa.bindparam("count"))
)


def enter(tx: Transaction, new: Mapping[StudyUid, list[Arrival]], now: datetime) -> None:
    """Enter new instances, of any number of studies, in as few statements as one takes."""
    studies = _study_rows(tx, sorted(new), now)
    series = {(row.study_pk, row.series_instance_uid): row for row in _SERIES.rows(tx, _series_wanted(new))}
    instances: list[dict[str, Any]] = []
    studies_now: list[dict[str, Any]] = []
    series_now: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    for study in studies:
        arrivals = new[study.study_instance_uid]
        lifecycle, reopened = _lifecycle(study, arrivals, now)
        revision = lifecycle["new_revision"]
        pks, added = _extend_series(tx, study.id, arrivals, series, series_now)
        instances += [
            _instance_row(arrival, study.id, pks[arrival.header.series_instance_uid], revision, now)
            for arrival in arrivals
        ]
        studies_now.append({"pk": study.id, **lifecycle, **_tally(study, arrivals, added)})
        facts += reopened + [_stored(arrival, revision, now) for arrival in arrivals]
        _tell_study(tx, study, arrivals)
    _INSERT_INSTANCES.run(tx, instances)
    _UPDATE_STUDIES.run(tx, studies_now)
    if series_now:
        _UPDATE_SERIES.run(tx, series_now)
    changes.append_all(tx, facts)
    rejections.enter(tx, chain.from_iterable(new.values()), now=now)


def _study_rows(tx: Transaction, uids: list[StudyUid], now: datetime) -> list[Any]:
    """Return the studies' rows in order, made where they are new, locked against other writers.

    New rows before any lock, and both in one order for all writers: two batches never wait for each other.  SQLite
    has one writer at a time, so that it is asked once where no study is new.
    """
    if tx.dialect.name == "sqlite" and len(known := _STUDIES.rows(tx, {"uids": uids})) == len(uids):
        return known
    there = {row.study_instance_uid for row in _STUDY_UIDS.rows(tx, {"uids": uids})}
    for uid in uids:
        if uid not in there:
            first = {
                "study_instance_uid": uid,
                "state": StudyState.RECEIVING,
                "revision": 1,
                "received_first": now,
                "received_last": now,
                "quiet_until": now + OPEN_WAIT,
            }
            insert_new(tx, schema.studies, first)
    return _STUDIES.rows(tx, {"uids": uids})


def _lifecycle(study: Any, arrivals: list[Arrival], now: datetime) -> tuple[dict[str, Any], list[dict[str, Any]]]:  # noqa: ANN401 - a row
    """Return the study's lifecycle columns after these arrivals, and the change where it was reopened."""
    if all(arrival.origin.via == MADE_HERE for arrival in arrivals):
        return {f"new_{name}": getattr(study, name) for name in _LIFECYCLE}, []
    state, added = STUDY_TRANSITIONS[StudyState(study.state), StudyEvent.INSTANCE]
    revision = study.revision + added
    gap_s = (now - study.received_last).total_seconds()
    values = {
        "new_state": state,
        "new_revision": revision,
        "new_received_last": now,
        "new_released_at": None,
        "new_quiet_until": now + OPEN_WAIT,
        # A late instance's gap says nothing of the pace at which the rest of its revision comes.
        "new_longest_gap_s": 0.0 if added else max(study.longest_gap_s, gap_s),
        "new_pauses": pauses.noted(study, gap_s, anew=bool(added)),
    }
    if not added:
        return values, []
    return values, [changes.fact("study-reopened", at=now, study=study.study_instance_uid, revision=revision)]


def _tally(study: Any, arrivals: list[Arrival], added_series: int) -> dict[str, Any]:  # noqa: ANN401 - a row
    return {
        "new_modalities": _joined(study.modalities, arrivals),
        "new_series_count": study.series_count + added_series,
        "new_instance_count": study.instance_count + len(arrivals),
        "new_identity_conflict": study.identity_conflict or _other_patient(study.patient_id, arrivals),
        "new_order_priority": _most_urgent(study.order_priority, arrivals),
    }


def _tell_study(tx: Transaction, study: Any, arrivals: list[Arrival]) -> None:  # noqa: ANN401 - a row
    """Write what the study's row lacks and an arrival has: with the first instance, and rarely later."""
    told = _first_told(study, arrivals, STUDY_FACTS)
    if told:
        tx.execute(sa.update(_studies).where(_studies.c.id == study.id), told | found_by(told))


def _series_wanted(new: Mapping[StudyUid, list[Arrival]]) -> dict[str, Any]:
    uids = {arrival.header.series_instance_uid for arrivals in new.values() for arrival in arrivals}
    return {"studies": list(new), "uids": list(uids)}


def _extend_series(
    tx: Transaction,
    study_pk: int,
    arrivals: list[Arrival],
    known: Mapping[tuple[int, str], Any],
    series_now: list[dict[str, Any]],
) -> tuple[dict[str, int], int]:
    """Return the key of every series touched, and how many of them are new; add to `series_now` the others' counts."""
    touched: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        touched[arrival.header.series_instance_uid].append(arrival)
    keys: dict[str, int] = {}
    added = 0
    for uid, members in touched.items():
        row = known.get((study_pk, uid))
        told = _first_told(row, members, _SERIES_FACTS)
        if row is None:
            ours = all(arrival.origin.via == MADE_HERE for arrival in members)
            known_of = {"study_pk": study_pk, "series_instance_uid": uid, "made_here": ours}
            first = {**known_of, "instance_count": len(members), **told}
            keys[uid] = tx.execute(_INSERT_SERIES, first).scalar_one()
            added += 1
            continue
        keys[uid] = row.id
        series_now.append({"pk": row.id, "count": row.instance_count + len(members)})
        if told:
            tx.execute(sa.update(_series).where(_series.c.id == row.id), told)
    return keys, added


def _instance_row(arrival: Arrival, study_pk: int, series_pk: int, revision: int, now: datetime) -> dict[str, Any]:
    header, origin = arrival.header, arrival.origin
    return {
        "study_pk": study_pk,
        "series_pk": series_pk,
        "sop_instance_uid": header.sop_instance_uid,
        "sop_class_uid": header.sop_class_uid,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "object_key": arrival.key,
        "size_bytes": arrival.size_bytes,
        "meta_bytes": arrival.meta_bytes,
        "instance_number": header.instance_number,
        "image_type": "\\".join(header.image_type),
        "rows": header.rows,
        "columns": header.columns,
        "number_of_frames": header.number_of_frames,
        "bits_allocated": header.bits_allocated,
        "image_position_patient": _numbers(header.image_position_patient),
        "image_orientation_patient": _numbers(header.image_orientation_patient),
        "revision": revision,
        "received_at": now,
        "via": origin.via,
        "calling_aet": origin.calling_aet,
        "called_aet": origin.called_aet,
        "address": origin.address,
        "checksum": arrival.checksum,
    }


def _stored(arrival: Arrival, revision: int, now: datetime) -> dict[str, Any]:
    header = arrival.header
    return changes.fact(
        "instance-stored",
        at=now,
        study=header.study_instance_uid,
        series=header.series_instance_uid,
        instance=header.sop_instance_uid,
        revision=revision,
    )


def _first_told(row: Any, arrivals: list[Arrival], names: tuple[str, ...]) -> dict[str, Any]:  # noqa: ANN401 - a row or None
    """Return the attributes that the row lacks and an arrival has; what was told first stays."""
    told: dict[str, Any] = {}
    for name in names:
        if row is not None and getattr(row, name) is not None:
            continue
        for arrival in arrivals:
            value = getattr(arrival.header, name)
            if value is not None:
                told[name] = value
                break
    return told


def _joined(modalities: str, arrivals: list[Arrival]) -> str:
    found = sorted(({*modalities.split("\\")} | {arrival.header.modality or "" for arrival in arrivals}) - {""})
    while len(joined := "\\".join(found)) > _MOST_MODALITIES:
        found.pop()
    return joined


def _other_patient(patient_id: str | None, arrivals: list[Arrival]) -> bool:
    """Tell whether these arrivals name more than one patient (D-25): flagged, never merged."""
    ids = {patient_id} | {arrival.header.patient_id for arrival in arrivals}
    return len(ids - {None}) > 1


def _most_urgent(known: str | None, arrivals: list[Arrival]) -> OrderPriority | None:
    headers = [arrival.header for arrival in arrivals]
    told = [word for header in headers for word in (header.requested_procedure_priority, header.request_priority)]
    asked = [_ORDER.get((word or "").upper()) for word in told]
    orders = [order for order in [OrderPriority(known) if known else None, *asked] if order is not None]
    return min(orders, key=_RANK.__getitem__, default=None)


def _numbers(values: tuple[float, ...] | None) -> str | None:
    return None if values is None else "\\".join(repr(value) for value in values)

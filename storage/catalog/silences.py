"""How studies of one sender fell silent: counts of studies by their longest silence that was broken again."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from storage import schema
from storage.catalog.upsert import insert_new

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Transaction
    from storage.records import InstanceUid, StudyUid

_silences, _studies, _series, _instances = schema.silences, schema.studies, schema.series, schema.instances

_REMEMBERED: Final = 4000
"""Of more studies than this, what was learned counts half: a sender may change its ways."""


class Sender(NamedTuple):
    """Who sent a study's first instance: the calling AE title, or by which way where there is none; of which kind."""

    name: str
    modality: str


def sender_of(tx: Transaction, study: StudyUid) -> Sender:
    """Return a study's sender, which stays the same whatever comes to the study later."""
    query = (
        sa.select(_instances.c.calling_aet, _instances.c.via, _series.c.modality)
        .join_from(_instances, _studies, _studies.c.id == _instances.c.study_pk)
        .join(_series, _series.c.id == _instances.c.series_pk)
        .where(_studies.c.study_instance_uid == study)
        .order_by(_instances.c.id)
        .limit(1)
    )
    first = tx.execute(query).one()
    return Sender(name=first.calling_aet or first.via, modality=first.modality or "")


def in_order_of_arrival(tx: Transaction, study: StudyUid) -> list[InstanceUid]:
    """Return a study's instances as they came."""
    query = (
        sa.select(_instances.c.sop_instance_uid)
        .join_from(_instances, _studies, _studies.c.id == _instances.c.study_pk)
        .where(_studies.c.study_instance_uid == study)
        .order_by(_instances.c.id)
    )
    return list(tx.execute(query).scalars())


def learned(tx: Transaction, sender: Sender) -> dict[str, dict[int, float]]:
    """Return the counts of a sender: situation -> bucket -> studies."""
    query = sa.select(_silences.c.situation, _silences.c.bucket, _silences.c.studies).where(*_of(sender))
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for row in tx.execute(query):
        found[row.situation][row.bucket] = row.studies
    return found


def learn(tx: Transaction, sender: Sender, buckets: Mapping[str, int]) -> None:
    """Count one study, by situation; workers that count at the same time lose nothing."""
    for situation, bucket in sorted(buckets.items()):
        of = (*_of(sender), _silences.c.situation == situation)
        key = {"sender": sender.name, "modality": sender.modality, "situation": situation, "bucket": bucket}
        if not insert_new(tx, _silences, {**key, "studies": 1.0}):
            count = sa.update(_silences).where(*of, _silences.c.bucket == bucket)
            tx.execute(count.values(studies=_silences.c.studies + 1.0))
        if tx.execute(sa.select(sa.func.sum(_silences.c.studies)).where(*of)).scalar_one() > _REMEMBERED:
            tx.execute(sa.update(_silences).where(*of).values(studies=_silences.c.studies / 2))


def _of(sender: Sender) -> tuple[sa.ColumnElement[bool], ...]:
    return _silences.c.sender == sender.name, _silences.c.modality == sender.modality

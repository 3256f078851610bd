"""Landings: the objects that are durable in a landing zone and not yet known to be in the object store.

A row is written with the instance that needs the object, and goes once the object store's own copy has been read back.
While it is there, the copy that is sure lies in the folder of that landing zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog.upsert import insert_into
from storage.records import JobState, ObjectKey
from storage.statements import Statement, among, bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import Arrival

_landings, _instances, _jobs = schema.landings, schema.instances, schema.jobs
_aside, _hidden = schema.quarantine, schema.hidden

LONGEST_WAIT = timedelta(minutes=5)
"""Between two attempts at one object."""
WAITS = "objects_on_their_way"
"""Why a job waits whose objects are in another host's landing zone."""


@cache
def _enter(dialect: str) -> Statement:
    return Statement(insert_into(_landings, dialect).values(bound(_landings)).on_conflict_do_nothing())


_PUT_ASIDE = Statement(
    sa.select(_aside.c.object_key).where(
        among(_aside.c.object_key, "keys"), _aside.c.state == sa.literal_column("'WAITING'")
    )
)
_ELSEWHERE = Statement(
    sa.select(_landings.c.object_key, _landings.c.host).where(
        among(_landings.c.object_key, "keys"), _landings.c.landing != sa.bindparam("here")
    )
)
_HERE = Statement(
    sa.select(_landings.c.object_key).where(
        among(_landings.c.object_key, "keys"), _landings.c.landing == sa.bindparam("here")
    )
)
_OF_KEY = Statement(
    sa.select(_landings.c.landing, _landings.c.size_bytes).where(_landings.c.object_key == sa.bindparam("key"))
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a landing zone is: its folder's own id, and the host for a person to read."""

    id: str
    host: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Landed:
    """One object on its way; sizes as in `Arrival`, of the copy in the landing zone."""

    object_key: ObjectKey
    size_bytes: int
    meta_bytes: int
    since: datetime
    attempts: int
    last_error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """The object store's copy of an object, as it was read back."""

    object_key: ObjectKey
    size_bytes: int
    meta_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """What one landing zone holds."""

    place: Place
    objects: int
    size_bytes: int
    oldest: datetime
    attempts: int
    """The most that any of its objects has seen; 0 while all goes well."""


# ------------------------------------------------------------------------------------------------------- writing
def enter(tx: Transaction, arrivals: Iterable[Arrival], place: Place, *, now: datetime) -> None:
    """Enter arrivals whose objects are durable in the landing zone; what is entered already stays as it is."""
    rows = [
        {
            "object_key": arrival.key,
            "landing": place.id,
            "host": place.host,
            "size_bytes": arrival.size_bytes,
            "meta_bytes": arrival.meta_bytes,
            "since": now,
            "attempts": 0,
            "not_before": None,
            "last_error": None,
        }
        for arrival in arrivals
    ]
    if rows:
        _enter(tx.dialect.name).run(tx, rows)


def put_aside(tx: Transaction, keys: Sequence[ObjectKey]) -> set[ObjectKey]:
    """Return those of `keys` that the quarantine holds."""
    return {ObjectKey(row.object_key) for row in _PUT_ASIDE.rows(tx, {"keys": keys})} if keys else set()


def arrived(tx: Transaction, copies: Sequence[Copy]) -> None:
    """Forget objects whose copies in the object store have been read back, whichever landing zones hold them.

    The rows are told the copy's length of file meta: the object store may have had the data set already, with another.
    """
    tx.execute(sa.delete(_landings).where(_landings.c.object_key.in_([copy.object_key for copy in copies])))
    for copy in copies:
        told = {"meta_bytes": copy.meta_bytes}
        is_wrong = sa.and_(_instances.c.object_key == copy.object_key, _instances.c.meta_bytes != copy.meta_bytes)
        tx.execute(sa.update(_instances).where(is_wrong).values(**told, size_bytes=copy.size_bytes))
        is_wrong = sa.and_(_hidden.c.object_key == copy.object_key, _hidden.c.meta_bytes != copy.meta_bytes)
        tx.execute(sa.update(_hidden).where(is_wrong).values(**told, size_bytes=copy.size_bytes))
        is_wrong = sa.and_(_aside.c.object_key == copy.object_key, _aside.c.meta_bytes != copy.meta_bytes)
        tx.execute(sa.update(_aside).where(is_wrong).values(**told))


def note_failed(
    tx: Transaction, place: Place, key: ObjectKey, error: str, *, not_before: datetime | None = None
) -> None:
    """Count an attempt that ended with an error of this class."""
    tx.execute(
        sa.update(_landings)
        .where(_landings.c.landing == place.id, _landings.c.object_key == key)
        .values(attempts=_landings.c.attempts + 1, last_error=error, not_before=not_before)
    )


def forget(tx: Transaction, key: ObjectKey) -> None:
    """Forget an object that was removed on purpose."""
    tx.execute(sa.delete(_landings).where(_landings.c.object_key == key))


# ------------------------------------------------------------------------------------------------------- reading
def due(tx: Transaction, place: Place, *, now: datetime, limit: int) -> list[Landed]:
    """Return the objects of a landing zone to be uploaded now, oldest first."""
    # A time too far ahead was written by a clock that has been set back since.
    waits = sa.and_(_landings.c.not_before > now, _landings.c.not_before <= now + LONGEST_WAIT)
    query = (
        sa.select(_landings)
        .where(_landings.c.landing == place.id, sa.or_(_landings.c.not_before.is_(None), sa.not_(waits)))
        .order_by(_landings.c.since, _landings.c.object_key)
        .limit(limit)
    )
    return [
        Landed(
            object_key=ObjectKey(row.object_key),
            size_bytes=row.size_bytes,
            meta_bytes=row.meta_bytes,
            since=row.since,
            attempts=row.attempts,
            last_error=row.last_error,
        )
        for row in tx.execute(query)
    ]


def pending(tx: Transaction) -> frozenset[ObjectKey]:
    """Return the key of every object that a landing zone, here or elsewhere, has not handed over yet.

    Scrub, verify and rebuild count these as present and needed, whatever the object store says.
    """
    return frozenset(ObjectKey(key) for key in tx.execute(sa.select(_landings.c.object_key)).scalars())


def keys_of(tx: Transaction, place: Place) -> frozenset[ObjectKey]:
    """Return the key of every object that one landing zone holds."""
    query = sa.select(_landings.c.object_key).where(_landings.c.landing == place.id)
    return frozenset(ObjectKey(key) for key in tx.execute(query).scalars())


def is_pending(tx: Transaction, key: ObjectKey) -> bool:
    """Tell whether a landing zone still holds the object."""
    query = sa.select(sa.literal(1)).where(_landings.c.object_key == key).limit(1)
    return tx.execute(query).first() is not None


def in_store(tx: Transaction, keys: Iterable[ObjectKey]) -> set[ObjectKey]:
    """Return those of `keys` that an instance needs, hidden or not, and that no landing zone holds back.

    With ``ROI_ACK=landing`` these are in the object store and were read back there: what storage commitment
    (PS3.4 Annex J) may promise.
    """
    kept = sa.union_all(sa.select(_instances.c.object_key), sa.select(_hidden.c.object_key)).subquery("kept")
    wanted = sa.select(kept.c.object_key).where(kept.c.object_key.in_(list(keys)))
    query = wanted.where(~sa.exists().where(_landings.c.object_key == kept.c.object_key))
    return {ObjectKey(key) for key in tx.execute(query).scalars()}


def size_here(tx: Transaction, key: ObjectKey, *, here: str) -> int | None:
    """Return the size of the copy that this landing zone alone answers for, None where it does not."""
    rows = _OF_KEY.rows(tx, {"key": key})
    return rows[0].size_bytes if [row.landing for row in rows] == [here] else None


def held(tx: Transaction, keys: Sequence[ObjectKey], *, here: str) -> set[ObjectKey]:
    """Return those of `keys` that this landing zone answers for."""
    return {ObjectKey(row.object_key) for row in _HERE.rows(tx, {"keys": keys, "here": here})}


def elsewhere(tx: Transaction, keys: Sequence[ObjectKey], *, here: str) -> dict[ObjectKey, str]:
    """Return those of `keys` that are on their way from another landing zone, with its host."""
    return {ObjectKey(row.object_key): row.host for row in _ELSEWHERE.rows(tx, {"keys": keys, "here": here})}


def backlogs(tx: Transaction) -> list[Backlog]:
    """Return what every landing zone holds that holds anything."""
    query = sa.select(
        _landings.c.landing,
        sa.func.min(_landings.c.host).label("host"),
        sa.func.count().label("objects"),
        sa.func.sum(_landings.c.size_bytes).label("size_bytes"),
        sa.func.min(_landings.c.since).label("oldest"),
        sa.func.max(_landings.c.attempts).label("attempts"),
    ).group_by(_landings.c.landing)
    return [
        Backlog(
            place=Place(id=row.landing, host=row.host),
            objects=row.objects,
            size_bytes=int(row.size_bytes),
            oldest=row.oldest,
            attempts=row.attempts,
        )
        for row in tx.execute(query)
    ]


# ------------------------------------------------------------------------------------------------------- jobs
def holds_back(here: str) -> sa.ColumnElement[bool]:
    """Return the condition that an object which a row of `schema.jobs` needs is on its way from another place."""
    return sa.exists().where(
        _instances.c.study_pk == _jobs.c.study_pk,
        _instances.c.revision <= _jobs.c.revision,
        _landings.c.object_key == _instances.c.object_key,
        _landings.c.landing != here,
    )


def note_jobs(tx: Transaction, *, here: str) -> None:
    """Say of every waiting job whose objects are on their way from another place that this is why it waits."""
    if tx.execute(sa.select(_landings.c.landing).where(_landings.c.landing != here).limit(1)).first() is None:
        return
    tx.execute(
        sa.update(_jobs)
        .where(_jobs.c.state == JobState.WAITING, sa.func.coalesce(_jobs.c.reason, "") != WAITS, holds_back(here))
        .values(reason=WAITS)
    )

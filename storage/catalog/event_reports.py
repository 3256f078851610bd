"""Events that wait for those who hear of them: a row for each event and AE title, in one order, until it was sent.

Every API process reads them for its own channels, from a cursor that is kept for each AE title.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from storage import schema
from storage.catalog.upsert import insert_new
from storage.workitems.datasets import DataSet
from storage.workitems.records import WorkitemUid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from storage.database import Transaction

_reports, _subscribers = schema.event_reports, schema.subscribers
_ORDER_LOCK: Final = 0x0055_5053  # any fixed number: "UPS"


class EventType(IntEnum):
    """(0000,1002) Event Type ID (PS3.4 Table CC.2.4-1)."""

    STATE = 1
    CANCEL_REQUESTED = 2
    PROGRESS = 3
    SERVER_STATUS = 4
    ASSIGNED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What happened to a workitem, as those who subscribe to it hear."""

    workitem_uid: WorkitemUid
    type: EventType
    attributes: DataSet


@dataclass(frozen=True, kw_only=True, slots=True)
class EventReport:
    """An event that waits for one AE title."""

    seq: int
    event: Event


@dataclass(slots=True)
class Mail:
    """The events of one transaction, each with its recipients; `post` is the last thing that the transaction does."""

    letters: list[tuple[str, Event]] = field(default_factory=list)

    def add(self, recipients: Iterable[str], event: Event) -> None:
        """Address an event to AE titles."""
        self.letters += [(aet, event) for aet in recipients]


def post(tx: Transaction, mail: Mail, *, at: datetime) -> None:
    """Append events in this order.

    On PostgreSQL appenders take turns until they commit, as those of changes do: a cursor would skip for ever what
    became visible late.  Whoever holds the turn waits for no row any more, so nobody waits in a circle.
    """
    if not mail.letters:
        return
    if tx.dialect.name == "postgresql":
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_ORDER_LOCK)))
    rows = [
        {
            "aet": aet,
            "workitem_uid": event.workitem_uid,
            "event_type": event.type,
            "attributes": event.attributes,
            "at": at,
        }
        for aet, event in mail.letters
    ]
    tx.execute(sa.insert(_reports), rows)


def after(tx: Transaction, aet: str, cursor: int, *, limit: int) -> list[EventReport]:
    """Return up to `limit` events of an AE title after `cursor`, oldest first."""
    query = sa.select(_reports).where(_reports.c.aet == aet, _reports.c.seq > cursor).order_by(_reports.c.seq)
    return [
        EventReport(
            seq=row.seq,
            event=Event(
                workitem_uid=WorkitemUid(row.workitem_uid),
                type=EventType(row.event_type),
                attributes=row.attributes,
            ),
        )
        for row in tx.execute(query.limit(limit))
    ]


def open_channel(tx: Transaction, aet: str, *, now: datetime) -> tuple[int, datetime | None]:
    """Return the cursor from which an AE title's channel goes on, and when its last one was opened."""
    insert_new(tx, _subscribers, {"aet": aet, "delivered_seq": 0, "opened_at": None})
    row = tx.execute(sa.select(_subscribers).where(_subscribers.c.aet == aet)).one()
    tx.execute(sa.update(_subscribers).where(_subscribers.c.aet == aet).values(opened_at=now))
    return row.delivered_seq, row.opened_at


def note_delivered(tx: Transaction, aet: str, seq: int) -> None:
    """Note that an AE title was sent everything up to `seq`, and forget it."""
    later = sa.and_(_subscribers.c.aet == aet, _subscribers.c.delivered_seq < seq)
    tx.execute(sa.update(_subscribers).where(later).values(delivered_seq=seq))


def drop(tx: Transaction, aet: str, uid: WorkitemUid | None = None) -> None:
    """Delete what waits for an AE title, of one workitem or all."""
    which: Sequence[sa.ColumnElement[bool]] = [] if uid is None else [_reports.c.workitem_uid == uid]
    tx.execute(sa.delete(_reports).where(_reports.c.aet == aet, *which))


def remove_old(tx: Transaction, *, delivered_before: datetime, before: datetime) -> int:
    """Delete events that were sent and are older than one time, and those older than another, sent or not."""
    sent = sa.exists().where(_subscribers.c.aet == _reports.c.aet, _subscribers.c.delivered_seq >= _reports.c.seq)
    gone = sa.or_(_reports.c.at < before, sa.and_(_reports.c.at < delivered_before, sent))
    return tx.execute(sa.delete(_reports).where(gone)).rowcount


def waiting(tx: Transaction) -> Mapping[str, int]:
    """Return how many events wait for each AE title, those already sent not counted."""
    sent = sa.func.coalesce(_subscribers.c.delivered_seq, 0)
    query = (
        sa.select(_reports.c.aet, sa.func.count().label("waiting"))
        .select_from(_reports.outerjoin(_subscribers, _subscribers.c.aet == _reports.c.aet))
        .where(_reports.c.seq > sent)
        .group_by(_reports.c.aet)
    )
    return {row.aet: row.waiting for row in tx.execute(query)}


def cut(tx: Transaction, aet: str, *, most: int) -> None:
    """Delete the oldest events of an AE title beyond the newest `most`."""
    newest = sa.select(_reports.c.seq).where(_reports.c.aet == aet).order_by(_reports.c.seq.desc())
    border = newest.offset(most).limit(1).scalar_subquery()
    tx.execute(sa.delete(_reports).where(_reports.c.aet == aet, _reports.c.seq <= border))

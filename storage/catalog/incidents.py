"""Incidents with a model's answer: what was said, frozen, and by when whom has to be told (A24).

The AI Law and its decree (134/2025; 142/2026) want a serious incident notified within 72 hours, and again within 5
working days, and reported in full within 15 days of becoming known.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.catalog import audit
from storage.errors import CatalogueUnknown, Rejected
from storage.local_time import LOCAL_TIME
from storage.records import ResultId

if TYPE_CHECKING:
    from storage.database import Transaction

_incidents = schema.model_incidents

_SATURDAY: Final = 5


def working_days_after(known: datetime, days: int) -> datetime:
    """Return the end of the last of so many working days after a moment, in Viet Nam.

    Public holidays count as working days: some are fixed by decree each year, and a date too early does no harm.
    """
    day = known.astimezone(LOCAL_TIME).replace(hour=0, minute=0, second=0, microsecond=0)
    left = days
    while left:
        day += timedelta(days=1)
        left -= day.weekday() < _SATURDAY
    return (day + timedelta(days=1)).astimezone(UTC)


DUTIES: Final[Mapping[str, Callable[[datetime], datetime]]] = {
    "first notice": lambda known: known + timedelta(hours=72),
    "notice": lambda known: working_days_after(known, 5),
    "full report": lambda known: known + timedelta(days=15),
}
"""By when each has to be done, counted from when the incident was known."""


class DutyUnknown(Rejected):
    """An incident has a first notice, a notice and a full report, and nothing else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Duty:
    """One thing to do about an incident."""

    name: str
    due_at: datetime
    done_at: datetime | None
    done_by: str | None
    overdue: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """What went wrong, and what was done about it; no patient data in its words."""

    id: str
    model_id: str
    model_digest: str
    result_id: ResultId | None
    what: str
    frozen: Mapping[str, Any]
    """The result as it stood: its findings, provenance and the digest of what was looked at."""
    known_at: datetime
    recorded_at: datetime
    recorded_by: str
    done: Mapping[str, Any]

    def duties(self, *, now: datetime) -> tuple[Duty, ...]:
        """Return what has to be done, the first due first."""
        return tuple(self._duty(name, due_of(self.known_at), now) for name, due_of in DUTIES.items())

    def _duty(self, name: str, due_at: datetime, now: datetime) -> Duty:
        done = self.done.get(name)
        done_at = datetime.fromisoformat(done["at"]) if done else None
        return Duty(
            name=name,
            due_at=due_at,
            done_at=done_at,
            done_by=done["by"] if done else None,
            overdue=(done_at or now) > due_at,
        )


def record(
    tx: Transaction,
    *,
    model_id: str,
    model_digest: str,
    result_id: ResultId | None,
    what: str,
    frozen: Mapping[str, Any],
    known_at: datetime,
    by: str,
    now: datetime,
) -> Incident:
    """Enter an incident, with its line of the audit."""
    incident = Incident(
        id=secrets.token_hex(16),
        model_id=model_id,
        model_digest=model_digest,
        result_id=result_id,
        what=what,
        frozen=dict(frozen),
        known_at=known_at,
        recorded_at=now,
        recorded_by=by,
        done={},
    )
    tx.execute(sa.insert(_incidents).values(**{name: getattr(incident, name) for name in Incident.__slots__}))
    detail = {"model": model_id, "digest": model_digest, "result": result_id}
    audit.append(tx, actor=by, action="incident-recorded", subject=incident.id, at=now, detail=detail)
    return incident


def note_done(tx: Transaction, incident_id: str, duty: str, *, by: str, now: datetime) -> Incident:
    """Note that a duty was done; said twice, the first time counts.

    Raises
    ------
    CatalogueUnknown
        There is no such incident.
    DutyUnknown
        An incident has no such duty.
    """
    if duty not in DUTIES:
        raise DutyUnknown
    incident = one(tx, incident_id)
    if duty in incident.done:
        return incident
    done = {**incident.done, duty: {"at": now.isoformat(), "by": by}}
    tx.execute(sa.update(_incidents).where(_incidents.c.id == incident_id).values(done=done))
    audit.append(tx, actor=by, action="incident-reported", subject=incident_id, at=now, detail={"duty": duty})
    return replace(incident, done=done)


def one(tx: Transaction, incident_id: str) -> Incident:
    """Return one incident.

    Raises
    ------
    CatalogueUnknown
        There is no such incident.
    """
    row = tx.execute(sa.select(_incidents).where(_incidents.c.id == incident_id)).one_or_none()
    if row is None:
        raise CatalogueUnknown("there is no such incident")
    return _as_incident(row)


def every(tx: Transaction) -> list[Incident]:
    """Return all incidents, the last known first."""
    query = sa.select(_incidents).order_by(_incidents.c.known_at.desc(), _incidents.c.id)
    return [_as_incident(row) for row in tx.execute(query)]


def _as_incident(row: sa.Row[Any]) -> Incident:
    return Incident(**{name: getattr(row, name) for name in Incident.__slots__})

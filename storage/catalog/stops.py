"""The kill switch: models that nobody may ask until a person lets them go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from storage import schema
from storage.catalog import audit
from storage.catalog.upsert import insert_new

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction

_stops = schema.model_stops

EVERY: Final = "*"
"""Stands for all models, those that are installed later too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """A model that was stopped, or all of them."""

    model_id: str
    at: datetime
    by: str
    why: str


def add(tx: Transaction, stop: Stop) -> bool:
    """Stop a model, or all; tell whether it was going until now."""
    row = {"model_id": stop.model_id, "stopped_at": stop.at, "stopped_by": stop.by, "stopped_why": stop.why}
    new = insert_new(tx, _stops, row)
    if new:
        detail = {"reason": stop.why}
        audit.append(tx, actor=stop.by, action="model-stopped", subject=stop.model_id, at=stop.at, detail=detail)
    return new


def lift(tx: Transaction, model_id: str, *, by: str, why: str, now: datetime) -> bool:
    """Let a model go on, or take back the stop of all; tell whether there was one."""
    gone = tx.execute(sa.delete(_stops).where(_stops.c.model_id == model_id)).rowcount > 0
    if gone:
        audit.append(tx, actor=by, action="model-started", subject=model_id, at=now, detail={"reason": why})
    return gone


def of(tx: Transaction, model_id: str) -> Stop | None:
    """Return what stops a model, None where it goes."""
    return next((stop for stop in every(tx) if stop.model_id in {model_id, EVERY}), None)


def every(tx: Transaction) -> list[Stop]:
    """Return all stops, that of all models first."""
    rows = tx.execute(sa.select(_stops).order_by(_stops.c.model_id))
    return [Stop(model_id=row.model_id, at=row.stopped_at, by=row.stopped_by, why=row.stopped_why) for row in rows]

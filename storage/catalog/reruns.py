"""Results that somebody wants to see made again: asked for by anyone, run by a worker, kept with what came out."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.records import ResultId

if TYPE_CHECKING:
    from storage.database import Transaction

_reruns = schema.reruns
LEASE = timedelta(minutes=15)
"""After which a rerun that began and never ended is begun by somebody else: its process died."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rerun:
    """One wish, and what came of it."""

    id: str
    result_id: ResultId
    asked_at: datetime
    asked_by: str
    began_at: datetime | None
    ended_at: datetime | None
    answer: Mapping[str, Any] | None
    """The comparison, or ``refused`` with the reason why the result cannot be made again."""


def ask(tx: Transaction, result: ResultId, *, by: str, now: datetime) -> Rerun:
    """Note that a result is to be made again; where it waits for that already, return that wish."""
    waits = sa.select(_reruns).where(_reruns.c.result_id == result, _reruns.c.ended_at.is_(None))
    row = tx.execute(waits.limit(1)).one_or_none()
    if row is None:
        new = secrets.token_hex(16)
        tx.execute(sa.insert(_reruns).values(id=new, result_id=result, asked_at=now, asked_by=by))
        row = tx.execute(sa.select(_reruns).where(_reruns.c.id == new)).one()
    return _as_rerun(row)


def get(tx: Transaction, rerun: str) -> Rerun | None:
    """Return one, None where there is none of this id."""
    row = tx.execute(sa.select(_reruns).where(_reruns.c.id == rerun)).one_or_none()
    return None if row is None else _as_rerun(row)


def any_waits(tx: Transaction, *, now: datetime) -> bool:
    """Tell whether one may be begun."""
    return tx.execute(_free(now)).first() is not None


def begin(tx: Transaction, *, now: datetime) -> Rerun | None:
    """Return the one that has waited longest, now begun; None where none waits.  One process gets it."""
    row = tx.execute(_free(now).with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return None
    tx.execute(sa.update(_reruns).where(_reruns.c.id == row.id).values(began_at=now))
    return _as_rerun(row)


def end(tx: Transaction, rerun: str, answer: Mapping[str, Any], *, now: datetime) -> None:
    """Keep what came out."""
    tx.execute(sa.update(_reruns).where(_reruns.c.id == rerun).values(ended_at=now, answer=dict(answer)))


def give_back(tx: Transaction, rerun: str) -> None:
    """Let somebody else begin one: this process is to end."""
    tx.execute(sa.update(_reruns).where(_reruns.c.id == rerun, _reruns.c.ended_at.is_(None)).values(began_at=None))


def _free(now: datetime) -> sa.Select[Any]:
    free = sa.or_(_reruns.c.began_at.is_(None), _reruns.c.began_at < now - LEASE)
    return sa.select(_reruns).where(_reruns.c.ended_at.is_(None), free).order_by(_reruns.c.asked_at).limit(1)


def _as_rerun(row: sa.Row[Any]) -> Rerun:
    return Rerun(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row's columns

"""Thresholds that a site chose for itself; a card's own are never changed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import audit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from storage.database import Transaction

_points = schema.model_operating_points


@dataclass(frozen=True, kw_only=True, slots=True)
class SitePoint:
    """One threshold in force; `figures` tells the rule that chose it, what it reached, and on how many cases."""

    id: str
    model_digest: str
    finding_code: str
    threshold: float
    figures: Mapping[str, Any]
    chosen_at: datetime
    chosen_by: str


def choose(
    tx: Transaction,
    digest: str,
    finding_code: str,
    threshold: float,
    *,
    figures: Mapping[str, Any],
    by: str,
    now: datetime,
) -> SitePoint:
    """Put a threshold in force, in the place of an earlier one, with its line of the audit."""
    _end(tx, digest, finding_code, now)
    point = SitePoint(
        id=secrets.token_hex(16),
        model_digest=digest,
        finding_code=finding_code,
        threshold=threshold,
        figures=dict(figures),
        chosen_at=now,
        chosen_by=by,
    )
    row = {name: getattr(point, name) for name in SitePoint.__slots__}
    tx.execute(sa.insert(_points).values(**row))
    detail = {"id": point.id, "finding": finding_code, "threshold": threshold, **figures}
    audit.append(tx, actor=by, action="operating-point-chosen", subject=digest, at=now, detail=detail)
    return point


def end(tx: Transaction, digest: str, finding_code: str, *, by: str, why: str, now: datetime) -> bool:
    """Go back to the card's own threshold; tell whether the site had one."""
    ended = _end(tx, digest, finding_code, now)
    if ended:
        detail = {"finding": finding_code, "reason": why}
        audit.append(tx, actor=by, action="operating-point-ended", subject=digest, at=now, detail=detail)
    return ended


def in_force(tx: Transaction, digest: str) -> dict[str, SitePoint]:
    """Return the site's thresholds of a model, by finding code."""
    query = sa.select(_points).where(_points.c.model_digest == digest, _points.c.ended_at.is_(None))
    return {row.finding_code: _as_point(row) for row in tx.execute(query)}


def _end(tx: Transaction, digest: str, finding_code: str, now: datetime) -> bool:
    standing = (_points.c.model_digest == digest, _points.c.finding_code == finding_code, _points.c.ended_at.is_(None))
    return tx.execute(sa.update(_points).where(*standing).values(ended_at=now)).rowcount > 0


def _as_point(row: sa.Row[Any]) -> SitePoint:
    return SitePoint(**{name: getattr(row, name) for name in SitePoint.__slots__})

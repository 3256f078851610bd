"""What local checks of models found, kept as they were shown."""

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

_checks = schema.model_checks


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalCheck:
    """One check of one model on the site's own studies."""

    id: str
    model_digest: str
    passed: bool
    figures: Mapping[str, Any]
    checked_at: datetime
    checked_by: str


def add(
    tx: Transaction, digest: str, figures: Mapping[str, Any], *, passed: bool, by: str, now: datetime
) -> LocalCheck:
    """Keep a check, with its line of the audit."""
    check = LocalCheck(
        id=secrets.token_hex(16),
        model_digest=digest,
        passed=passed,
        figures=dict(figures),
        checked_at=now,
        checked_by=by,
    )
    tx.execute(sa.insert(_checks).values(**{name: getattr(check, name) for name in LocalCheck.__slots__}))
    detail = {"check": check.id, "passed": passed}
    audit.append(tx, actor=by, action="model-checked", subject=digest, at=now, detail=detail)
    return check


def newest(tx: Transaction, digest: str) -> LocalCheck | None:
    """Return the last check of a model, None where there was none."""
    query = sa.select(_checks).where(_checks.c.model_digest == digest).order_by(_checks.c.checked_at.desc()).limit(1)
    row = tx.execute(query).one_or_none()
    return None if row is None else LocalCheck(**{name: getattr(row, name) for name in LocalCheck.__slots__})

"""The site's word on each model: what it may do here, who said so, when and why.

A model is its digest: another digest is another model, and starts anew.  What no row speaks of was not met yet, and
stands where its card puts it (`inference.deployment`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.catalog import audit
from storage.catalog.upsert import insert_new
from storage.errors import Rejected

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction

_deployments = schema.deployments


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRef:
    """What names a model in the catalogue."""

    id: str
    version: str
    digest: str


class Status(StrEnum):
    """What a model may do at this site."""

    SHADOW = "SHADOW"
    """It runs, its results are recorded and marked, and move nothing."""
    ENABLED = "ENABLED"
    """Its flags may move the list: a named person said so."""
    RETIRED = "RETIRED"
    """It gets no job."""


class Mode(StrEnum):
    """On which ground an enabled model moves the list."""

    CLINICAL = "clinical"
    RESEARCH = "research"
    PHANTOM = "phantom"
    """Only what its own generator drew: no device, no person."""


STEPS: Final[Mapping[tuple[Status, Status], str]] = {
    (Status.SHADOW, Status.ENABLED): "model-enabled",
    (Status.ENABLED, Status.ENABLED): "model-enabled",
    (Status.ENABLED, Status.SHADOW): "model-shadowed",
    (Status.SHADOW, Status.RETIRED): "model-retired",
    (Status.ENABLED, Status.RETIRED): "model-retired",
    (Status.RETIRED, Status.SHADOW): "model-shadowed",
}
"""The steps there are, with the word of the audit; a pair that is not listed is refused."""


class StepRefused(Rejected):
    """A model cannot go from where it stands to where it was told to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """Where a model stands."""

    model: ModelRef
    status: Status
    mode: Mode | None
    """While it is enabled."""
    check_id: str | None
    """The local check that was shown to whoever enabled it."""
    since: datetime
    by: str
    why: str


def introduce(tx: Transaction, deployment: Deployment) -> bool:
    """Enter a model that was not met before, with its line of the audit; tell whether it was new."""
    new = insert_new(tx, _deployments, _row(deployment))
    if new:
        _note(tx, deployment, action="model-introduced", before=None)
    return new


def of(tx: Transaction, digest: str) -> Deployment | None:
    """Return the site's word on a model, None where it was not met yet."""
    row = tx.execute(sa.select(_deployments).where(_deployments.c.model_digest == digest)).one_or_none()
    return None if row is None else _as_deployment(row)


def last_met(tx: Transaction, model_id: str) -> ModelRef | None:
    """Return the model that the site spoke of last under an id, installed still or not; None where it met none."""
    query = sa.select(_deployments).where(_deployments.c.model_id == model_id).order_by(_deployments.c.since.desc())
    row = tx.execute(query.limit(1)).one_or_none()
    return None if row is None else _as_deployment(row).model


def every(tx: Transaction) -> dict[str, Deployment]:
    """Return the site's word on every model that it met, by digest."""
    return {row.model_digest: _as_deployment(row) for row in tx.execute(sa.select(_deployments))}


def step(
    tx: Transaction,
    before: Deployment,
    to: Status,
    *,
    by: str,
    why: str,
    now: datetime,
    mode: Mode | None = None,
    check_id: str | None = None,
) -> Deployment:
    """Take a model one step on, with its line of the audit.

    Raises
    ------
    StepRefused
        There is no such step, or somebody took another one meanwhile.
    """
    action = STEPS.get((before.status, to))
    if action is None:
        raise StepRefused(f"{before.model.id} is {before.status}: it cannot become {to}")
    after = replace(before, status=to, mode=mode, check_id=check_id or before.check_id, since=now, by=by, why=why)
    moved = tx.execute(
        sa.update(_deployments)
        .where(_deployments.c.model_digest == before.model.digest, _deployments.c.status == before.status)
        .values(**_row(after))
    )
    if not moved.rowcount:
        raise StepRefused(f"{before.model.id} is no longer {before.status}: look again")
    _note(tx, after, action=action, before=before.status)
    return after


def note_removed(
    tx: Transaction, model: ModelRef, *, by: str, why: str, now: datetime, made_of: Mapping[str, str]
) -> None:
    """Append to the audit that a model was taken away; the site's word on it stays."""
    detail = {"model": model.id, "version": model.version, **made_of, "reason": why}
    audit.append(tx, actor=by, action="model-removed", subject=model.digest, at=now, detail=detail)


def _note(tx: Transaction, deployment: Deployment, *, action: str, before: Status | None) -> None:
    detail = {
        "model": deployment.model.id,
        "version": deployment.model.version,
        "from": before,
        "to": deployment.status,
        "mode": deployment.mode,
        "check": deployment.check_id,
        "reason": deployment.why,
    }
    digest = deployment.model.digest
    audit.append(tx, actor=deployment.by, action=action, subject=digest, at=deployment.since, detail=detail)


def _row(deployment: Deployment) -> dict[str, Any]:
    return {
        "model_digest": deployment.model.digest,
        "model_id": deployment.model.id,
        "model_version": deployment.model.version,
        "status": deployment.status,
        "mode": deployment.mode,
        "check_id": deployment.check_id,
        "since": deployment.since,
        "decided_by": deployment.by,
        "decided_why": deployment.why,
    }


def _as_deployment(row: sa.Row[Any]) -> Deployment:
    return Deployment(
        model=ModelRef(id=row.model_id, version=row.model_version, digest=row.model_digest),
        status=Status(row.status),
        mode=None if row.mode is None else Mode(row.mode),
        check_id=row.check_id,
        since=row.since,
        by=row.decided_by,
        why=row.decided_why,
    )

"""Persons who want no model to look at their images, each on the word of whoever declared it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import audit
from storage.errors import CatalogueUnknown
from storage.records import StudyUid

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction

_opt_outs, _studies = schema.model_opt_outs, schema.studies


@dataclass(frozen=True, kw_only=True, slots=True)
class OptOut:
    """One person's wish, by Patient ID; an empty issuer means whoever issued it."""

    id: int
    patient_id: str
    issuer_of_patient_id: str
    since: datetime
    by: str
    why: str
    ended_at: datetime | None


def declare(tx: Transaction, patient_id: str, *, issuer: str, by: str, why: str, now: datetime) -> OptOut:
    """Enter a person's wish; one that stands already is returned as it is."""
    for standing in _standing(tx, patient_id):
        if standing.issuer_of_patient_id == issuer:
            return standing
    row = {
        "patient_id": patient_id,
        "issuer_of_patient_id": issuer,
        "since": now,
        "declared_by": by,
        "declared_why": why,
    }
    made = tx.execute(sa.insert(_opt_outs).values(**row).returning(_opt_outs.c.id)).scalar_one()
    audit.append(tx, actor=by, action="opt-out-declared", subject=f"opt-out {made}", at=now, detail={"reason": why})
    return one(tx, made)


def end(tx: Transaction, row_id: int, *, by: str, why: str, now: datetime) -> bool:
    """Take a wish back; tell whether it stood.  The row stays."""
    standing = _opt_outs.c.ended_at.is_(None)
    ended = tx.execute(sa.update(_opt_outs).where(_opt_outs.c.id == row_id, standing).values(ended_at=now)).rowcount
    if ended:
        audit.append(tx, actor=by, action="opt-out-ended", subject=f"opt-out {row_id}", at=now, detail={"reason": why})
    return ended > 0


def one(tx: Transaction, row_id: int) -> OptOut:
    """Return one wish.

    Raises
    ------
    CatalogueUnknown
        There never was such a one.
    """
    row = tx.execute(sa.select(_opt_outs).where(_opt_outs.c.id == row_id)).one_or_none()
    if row is None:
        raise CatalogueUnknown("nobody declared such an opt-out")
    return _as_opt_out(row)


def every(tx: Transaction, *, after: int = 0, limit: int = 1000) -> list[OptOut]:
    """Return the wishes that stand, oldest first."""
    query = sa.select(_opt_outs).where(_opt_outs.c.ended_at.is_(None), _opt_outs.c.id > after)
    return [_as_opt_out(row) for row in tx.execute(query.order_by(_opt_outs.c.id).limit(limit))]


def stands_for(tx: Transaction, uid: StudyUid) -> bool:
    """Tell whether the person of a study has opted out; in doubt about the issuer, the wish holds."""
    query = sa.select(_studies.c.patient_id, _studies.c.issuer_of_patient_id)
    study = tx.execute(query.where(_studies.c.study_instance_uid == uid)).one_or_none()
    if study is None or study.patient_id is None:
        return False
    issuer = study.issuer_of_patient_id or ""
    return any(not issuer or wish.issuer_of_patient_id in {"", issuer} for wish in _standing(tx, study.patient_id))


def studies_of(tx: Transaction, wish: OptOut) -> list[StudyUid]:
    """Return the studies here of the person whose wish it is."""
    query = sa.select(_studies.c.study_instance_uid).where(_studies.c.patient_id == wish.patient_id)
    return [StudyUid(uid) for uid in tx.execute(query).scalars() if stands_for(tx, StudyUid(uid))]


def _standing(tx: Transaction, patient_id: str) -> list[OptOut]:
    query = sa.select(_opt_outs).where(_opt_outs.c.patient_id == patient_id, _opt_outs.c.ended_at.is_(None))
    return [_as_opt_out(row) for row in tx.execute(query)]


def _as_opt_out(row: sa.Row[Any]) -> OptOut:
    return OptOut(
        id=row.id,
        patient_id=row.patient_id,
        issuer_of_patient_id=row.issuer_of_patient_id,
        since=row.since,
        by=row.declared_by,
        why=row.declared_why,
        ended_at=row.ended_at,
    )

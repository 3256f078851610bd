"""Studies whose instances name more than one patient, and patients with one ID and several names (D-25).

Nothing is ever merged: a person looks, has the modality correct what is wrong, and clears the flag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog import audit, changes
from storage.catalog import studies as study_rows
from storage.records import StudyUid

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction

_studies = schema.studies


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedId:
    """A Patient ID under which studies tell several names or birth dates."""

    patient_id: str
    issuer_of_patient_id: str | None
    studies: int
    names: int
    birth_dates: int


def flagged(tx: Transaction, *, after: str = "", limit: int = 1000) -> list[StudyUid]:
    """Return up to `limit` studies that wait to be reconciled, by UID after `after`."""
    query = (
        sa.select(_studies.c.study_instance_uid)
        .where(_studies.c.identity_conflict.is_(True), _studies.c.study_instance_uid > after, study_rows.IN_SIGHT)
        .order_by(_studies.c.study_instance_uid)
        .limit(limit)
    )
    return [StudyUid(uid) for uid in tx.execute(query).scalars()]


def clear(tx: Transaction, study: StudyUid, *, actor: str, reason: str, now: datetime) -> bool:
    """Note that a person has reconciled a study; False, and no line in the audit, where nothing waited.

    Raises
    ------
    CatalogueUnknown
        There is no such study.
    """
    record = study_rows.get(tx, study)
    this = (_studies.c.study_instance_uid == study, _studies.c.identity_conflict.is_(True))
    if tx.execute(sa.update(_studies).where(*this).values(identity_conflict=False)).rowcount == 0:
        return False
    changes.append(tx, "identity-reconciled", at=now, study=study, revision=record.revision)
    audit.append(tx, actor=actor, action="identity-reconciled", subject=study, at=now, detail={"reason": reason})
    return True


def shared_ids(tx: Transaction, *, limit: int = 1000) -> list[SharedId]:
    """Return Patient IDs, of one issuer, whose studies differ in name (but for case and marks) or birth date."""
    names = sa.func.count(_studies.c.patient_name_folded.distinct())
    born = sa.func.count(_studies.c.patient_birth_date.distinct())
    query = (
        sa.select(
            _studies.c.patient_id,
            _studies.c.issuer_of_patient_id,
            sa.func.count().label("studies"),
            names.label("names"),
            born.label("birth_dates"),
        )
        .where(_studies.c.patient_id.is_not(None), study_rows.IN_SIGHT)
        .group_by(_studies.c.patient_id, _studies.c.issuer_of_patient_id)
        .having(sa.or_(names > 1, born > 1))
        .order_by(_studies.c.patient_id)
        .limit(limit)
    )
    return [SharedId(**row._mapping) for row in tx.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name

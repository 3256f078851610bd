"""On which ground a model may move the list of patients: its circulation number, or a signed research statement.

A device without a circulation number (số lưu hành) may not be used on patients (Decrees 98/2021, 90/2026 Art. 79);
what is no device, or is studied, needs somebody's signature that says so, for a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.catalog import audit
from storage.catalog.deployments import Mode
from storage.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from storage.database import Transaction

_permits = schema.model_permits
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Ground(StrEnum):
    """What a permit is."""

    CIRCULATION = "circulation"
    RESEARCH = "research"


GROUNDS: Final[Mapping[Mode, Ground]] = {Mode.CLINICAL: Ground.CIRCULATION, Mode.RESEARCH: Ground.RESEARCH}
"""What each mode wants; the mode of phantoms wants nothing."""


class PermitInvalid(Rejected):
    """A circulation number needs the number and its date; a statement its file's SHA-256, signer, date and last day."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Permit:
    """One ground, as it was recorded; days are those of Viet Nam."""

    model_digest: str
    kind: Ground
    number: str = ""
    statement_sha256: str | None = None
    """The digest of the signed file, which the site keeps."""
    signed_by: str = ""
    signed_on: date
    expires_on: date | None = None
    """The last day on which it holds; a statement always has one."""
    recorded_at: datetime
    recorded_by: str

    def __post_init__(self) -> None:
        """Refuse what does not say what it must."""
        told = {
            Ground.CIRCULATION: bool(self.number.strip()),
            Ground.RESEARCH: bool(
                _SHA256.fullmatch(self.statement_sha256 or "") and self.signed_by.strip() and self.expires_on
            ),
        }
        if not told[self.kind] or (self.expires_on is not None and self.expires_on < self.signed_on):
            raise PermitInvalid

    def holds(self, today: date) -> bool:
        """Tell whether it holds on a day."""
        return self.signed_on <= today and (self.expires_on is None or today <= self.expires_on)


def record(tx: Transaction, permit: Permit) -> None:
    """Enter a permit, with its line of the audit."""
    tx.execute(
        sa.insert(_permits).values(
            model_digest=permit.model_digest,
            kind=permit.kind,
            number=permit.number,
            statement_sha256=permit.statement_sha256,
            signed_by=permit.signed_by,
            signed_on=permit.signed_on.isoformat(),
            expires_on=permit.expires_on.isoformat() if permit.expires_on else None,
            recorded_at=permit.recorded_at,
            recorded_by=permit.recorded_by,
        )
    )
    detail = {"kind": permit.kind, "number": permit.number, "statement": permit.statement_sha256}
    audit.append(
        tx,
        actor=permit.recorded_by,
        action="permit-recorded",
        subject=permit.model_digest,
        at=permit.recorded_at,
        detail=detail,
    )


def of(tx: Transaction, digest: str) -> list[Permit]:
    """Return what was recorded of a model, newest first."""
    query = sa.select(_permits).where(_permits.c.model_digest == digest).order_by(_permits.c.id.desc())
    return [_as_permit(row) for row in tx.execute(query)]


def holding(tx: Transaction, digest: str, mode: Mode, *, today: date) -> Permit | None:
    """Return what lets a model work in a mode today, None where nothing does."""
    wanted = GROUNDS.get(mode)
    return next((permit for permit in of(tx, digest) if permit.kind is wanted and permit.holds(today)), None)


def _as_permit(row: sa.Row[Any]) -> Permit:
    return Permit(
        model_digest=row.model_digest,
        kind=Ground(row.kind),
        number=row.number,
        statement_sha256=row.statement_sha256,
        signed_by=row.signed_by,
        signed_on=date.fromisoformat(row.signed_on),
        expires_on=None if row.expires_on is None else date.fromisoformat(row.expires_on),
        recorded_at=row.recorded_at,
        recorded_by=row.recorded_by,
    )

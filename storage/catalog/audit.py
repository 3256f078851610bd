"""Who did what: appended, never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from storage.database import Transaction


def append(
    tx: Transaction, *, actor: str, action: str, subject: str, at: datetime, detail: Mapping[str, object] | None = None
) -> None:
    """Append one line; `subject` is a UID or an AE title, never a name."""
    tx.execute(
        sa.insert(schema.audit).values(actor=actor, action=action, subject=subject, at=at, detail=dict(detail or {}))
    )

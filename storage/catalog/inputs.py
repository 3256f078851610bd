"""What a model looked at: kept beside its result, and read for a report or a rerun alone."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.records import InstanceUid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.database import Transaction
    from storage.records import ResultId

_inputs = schema.result_inputs


def note(tx: Transaction, result: ResultId, instances: Sequence[InstanceUid]) -> None:
    """Keep what a result's model looked at, in its order; a run that looked at nothing has no row."""
    if instances:
        packed = zlib.compress("\n".join(instances).encode())
        tx.execute(sa.insert(_inputs).values(result_id=result, instances=packed))


def of(tx: Transaction, result: ResultId) -> tuple[InstanceUid, ...]:
    """Return what a result's model looked at, in its order; nothing of a run that looked at nothing."""
    packed = tx.execute(sa.select(_inputs.c.instances).where(_inputs.c.result_id == result)).scalar_one_or_none()
    return tuple(map(InstanceUid, zlib.decompress(packed).decode().split("\n"))) if packed is not None else ()

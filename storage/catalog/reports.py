"""Which results are not told as DICOM objects yet, and which objects tell the others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from storage import schema
from storage.catalog import changes
from storage.catalog.results import as_result
from storage.records import ResultId, StudyUid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import ResultObject, ResultRecord

_results, _studies, _instances = schema.results, schema.studies, schema.instances
_waits = sa.and_(_results.c.reported_at.is_(None), _results.c.provisional.is_(None))
"""A provisional flag is told by no object: the run on all of the series is."""
KIND = "report"
"""The kind of the work that tells results, among `storage.catalog.upkeep`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreported:
    """A result that waits to be told."""

    study_instance_uid: StudyUid
    result: ResultRecord
    is_retracted: bool = False
    """A person took it back: that is to be told."""


def any_waits(tx: Transaction) -> bool:
    """Tell whether a result waits."""
    return tx.execute(_waiting().with_only_columns(_results.c.id).limit(1)).first() is not None


def waiting(tx: Transaction, *, but: Collection[ResultId] = (), limit: int = 20) -> list[Unreported]:
    """Return results that wait, but for some, the oldest first; of one model on one study only the oldest.

    A later result's report names the report before it, so that one has to be there.
    """
    query = _waiting().where(_results.c.id.not_in(list(but))).order_by(_results.c.created_at, _results.c.id)
    found: dict[tuple[str, str], Unreported] = {}
    for row in tx.execute(query.limit(limit)):
        each = Unreported(
            study_instance_uid=StudyUid(row.study_instance_uid),
            result=as_result(row),
            is_retracted=row.retracted_at is not None,
        )
        found.setdefault((each.study_instance_uid, each.result.model_id), each)
    return list(found.values())


def before(tx: Transaction, waits: Unreported) -> ResultObject | None:
    """Return the report in sight that a new report of this result follows: its own, or an earlier result's."""
    query = (
        sa.select(_results)
        .join(_studies, _studies.c.id == _results.c.study_pk)
        .where(
            _studies.c.study_instance_uid == waits.study_instance_uid,
            _results.c.model_id == waits.result.model_id,
            sa.or_(_results.c.revision < waits.result.revision, _results.c.id == waits.result.id),
        )
        .order_by(_results.c.revision.desc(), _results.c.created_at.desc())
    )
    told = (each for row in tx.execute(query) for each in reversed(as_result(row).objects) if each.form == "sr")
    return next((each for each in told if _in_sight(tx, each)), None)


def note_reported(
    tx: Transaction, waits: Unreported, objects: Sequence[ResultObject], *, reason: str | None, now: datetime
) -> bool:
    """Note that a result is told by these objects too, or why by none; False where another process was faster."""
    every = [*waits.result.objects, *(each for each in objects if each not in waits.result.objects)]
    changed = tx.execute(
        sa.update(_results)
        .where(_results.c.id == waits.result.id, _waits)
        .values(reported_at=now, objects=[asdict(each) for each in every])
    )
    if changed.rowcount:
        changes.append(
            tx,
            "result-reported",
            at=now,
            study=waits.study_instance_uid,
            revision=waits.result.revision,
            detail={
                "model": waits.result.model_id,
                "objects": [each.sop_instance_uid for each in objects],
                **({"reason": reason} if reason else {}),
            },
        )
    return bool(changed.rowcount)


def tell_again(tx: Transaction, results: Iterable[ResultId]) -> None:
    """Have these results told anew: for whoever retracts one, in the same transaction."""
    tx.execute(sa.update(_results).where(_results.c.id.in_(list(results))).values(reported_at=None))


def _waiting() -> sa.Select[tuple[object, ...]]:
    return (
        sa.select(_studies.c.study_instance_uid, _results)
        .join_from(_results, _studies, _studies.c.id == _results.c.study_pk)
        .where(_waits)
    )


def _in_sight(tx: Transaction, one: ResultObject) -> bool:
    query = sa.select(_instances.c.id).where(_instances.c.sop_instance_uid == one.sop_instance_uid)
    return tx.execute(query).first() is not None

"""The coverage of many studies: for every (study revision, model) exactly one state, and marks beside it.

What is true of one study is judged in `storage.catalog.worklist`, for its row and for these counts alike.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from storage import schema
from storage.catalog import results, studies, worklist
from storage.records import Coverage, CoverageRecord, Outcome, StudyUid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import ResultRecord, StudyRecord

_studies = schema.studies

MOST: Final = 20_000
"""Studies looked at: the newest, where there are more."""
_AT_ONCE: Final = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A study's current revision and a model: one state, and the marks of the result behind it."""

    study_instance_uid: StudyUid
    revision: int
    model_id: str
    coverage: Coverage
    reason: str | None
    outcome: Outcome | None
    marks: frozenset[str]


@dataclass(slots=True)
class Tally:
    """How many studies stand where, for one model; `states` add up to the studies looked at."""

    states: Counter[Coverage] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Of those that are not suitable, or failed."""
    marks: Counter[str] = field(default_factory=Counter)


MARKS: Final[Mapping[str, Callable[[StudyRecord, ResultRecord], bool]]] = {
    "provisional": lambda _, result: result.provisional is not None,
    "shadow": lambda _, result: not result.result.raises,
    "superseded": lambda study, result: result.superseded_by is not None or result.revision < study.revision,
    "retracted": lambda _, result: result.retracted_at is not None,
}
"""What may be said of a result beside its state; any of them, none of them."""


def window(tx: Transaction, *, since: datetime, limit: int = MOST) -> list[StudyRecord]:
    """Return the studies that became ready at `since` or later, and those that never were ready yet, newest first."""
    recent = sa.or_(
        _studies.c.ready_at >= since, sa.and_(_studies.c.ready_at.is_(None), _studies.c.received_last >= since)
    )
    query = sa.select(_studies).where(studies.IN_SIGHT, recent)
    newest = query.order_by(_studies.c.received_last.desc(), _studies.c.id.desc()).limit(limit)
    return [studies.as_study(row) for row in tx.execute(newest)]


def pairs(tx: Transaction, found: Sequence[StudyRecord], models: Iterable[str]) -> Iterator[Pair]:
    """Give each study with each model, in the order of both."""
    names = tuple(models)
    for start in range(0, len(found), _AT_ONCE):
        some = found[start : start + _AT_ONCE]
        uids = [study.study_instance_uid for study in some]
        ended = results.of_studies(tx, uids)
        lines = worklist.coverage_of(tx, some, ended)
        for study in some:
            uid = study.study_instance_uid
            of_study = {line.model_id: line for line in lines[uid]}
            for name in names:
                yield _pair(study, name, of_study, ended.get(uid, ()))


def tally(found: Iterable[Pair]) -> dict[str, Tally]:
    """Count pairs by model."""
    counted: dict[str, Tally] = {}
    for pair in found:
        of_model = counted.setdefault(pair.model_id, Tally())
        of_model.states[pair.coverage] += 1
        of_model.marks.update(pair.marks)
        if pair.outcome is not None:
            of_model.outcomes[pair.outcome] += 1
        if pair.coverage in {Coverage.NOT_SUITABLE, Coverage.FAILED} and pair.reason:
            of_model.reasons[pair.reason] += 1
    return counted


def _pair(study: StudyRecord, model: str, lines: Mapping[str, CoverageRecord], ended: Sequence[ResultRecord]) -> Pair:
    line = lines.get(model) or lines.get("") or CoverageRecord(model_id=model, coverage=Coverage.NO_MODEL_APPLIES)
    result = _behind(line, model, ended)
    return Pair(
        study_instance_uid=study.study_instance_uid,
        revision=study.revision,
        model_id=model,
        coverage=line.coverage,
        reason=line.reason,
        outcome=line.outcome,
        marks=frozenset(name for name, holds in MARKS.items() if result is not None and holds(study, result)),
    )


def _behind(line: CoverageRecord, model: str, ended: Sequence[ResultRecord]) -> ResultRecord | None:
    """Return the result that a state comes from: that of the revision that was analysed."""
    if line.outcome is None:
        return None
    return next((one for one in ended if one.model_id == model and one.revision == line.revision), None)

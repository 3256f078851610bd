"""Provisional runs: a model looks at the slices that are here while the rest of a study is still arriving.

A flag found so is a mark that stands until the run on all of the series confirms or retracts it; a run that finds
nothing leaves nothing.  That last run is made as ever, from all of the series, so its result is the same whatever came
before it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from inference import priority
from inference.partial import consecutive
from storage.catalog import jobs, refusals, results, studies
from storage.records import JobState, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from models.contract import ModelCard, Progressive
    from storage.database import Database, Transaction
    from storage.records import Job, JobId, StudyRecord, TriageResult

_SLOWEST_TO_SKIP_S: Final = 0.02
"""A study whose instances come faster than one in so many seconds is complete before a run would end."""
_SEEN_MOST: Final = 1000

_Look = tuple[str, int, str]


class Scout:
    """Finds the studies that are worth a run before they are complete.

    What it remembers only spares it looks: how many instances a study must have before another look can tell more.
    """

    def __init__(self, *, database: Database, cards: Sequence[ModelCard]) -> None:
        self._database = database
        self._plans = [
            (card, plan) for card in cards if (plan := card.progressive) and card.input_rules.kind == "volume"
        ]
        self._next: dict[_Look, int] = {}

    def look(self, now: datetime) -> list[JobId]:
        """Make the provisional runs that are worth it now; none while a run on all of a series waits for a worker."""
        if not self._plans:
            return []
        if len(self._next) > _SEEN_MOST:
            self._next.clear()
        with self._database.read() as tx:
            least = min(plan.first_at_slices for _, plan in self._plans)
            found = [] if jobs.final_waits(tx) else studies.arriving(tx, least=least)
            wanted = [
                (study, card, reached)
                for study in found
                if _comes_slowly(study)
                for card, plan in self._plans
                if (reached := self._reached(tx, study, card, plan))
            ]
        made: list[JobId] = []
        for study, card, reached in wanted:
            with self._database.write() as tx:
                new = create(tx, study, card, slices=reached, now=now)
            made += new
            if not new:  # one is under way; the next image is reason enough to ask again
                self._next[_key(study, card)] = study.instance_count + 1
        return made

    def _reached(self, tx: Transaction, study: StudyRecord, card: ModelCard, plan: Progressive) -> int:
        """Return the slice count that a study has reached since the last look and a run is due at; 0 for none."""
        key = _key(study, card)
        if study.instance_count < self._next.get(key, 0):
            return 0
        if _has_flagged(tx, study, card):
            self._next[key] = sys.maxsize
            return 0
        slices = len(consecutive(studies.instances_of(tx, study.study_instance_uid), card.input_rules))
        reached = plan.reached(slices)
        next_at = reached + plan.step if reached else plan.first_at_slices
        self._next[key] = study.instance_count + next_at - slices
        return reached


def create(tx: Transaction, study: StudyRecord, card: ModelCard, *, slices: int, now: datetime) -> list[JobId]:
    """Insert a provisional run, unless the study is complete, one is under way, or one has flagged already."""
    uid = study.study_instance_uid
    model = jobs.ModelRef(id=card.id, version=card.version, digest=card.digest)
    if not studies.receives_still(tx, study) or _has_flagged(tx, study, card) or refusals.of(tx, uid, [model]):
        return []
    if {JobState.WAITING, JobState.RUNNING} & set(jobs.provisional_of(tx, uid, study.revision, model)):
        return []
    return jobs.create(tx, uid, study.revision, [model], due_at=now, now=now, provisional=slices)


def commit(tx: Transaction, job: Job, result: TriageResult, *, owner: str, state: JobState, now: datetime) -> bool:
    """End a provisional run; a flag stands from now on, anything else is forgotten.  False where the lease was lost.

    The lease is lost with the job, when the study is complete: what it found then is left to the run on all of it.
    """
    if not jobs.end(tx, job.id, owner=owner, state=state, reason=result.reason, now=now):
        return False
    if result.outcome is Outcome.FLAGGED:
        results.add(tx, job, result, now=now)
        priority.refresh(tx, job.study_instance_uid, now=now, cause=f"provisional flag of {job.model_id}")
    return True


def hand_over(tx: Transaction, study: StudyRecord, wanted: Iterable[jobs.ModelRef], *, now: datetime) -> None:
    """Leave a study that is complete to the runs on all of it: no other is open, no flag stands without one to come."""
    uid, models = study.study_instance_uid, list(wanted)
    refused = refusals.of(tx, uid, models)
    asked = {model.id for model in models if model.digest not in refused}
    jobs.drop_provisional(tx, uid)  # one may have been made meanwhile
    results.retract_provisional(tx, uid, revision=study.revision, but=asked, now=now)


def _key(study: StudyRecord, card: ModelCard) -> _Look:
    return study.study_instance_uid, study.revision, card.digest


def _comes_slowly(study: StudyRecord) -> bool:
    seconds = (study.received_last - study.received_first).total_seconds()
    return seconds >= _SLOWEST_TO_SKIP_S * (study.instance_count - 1)


def _has_flagged(tx: Transaction, study: StudyRecord, card: ModelCard) -> bool:
    found = results.of_studies(tx, [study.study_instance_uid]).get(study.study_instance_uid, ())
    return any(
        record.provisional and record.superseded_by is None and record.model_digest == card.digest for record in found
    )

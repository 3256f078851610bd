"""When a study is complete: from evidence, not from a fixed minute.

The evidence is in columns: when the last instance came, at which pace, whether the association that brought it ended
in order, whether its stacks are evenly spaced.  A restart changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from inference import priority
from inference.geometry import slice_positions_mm
from inference.sizes import size_of
from storage.catalog import jobs, studies

if TYPE_CHECKING:
    from inference.ports import Dispatcher
    from models.contract import ModelCard
    from storage.database import Database, Transaction
    from storage.records import InstanceRecord, JobId, StudyRecord

logger = logging.getLogger(__name__)

_PACE = 4.0
"""Pauses as long as the longest so far are usual; four times as long is the end."""
_SETTLE = timedelta(milliseconds=400)
_SETTLE_DOUBTFUL = timedelta(seconds=5)
_SETTLE_MOST = timedelta(seconds=15)

_STACKS = {"CT", "MR", "PT", "NM"}
_FEWEST_SLICES = 4
_UNEVEN = 0.2
_UNEVEN_MM = 0.5


_Look = tuple[str, int, int]
"""Study, revision and instance count: what a judgement of a study's geometry depends on."""
_SEEN_MOST = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Whether what came looks whole, and in which words."""

    plausible: bool
    reason: str


class Completer:
    """The loop's step: completes studies and rings for the jobs that this makes."""

    def __init__(
        self,
        *,
        database: Database,
        dispatcher: Dispatcher,
        cards: Sequence[ModelCard],
        clock: Callable[[], datetime],
    ) -> None:
        self._database, self._dispatcher, self._cards, self._clock = database, dispatcher, cards, clock
        self._seen: dict[_Look, Evidence] = {}

    def step(self) -> None:
        """Complete what is complete now."""
        if len(self._seen) > _SEEN_MOST:
            self._seen.clear()
        for job in close_quiet(self._database, self._cards, now=self._clock(), seen=self._seen):
            logger.info("job waits", extra={"action": "job-waits", "job": job})
            self._dispatcher.wake(job)


def close_quiet(
    database: Database, cards: Sequence[ModelCard], *, now: datetime, seen: dict[_Look, Evidence]
) -> list[JobId]:
    """Complete the studies for which nothing more is expected; return the jobs this made.

    `seen` spares a second look at a study whose instances are those of the last look; it may be emptied at any time.
    """
    with database.read() as tx:
        early = studies.from_the_future(tx, now=now)
        candidates = studies.receiving(tx, now=now)
        ripe = [(study, reason) for study in candidates if (reason := _reason(tx, study, now, seen))]
    if early:
        logger.warning("clock set back", extra={"action": "clock-set-back", "studies": len(early)})
        with database.write() as tx:
            studies.pull_back(tx, early, now=now)
    created: list[JobId] = []
    for study, reason in ripe:
        with database.write() as tx:
            created += complete(tx, study, cards, reason=reason, now=now)
    return created


def complete(
    tx: Transaction, study: StudyRecord, cards: Sequence[ModelCard], *, reason: str, now: datetime
) -> list[JobId]:
    """Move one study to COMPLETE with a job for every card that accepts what this revision brought.

    A revision that brought nothing a card accepts (a late dose report) makes no job: the earlier result stays.
    """
    done = studies.complete(tx, study, reason=reason, now=now)
    if done is None:
        return []
    uid = study.study_instance_uid
    priority.refresh(tx, uid, now=now, cause="complete")
    present = studies.instances_of(tx, uid)
    arrived = [instance for instance in present if instance.revision == study.revision]
    wanted = [
        jobs.ModelRef(id=card.id, version=card.version, digest=card.digest, size=size_of(present, card.input_rules))
        for card in cards
        if any(card.input_rules.accepts(modality=each.modality, sop_class_uid=each.sop_class_uid) for each in arrived)
    ]
    due_at = studies.get(tx, uid).due_at or now
    created = jobs.create(tx, uid, study.revision, wanted, due_at=due_at, now=now)
    studies.settle(tx, uid, now=now)
    return created


def _reason(tx: Transaction, study: StudyRecord, now: datetime, seen: dict[_Look, Evidence]) -> str | None:
    """Return why the study is complete, None while it is not."""
    if study.quiet_until <= now:
        return "silence"
    if study.released_at is None or now - study.received_last < _SETTLE:
        return None
    key = (study.study_instance_uid, study.revision, study.instance_count)
    if key not in seen:
        seen[key] = judge(studies.instances_of(tx, study.study_instance_uid))
    evidence = seen[key]
    return evidence.reason if now - study.received_last >= settle_time(study, evidence) else None


def settle_time(study: StudyRecord, evidence: Evidence) -> timedelta:
    """Return how long after the last instance a released study counts as complete."""
    pace = timedelta(seconds=_PACE * study.longest_gap_s)
    least = _SETTLE if evidence.plausible else _SETTLE_DOUBTFUL
    return min(max(pace, least), _SETTLE_MOST)


def judge(instances: Sequence[InstanceRecord]) -> Evidence:
    """Judge whether the instances of a study look whole: stacks of at least a few slices, evenly spaced."""
    stacks: dict[tuple[str, tuple[float, ...] | None], list[InstanceRecord]] = {}
    for instance in instances:
        if instance.modality in _STACKS and "LOCALIZER" not in instance.image_type:
            key = (instance.series_instance_uid, instance.image_orientation_patient)
            stacks.setdefault(key, []).append(instance)
    if not stacks:
        if any(instance.modality in _STACKS for instance in instances):
            return Evidence(plausible=False, reason="released, localizer only")
        return Evidence(plausible=True, reason="released, no stack to wait for")
    if all(_evenly_spaced(stack) for stack in stacks.values()):
        return Evidence(plausible=True, reason="released, geometry consistent")
    return Evidence(plausible=False, reason="released, geometry incomplete")


def _evenly_spaced(stack: Sequence[InstanceRecord]) -> bool:
    if any((instance.number_of_frames or 1) > 1 for instance in stack):
        return True  # an enhanced multi-frame object is a whole stack by itself
    positions = slice_positions_mm(stack)
    if positions is None or len(positions) < _FEWEST_SLICES:
        return False
    steps = np.array([after - before for before, after in pairwise(sorted(positions))])
    typical = float(np.median(steps))
    return bool(np.all(np.abs(steps - typical) <= max(_UNEVEN * typical, _UNEVEN_MM)))

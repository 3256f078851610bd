"""What speaks for a study being whole: its stacks of slices, and when it is likely that nothing more comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from inference import silence
from inference.geometry import slice_positions_mm
from inference.silence import Situation, Sketch
from storage.catalog import silences, studies
from storage.catalog.additions import OPEN_WAIT

if TYPE_CHECKING:
    from storage.database import Transaction
    from storage.records import InstanceRecord, Pause, StudyRecord

_PACE = 4.0
"""Pauses as long as the longest so far are usual; four times as long is the end."""
_SETTLE_MOST_S = 15.0

_STACKS = {"CT", "MR", "PT", "NM"}
_FEWEST_SLICES = 4
_UNEVEN = 0.2
_UNEVEN_MM = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Whether what came looks whole, and in which words."""

    plausible: bool
    reason: str

    def situation(self, *, released: bool) -> Situation | None:
        """Return what a silence is met in; None where only a long one tells anything."""
        if released:
            return Situation.WHOLE if self.plausible else Situation.DOUBTFUL
        return Situation.OPEN if self.plausible else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """Why a study counts as complete, how likely it is that nothing more comes, what its last silence was met in."""

    reason: str
    probability: float
    situation: Situation


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """After how many seconds of silence a study is complete, for which reason, and what its sender did before."""

    after_s: float
    reason: str
    situation: Situation
    seen: Sketch

    def completion(self, silent_s: float, *, reason: str | None = None) -> Completion:
        """Return what is said of the study if it counts as complete after so long a silence."""
        probability = round(silence.ended(self.situation, silent_s, self.seen), 5)
        return Completion(reason=reason or self.reason, probability=probability, situation=self.situation)


def expect(tx: Transaction, study: StudyRecord) -> Expectation:
    """Say when a study that is still receiving will count as complete, if nothing more comes."""
    uid = study.study_instance_uid
    evidence = judge(studies.instances_of(tx, uid))
    released = study.released_at is not None
    known = silences.learned(tx, silences.sender_of(tx, uid))
    situation = evidence.situation(released=released)
    if situation is None:
        least, seen = OPEN_WAIT.total_seconds(), known.get(Situation.OPEN, {})
        return Expectation(after_s=least, reason="silence", situation=Situation.OPEN, seen=seen)
    seen = known.get(situation, {})
    words = f"{'released' if released else 'silent'}, {evidence.reason}"
    return Expectation(
        after_s=settle_s(situation, seen, longest_gap_s=study.longest_gap_s),
        reason=words,
        situation=situation,
        seen=seen,
    )


def settle_s(situation: Situation, seen: Sketch, *, longest_gap_s: float) -> float:
    """Return the silence after which a study is complete: sooner where its sender is known, than by its pace alone."""
    if situation is Situation.OPEN:
        return silence.enough_after_s(situation, seen, most_s=OPEN_WAIT.total_seconds(), assume=False)
    known = silence.enough_after_s(situation, seen, most_s=_SETTLE_MOST_S, assume=False)
    assumed = silence.enough_after_s(situation, seen, most_s=_SETTLE_MOST_S)
    return min(known, max(assumed, _PACE * longest_gap_s), _SETTLE_MOST_S)


def lessons(tx: Transaction, study: StudyRecord, last: Situation) -> dict[str, int]:
    """Return what a study that is complete teaches of its sender: situation -> bucket of its longest broken silence.

    `last` is the situation in which it fell silent for good.
    """
    longest = {Situation.OPEN: study.longest_gap_s}
    longest.setdefault(last, 0.0)
    for pause in study.pauses:
        met = _met(tx, study, pause)
        if met is not None and pause.seconds <= silence.LONGEST_S:
            longest[met] = max(longest.get(met, 0.0), pause.seconds)
    return {situation: silence.bucket_of(seconds) for situation, seconds in longest.items()}


def _met(tx: Transaction, study: StudyRecord, pause: Pause) -> Situation | None:
    """Return what a silence was met in, from the instances that had come before it."""
    uid = study.study_instance_uid
    came_first = set(silences.in_order_of_arrival(tx, uid)[: pause.instances])
    before = [each for each in studies.instances_of(tx, uid) if each.sop_instance_uid in came_first]
    return judge(before).situation(released=pause.released)


def judge(instances: Sequence[InstanceRecord]) -> Evidence:
    """Judge whether the instances of a study look whole: stacks of at least a few slices, evenly spaced."""
    stacks: dict[tuple[str, tuple[float, ...] | None], list[InstanceRecord]] = {}
    for instance in instances:
        if instance.modality in _STACKS and "LOCALIZER" not in instance.image_type:
            key = (instance.series_instance_uid, instance.image_orientation_patient)
            stacks.setdefault(key, []).append(instance)
    if not stacks:
        if any(instance.modality in _STACKS for instance in instances):
            return Evidence(plausible=False, reason="localizer only")
        return Evidence(plausible=True, reason="no stack to wait for")
    if all(_evenly_spaced(stack) for stack in stacks.values()):
        return Evidence(plausible=True, reason="geometry consistent")
    return Evidence(plausible=False, reason="geometry incomplete")


def _evenly_spaced(stack: Sequence[InstanceRecord]) -> bool:
    if any((instance.number_of_frames or 1) > 1 for instance in stack):
        return True  # an enhanced multi-frame object is a whole stack by itself
    positions = slice_positions_mm(stack)
    if positions is None or len(positions) < _FEWEST_SLICES:
        return False
    steps = np.array([after - before for before, after in pairwise(sorted(positions))])
    typical = float(np.median(steps))
    return bool(np.all(np.abs(steps - typical) <= max(_UNEVEN * typical, _UNEVEN_MM)))

"""The part of a stack that a model may look at while the rest is still arriving: slices without a hole between them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from inference.geometry import slice_positions_mm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from models.contract import InputRules, Progressive
    from storage.records import InstanceRecord

_UNEVEN = 0.2
_UNEVEN_MM = 0.5
_SAME_MM = 0.01


def rules_for_part(rules: InputRules, progressive: Progressive) -> InputRules:
    """Return what a part of a stack must hold to: all that the whole must, but for how much it covers."""
    return replace(rules, min_slices=progressive.first_at_slices, coverage_mm=(0.0, rules.coverage_mm[1]))


def consecutive(instances: Iterable[InstanceRecord], rules: InputRules) -> list[InstanceRecord]:
    """Return the longest run of evenly spaced slices of one series, along its normal; none where nothing is a stack."""
    stacks: dict[tuple[str, tuple[float, ...] | None], list[InstanceRecord]] = defaultdict(list)
    for instance in instances:
        if _is_slice(instance, rules):
            stacks[instance.series_instance_uid, instance.image_orientation_patient].append(instance)
    return max((_longest_run(stack) for stack in stacks.values()), key=len, default=[])


def _is_slice(instance: InstanceRecord, rules: InputRules) -> bool:
    accepted = rules.accepts(modality=instance.modality, sop_class_uid=instance.sop_class_uid)
    return accepted and (instance.number_of_frames or 1) == 1 and "LOCALIZER" not in instance.image_type


def _longest_run(stack: Sequence[InstanceRecord]) -> list[InstanceRecord]:
    positions = slice_positions_mm(stack)
    if positions is None:
        return []
    ranked = sorted(zip(positions, stack, strict=True), key=lambda pair: pair[0])
    steps = np.array([after[0] - before[0] for before, after in pairwise(ranked)])
    typical = float(np.median(steps)) if len(steps) else 0.0
    holes = np.flatnonzero((np.abs(steps - typical) > max(_UNEVEN * typical, _UNEVEN_MM)) | (steps < _SAME_MM)) + 1
    starts, ends = [0, *holes.tolist()], [*holes.tolist(), len(ranked)]
    first, last = max(zip(starts, ends, strict=True), key=lambda run: run[1] - run[0])
    return [instance for _, instance in ranked[first:last]]

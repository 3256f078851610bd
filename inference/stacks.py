"""Slices of one series as stacks: split where it is mixed, put in order, and held against what a card takes."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pydicom

from inference.errors import NotSuitable
from inference.geometry import shear_deg, slice_normal, slice_positions_mm, tilt_deg
from inference.signs import kernel_kind, says_contrast
from inference.slices import PARSE_ERRORS, Slice, first_text, functional
from storage.whole import read_whole

if TYPE_CHECKING:
    from models.contract import InputRules
    from storage.ports import ObjectStore

_UNEVEN = 0.2
_UNEVEN_MM = 0.5
_SAME_MM = 0.01
_SAME_DIRECTION = 0.01
_TILT_ALLOWANCE_DEG = 0.5
_SHEARED_DEG = 1.0
_HOUNSFIELD = frozenset({"", "HU", "HU_MOD"})

WEIGHTS: Mapping[str, float] = {"soft": 0.0, "unknown": 0.0, "bone": -0.5, "mm_from_preferred_step": -0.05}
"""What a kernel, and each millimetre between a stack's step and the card's preferred one, adds to a score of 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """Slices in order along their normal, feet to head.

    `filled` are the places after which one slice is missing that may be filled from its neighbours; `resent` counts
    the slices that came twice.
    """

    slices: tuple[Slice, ...]
    step_mm: float
    filled: tuple[int, ...] = ()
    resent: int = 0

    @property
    def count(self) -> int:
        """How many slices it has, filled ones included."""
        return len(self.slices) + len(self.filled)


# ------------------------------------------------------------------------------------------------ splitting
def split(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Split a mixed series by orientation, kernel, tube voltage, and echo or time, each part in the order given.

    (0020,0012) Acquisition Number does not split here: scanners that step the table count every rotation.  See
    `stacks_of`.
    """
    directions: list[tuple[float, ...]] = []
    parts: dict[tuple[object, ...], list[Slice]] = defaultdict(list)
    for one in slices:
        parts[_direction(one, directions), one.kernel, one.energy, one.phase].append(one)
    return list(parts.values())


def _direction(one: Slice, known: list[tuple[float, ...]]) -> int | None:
    """Give the number of a slice's orientation among those seen so far."""
    asked = one.image_orientation_patient
    if asked is None:
        return None
    for number, other in enumerate(known):
        if max(abs(a - b) for a, b in zip(asked, other, strict=True)) <= _SAME_DIRECTION:
            return number
    known.append(asked)
    return len(known) - 1


def stacks_of(part: Sequence[Slice], objects: ObjectStore) -> list[tuple[list[Slice], int]]:
    """Give the stacks in slices of one kind, and how many slices of each came twice.

    A slice that came again, the same in acquisition, number and pixels, counts once.  Where slices still share a
    place, each acquisition is a stack of its own.
    """
    once, resent = _once(part, objects)
    if not _any_shared(once) or len({one.acquisition for one in once}) == 1:
        return [(once, resent)]
    by_acquisition: dict[str, list[Slice]] = defaultdict(list)
    for one in once:
        by_acquisition[one.acquisition].append(one)
    return [(members, 0) for members in by_acquisition.values()]


def _once(part: Sequence[Slice], objects: ObjectStore) -> tuple[list[Slice], int]:
    kept: dict[tuple[object, ...], list[Slice]] = defaultdict(list)
    for one in part:
        place = tuple(round(at / _SAME_MM) for at in one.image_position_patient or ())
        same = kept[place, one.acquisition, one.instance.instance_number, one.frame]
        if not same or not place or not _same_pixels(same[0], one, objects):
            same.append(one)
    once = [one for members in kept.values() for one in members]
    return once, len(part) - len(once)


def _same_pixels(one: Slice, other: Slice, objects: ObjectStore) -> bool:
    if one.instance == other.instance:
        return False
    first, second = (_pixel_bytes(each, objects) for each in (one, other))
    return first == second


def _pixel_bytes(one: Slice, objects: ObjectStore) -> tuple[object, ...]:
    try:
        data_set = pydicom.dcmread(io.BytesIO(read_whole(objects, one.instance)))
        return data_set.file_meta.get("TransferSyntaxUID"), data_set.PixelData
    except PARSE_ERRORS as error:
        raise NotSuitable("decode_error", type(error).__name__) from error


def _any_shared(slices: Sequence[Slice]) -> bool:
    positions = slice_positions_mm(slices)
    return positions is not None and any(after - before < _SAME_MM for before, after in pairwise(sorted(positions)))


# ------------------------------------------------------------------------------------------------ one stack
def stack_in_order(slices: Sequence[Slice], resent: int, rules: InputRules) -> Stack:
    """Put a stack in order and hold it against the card.

    Raises
    ------
    NotSuitable
        ``too_few_slices``, ``too_many_slices``, ``no_geometry``, ``not_axial``, ``duplicate_positions``,
        ``geometry_gap``, ``slice_step``, ``coverage``, ``tilt_3d``, ``hu_implausible`` or ``contrast``.
    """
    if len(slices) < rules.min_slices:
        raise NotSuitable("too_few_slices", f"{len(slices)}, at least {rules.min_slices} needed")
    if len(slices) > rules.max_slices > 1:
        raise NotSuitable("too_many_slices", f"{len(slices)}, at most {rules.max_slices} taken")
    stack = _in_order(slices, resent, rules)
    _check_range("slice_step", stack.step_mm, rules.slice_step_mm)
    _check_range("coverage", stack.step_mm * stack.count, rules.coverage_mm)
    if rules.whole_volume and shear_deg(stack.slices) > _SHEARED_DEG:
        raise NotSuitable("tilt_3d", f"{shear_deg(stack.slices):.0f}°")
    for one in stack.slices:
        _check_hounsfield_scale(one)
    if _contrast(stack.slices[0]):
        raise NotSuitable("contrast")
    return stack


def weigh(stack: Stack, rules: InputRules) -> Mapping[str, float]:
    """Give what each rule adds to a stack's score."""
    kind = kernel_kind(stack.slices[0].kernel)
    off_mm = abs(stack.step_mm - rules.preferred_step_mm)
    return {"base": 1.0, f"{kind} kernel": WEIGHTS[kind], "slice step": WEIGHTS["mm_from_preferred_step"] * off_mm}


def _in_order(slices: Sequence[Slice], resent: int, rules: InputRules) -> Stack:
    positions = slice_positions_mm(slices)
    if positions is None:
        raise NotSuitable("no_geometry")
    lean = tilt_deg(slices)
    if lean > rules.max_tilt_deg + _TILT_ALLOWANCE_DEG:
        raise NotSuitable("not_axial", f"leans by {lean:.0f}°, at most {rules.max_tilt_deg:g}° taken")
    upward = 1.0 if slice_normal(slices[0].image_orientation_patient or ())[2] > 0 else -1.0
    ranked = sorted(zip(positions, slices, strict=True), key=lambda pair: upward * pair[0])
    steps = np.array([upward * (after[0] - before[0]) for before, after in pairwise(ranked)])
    if len(steps) and float(steps.min()) < _SAME_MM:
        raise NotSuitable("duplicate_positions", f"{int((steps < _SAME_MM).sum())}")
    typical = float(np.median(steps)) if len(steps) else 0.0
    return Stack(
        slices=tuple(one for _, one in ranked),
        step_mm=typical,
        filled=_to_fill(steps, typical, rules.max_missing_slices),
        resent=resent,
    )


def _to_fill(steps: np.typing.NDArray[np.float64], typical: float, allowed: int) -> tuple[int, ...]:
    """Give the places after which one slice is missing; `NotSuitable` (geometry_gap) where more is than allowed."""
    allowance = max(_UNEVEN * typical, _UNEVEN_MM)
    odd = np.flatnonzero(np.abs(steps - typical) > allowance)
    lacking = [round(float(steps[at]) / typical) - 1 for at in odd]
    uneven = any(abs(steps[at] - (lacks + 1) * typical) > allowance for at, lacks in zip(odd, lacking, strict=True))
    missing = sum(max(1, lacks) for lacks in lacking)
    if uneven or missing > allowed or any(lacks > 1 for lacks in lacking):
        raise NotSuitable("geometry_gap", f"{missing}")
    return tuple(int(at) for at in odd)


def _check_range(name: str, value_mm: float, wanted_mm: tuple[float, float]) -> None:
    low, high = wanted_mm
    if high and not low <= value_mm <= high:
        raise NotSuitable(name, f"{value_mm:.1f} mm, {low:g} to {high:g} taken")


def _check_hounsfield_scale(one: Slice) -> None:
    """Check that (0028,1052..1054) rescale to Hounsfield units, per frame in an enhanced object."""
    where = one.head if one.frame is None else functional(one.head, one.frame, "PixelValueTransformationSequence")
    if first_text(where, "RescaleSlope") == "" or first_text(where, "RescaleIntercept") == "":
        raise NotSuitable("hu_implausible", "no rescale slope and intercept")
    if (kind := first_text(where, "RescaleType").upper()) not in _HOUNSFIELD:
        raise NotSuitable("hu_implausible", f"values are {kind}")


def _contrast(one: Slice) -> bool:
    head = one.head
    agent = first_text(head, "ContrastBolusAgent")
    if items := head.get("ContrastBolusAgentSequence"):
        agent = agent or str(items[0].get("CodeMeaning", "contrast"))
    return says_contrast(agent, [first_text(head, name) for name in ("SeriesDescription", "ProtocolName")])

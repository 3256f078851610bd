"""Which series of a study a model looks at, with a reason for every other one.

Header text cannot be trusted alone (BodyPartExamined is wrong in about one in seven), so geometry decides where it
can, and the first file of each surviving series is asked for what the catalogue does not hold.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from inference.errors import NotSuitable
from inference.geometry import slice_normal, slice_positions_mm
from storage.whole import read_whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from models.contract import InputRules
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord

_AXIAL = 0.8
_UNEVEN = 0.2
_UNEVEN_MM = 0.5
_SAME_MM = 0.01
_STEP_WANTED_MM = 5.0
_DERIVED = {"MIP", "MPR", "REFORMATTED", "3D", "PERFUSION", "SCREEN SAVE", "SECONDARY"}
_BONE = ("BONE", "H60", "H70", "HR6", "FC30", "EDGE", "SHARP")
_TAGS = [
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "PresentationIntentType",
    "ViewPosition",
    "PatientSpeciesDescription",
    "BodyPartExamined",
    "SliceThickness",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """The instances that a model will see, in order, and what was thought of every series."""

    series_instance_uid: str
    instances: tuple[InstanceRecord, ...]
    series_reasons: Mapping[str, str]


def select(instances: Sequence[InstanceRecord], rules: InputRules, objects: ObjectStore) -> Selected:
    """Choose the input for a model.

    Raises
    ------
    NotSuitable
        No series fits; the reason is the series' own where they share one, else ``no_eligible_series``.
    """
    by_series: dict[str, list[InstanceRecord]] = defaultdict(list)
    for instance in instances:
        by_series[instance.series_instance_uid].append(instance)
    reasons: dict[str, str] = {}
    candidates: list[tuple[float, str, list[InstanceRecord]]] = []
    consider = _CONSIDER[rules.kind]
    for uid, members in by_series.items():
        fitting = [each for each in members if rules.accepts(modality=each.modality, sop_class_uid=each.sop_class_uid)]
        if not fitting:
            reasons[uid] = "other_modality"
            continue
        try:
            ordered, score = consider(fitting, rules, objects)
        except NotSuitable as error:
            reasons[uid] = str(error)
            continue
        candidates.append((score, uid, ordered))
    if not candidates:
        raise NotSuitable(_shared_reason(reasons), series_reasons=reasons)
    best = max(candidates, key=lambda candidate: (candidate[0], candidate[1]))
    for score, uid, _ in candidates:
        reasons[uid] = "used" if uid == best[1] else f"not preferred (score {score:.2f} against {best[0]:.2f})"
    return Selected(series_instance_uid=best[1], instances=tuple(best[2]), series_reasons=reasons)


def _shared_reason(reasons: Mapping[str, str]) -> str:
    codes = {reason.partition(":")[0] for reason in reasons.values()} - {"other_modality"}
    return codes.pop() if len(codes) == 1 else "no_eligible_series"


# ----------------------------------------------------------------------------------------------- axial stacks
def _consider_stack(
    members: list[InstanceRecord], rules: InputRules, objects: ObjectStore
) -> tuple[list[InstanceRecord], float]:
    """Return the slices in order along their normal and how much this series is wanted."""
    slices = [each for each in members if "LOCALIZER" not in each.image_type]
    if not slices:
        raise NotSuitable("localizer_only")
    if any(_DERIVED & set(each.image_type[1:]) for each in slices):
        raise NotSuitable("derived")
    if any((each.number_of_frames or 1) > 1 for each in slices):
        raise NotSuitable("multi_frame", "enhanced multi-frame objects are not read as stacks yet")
    if len(slices) < rules.min_slices:
        raise NotSuitable("too_few_slices", f"{len(slices)}, at least {rules.min_slices} needed")
    if len(slices) > rules.max_slices > 1:
        raise NotSuitable("too_many_slices", f"{len(slices)}, at most {rules.max_slices} taken")
    ordered, step_mm = _in_order(slices)
    _check_range("slice_step", step_mm, rules.slice_step_mm)
    _check_range("coverage", step_mm * len(ordered), rules.coverage_mm)
    header = first_header(ordered[0], objects)
    if header.get("ContrastBolusAgent"):
        raise NotSuitable("contrast")
    kernel = str(header.get("ConvolutionKernel", "")).upper()
    bone = any(sign in kernel for sign in _BONE)
    return ordered, 1.0 - 0.5 * bone - 0.05 * abs(step_mm - _STEP_WANTED_MM)


def _in_order(slices: list[InstanceRecord]) -> tuple[list[InstanceRecord], float]:
    orientations = {each.image_orientation_patient for each in slices}
    if None in orientations or (positions := slice_positions_mm(slices)) is None:
        raise NotSuitable("no_geometry")
    normals = np.array([slice_normal(orientation) for orientation in orientations if orientation is not None])
    if float(np.abs(normals - normals[0]).max()) > _SAME_MM:
        raise NotSuitable("mixed_orientation")
    if abs(float(normals[0][2])) < _AXIAL:
        raise NotSuitable("not_axial")
    upward = 1.0 if normals[0][2] > 0 else -1.0
    ranked = sorted(zip(positions, slices, strict=True), key=lambda pair: upward * pair[0])
    steps = np.array([upward * (after[0] - before[0]) for before, after in pairwise(ranked)])
    if float(steps.min()) < _SAME_MM:
        raise NotSuitable("duplicate_positions", f"{int((steps < _SAME_MM).sum())}")
    typical = float(np.median(steps))
    gaps = int((np.abs(steps - typical) > max(_UNEVEN * typical, _UNEVEN_MM)).sum())
    if gaps:
        raise NotSuitable("geometry_gap", f"{gaps}")
    return [each for _, each in ranked], typical


def _check_range(name: str, value_mm: float, wanted_mm: tuple[float, float]) -> None:
    low, high = wanted_mm
    if high and not low <= value_mm <= high:
        raise NotSuitable(name, f"{value_mm:.1f} mm, {low:g} to {high:g} taken")


# ------------------------------------------------------------------------------------------------ radiographs
def _consider_radiograph(
    members: list[InstanceRecord],
    rules: InputRules,  # noqa: ARG001 - the common form
    objects: ObjectStore,
) -> tuple[list[InstanceRecord], float]:
    """Return the newest frontal chest image of a series."""
    last: NotSuitable | None = None
    for instance in reversed(members):
        try:
            view = _frontal_chest(instance, objects)
        except NotSuitable as error:
            last = error
            continue
        return [instance], 1.0 if view == "PA" else 0.9
    raise last or NotSuitable("no_eligible_series")


def _frontal_chest(instance: InstanceRecord, objects: ObjectStore) -> str:
    if (instance.number_of_frames or 1) > 1:
        raise NotSuitable("multi_frame")
    header = first_header(instance, objects)
    if header.get("PresentationIntentType") == "FOR PROCESSING":
        raise NotSuitable("for_processing")
    if header.get("PatientSpeciesDescription"):
        raise NotSuitable("not_human")
    part = str(header.get("BodyPartExamined", "")).upper()
    if part and not any(word in part for word in ("CHEST", "THORAX", "LUNG")):
        raise NotSuitable("other_body_part")
    view = str(header.get("ViewPosition", "")).upper()
    if view in {"LL", "RL", "LAT", "LATERAL"}:
        raise NotSuitable("view_lateral")
    if view not in {"PA", "AP"}:
        raise NotSuitable("view_unknown")
    return view


_Consider = Callable[[list["InstanceRecord"], "InputRules", "ObjectStore"], tuple[list["InstanceRecord"], float]]
_CONSIDER: Mapping[str, _Consider] = {"volume": _consider_stack, "radiograph": _consider_radiograph}


def first_header(instance: InstanceRecord, objects: ObjectStore) -> Dataset:
    """Read the attributes that selection asks for; `NotSuitable` (decode_error) where the file does not parse."""
    content = io.BytesIO(read_whole(objects, instance))  # a parser seeks, a stream from an object store cannot
    try:
        return pydicom.dcmread(content, stop_before_pixels=True, specific_tags=list(_TAGS))
    except (InvalidDicomError, ValueError, KeyError, NotImplementedError, AttributeError, EOFError) as error:
        raise NotSuitable("decode_error", type(error).__name__) from error

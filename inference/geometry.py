"""Where slices lie in the patient (PS3.3 C.7.6.2.1.1), from positions and orientations alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


class Placed(Protocol):
    """What has a place in the patient: an instance of the catalogue, or a slice."""

    @property
    def image_position_patient(self) -> tuple[float, ...] | None:
        """(0020,0032) Image Position (Patient)."""
        ...

    @property
    def image_orientation_patient(self) -> tuple[float, ...] | None:
        """(0020,0037) Image Orientation (Patient)."""
        ...


def slice_normal(orientation: Sequence[float]) -> Vector:
    """Return the unit normal of a slice: row direction x column direction of (0020,0037), LPS."""
    row, column = np.array(orientation[:3], dtype=np.float64), np.array(orientation[3:], dtype=np.float64)
    normal = np.cross(row, column)
    length = float(np.linalg.norm(normal))
    return normal / length if length else normal


def slice_positions_mm(stack: Sequence[Placed]) -> list[float] | None:
    """Return each slice's position along the common normal, millimetres; None where a header lacks it."""
    orientation = stack[0].image_orientation_patient
    if orientation is None or any(placed.image_position_patient is None for placed in stack):
        return None
    normal = slice_normal(orientation)
    return [float(np.dot(np.array(placed.image_position_patient), normal)) for placed in stack]


def angle_deg(one: Vector, other: Vector) -> float:
    """Return the angle between two lines, 0 to 90 degrees."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.degrees(np.arccos(min(1.0, abs(float(np.dot(one, other))) / lengths)))) if lengths else 90.0


def tilt_deg(stack: Sequence[Placed]) -> float:
    """Return by how much the slices lean from the axial plane."""
    orientation = stack[0].image_orientation_patient
    return 90.0 if orientation is None else angle_deg(slice_normal(orientation), np.array([0.0, 0.0, 1.0]))


def shear_deg(stack: Sequence[Placed]) -> float:
    """Return the angle between the slices' normal and the line along which they are stacked: a tilted gantry's."""
    first, last, orientation = stack[0], stack[-1], stack[0].image_orientation_patient
    if orientation is None or first.image_position_patient is None or last.image_position_patient is None:
        return 0.0
    along = np.array(last.image_position_patient) - np.array(first.image_position_patient)
    return angle_deg(slice_normal(orientation), along) if along.any() else 0.0

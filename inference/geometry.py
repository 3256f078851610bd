"""Where slices lie in the patient (PS3.3 C.7.6.2.1.1), from the catalogue's columns alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.records import InstanceRecord

Vector = npt.NDArray[np.float64]


def slice_normal(orientation: Sequence[float]) -> Vector:
    """Return the unit normal of a slice: row direction x column direction of (0020,0037), LPS."""
    row, column = np.array(orientation[:3], dtype=np.float64), np.array(orientation[3:], dtype=np.float64)
    normal = np.cross(row, column)
    length = float(np.linalg.norm(normal))
    return normal / length if length else normal


def slice_positions_mm(stack: Sequence[InstanceRecord]) -> list[float] | None:
    """Return each slice's position along the common normal, millimetres; None where a header lacks it."""
    orientation = stack[0].image_orientation_patient
    if orientation is None or any(instance.image_position_patient is None for instance in stack):
        return None
    normal = slice_normal(orientation)
    return [float(np.dot(np.array(instance.image_position_patient), normal)) for instance in stack]

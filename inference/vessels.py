"""Whether vessels inside a skull are as bright as contrast medium makes them: a sign for where no header says so.

It is a weak one: a bleed, a clot and a calcification are bright too, if less, or smaller.  It marks a result, and keeps
nothing from a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from models.contract import Volume

_SLICES: Final = 24
"""About so many are looked at, evenly over the stack."""
_PIXEL_MM: Final = 2.0
"""About so far apart are the pixels that are looked at."""
_BONE_HU: Final = 300.0
_STEPS_PX: Final = (1, 2, 4)
"""Seven pixels in all from the outside nothing is looked at: the skull, and what bone takes part in."""
_LEAST_SHARE: Final = 0.1
"""Of a slice, what lies so deep must be at least so much: that is a skull's vault, or its base."""
_PERCENTILE: Final = 99.5
_VESSEL_HU: Final = 130.0
"""Enhanced vessels are brighter; the densest two-hundredth of a head without contrast medium is not."""

Mask = npt.NDArray[np.bool_]


def shows_contrast(volume: Volume) -> bool:
    """Tell whether the brightest two-hundredth of what lies inside the vault is as bright as an enhanced vessel.

    The vault is the upper half of what a skull encloses: bone of its base would be taken for vessels.
    """
    _, rows_mm, columns_mm = volume.spacing_mm
    slices = volume.voxels[:: max(1, len(volume.voxels) // _SLICES)]
    looked_at = slices[:, :: max(1, round(_PIXEL_MM / rows_mm)), :: max(1, round(_PIXEL_MM / columns_mm))]
    deep = _deep_inside(looked_at >= _BONE_HU)
    enclosed = np.flatnonzero(deep.mean(axis=(1, 2)) >= _LEAST_SHARE)
    vault = enclosed[len(enclosed) // 2 :]
    return bool(len(vault)) and float(np.percentile(looked_at[vault][deep[vault]], _PERCENTILE)) >= _VESSEL_HU


def _deep_inside(bone: Mask) -> Mask:
    """Give what has bone before it and behind it in its row and in its column, away from what has not."""
    outside = np.zeros_like(bone)
    for axis in (1, 2):
        before = np.logical_or.accumulate(bone, axis=axis)
        behind = np.flip(np.logical_or.accumulate(np.flip(bone, axis), axis=axis), axis)
        outside |= ~(before & behind)
    for axis in (1, 2):
        for away in _STEPS_PX:
            outside = _spread(outside, away, axis)
    return ~outside


def _spread(mask: Mask, away: int, axis: int) -> Mask:
    """Give what is in the mask, or `away` from it along an axis."""
    first, last = [slice(None)] * 3, [slice(None)] * 3
    first[axis], last[axis] = slice(None, -away), slice(away, None)
    spread = mask.copy()
    spread[tuple(first)] |= mask[tuple(last)]
    spread[tuple(last)] |= mask[tuple(first)]
    return spread

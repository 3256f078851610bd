"""Stored pixel values as numbers: bits that are not pixel are taken off, signs are spread, padding is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Stored = npt.NDArray[Any]


def stored_values(data_set: Dataset, pixels: Stored) -> Stored:
    """Give pixel values from the bits that (0028,0101) Bits Stored and (0028,0102) High Bit name (PS3.5 8.1.1).

    Twelve-bit signed values in sixteen bits come with or without their sign in the upper four; old files keep overlays
    there.
    """
    allocated, bits = int(data_set.BitsAllocated), int(data_set.BitsStored)
    if pixels.dtype.kind not in "iu" or not 0 < bits < allocated or pixels.dtype.itemsize * 8 != allocated:
        return pixels
    down = max(0, int(data_set.get("HighBit", bits - 1)) + 1 - bits)
    unused = allocated - bits
    raised = np.left_shift(np.right_shift(pixels.view(f"u{allocated // 8}"), down), unused)
    signed = raised.view(f"{'i' if data_set.PixelRepresentation else 'u'}{allocated // 8}")
    values: Stored = np.right_shift(signed, unused)
    return values


def is_padding(data_set: Dataset, pixels: Stored) -> npt.NDArray[np.bool_] | None:
    """Tell which values are (0028,0120) Pixel Padding Value, or up to (0028,0121) its Range Limit; None if none is."""
    value = data_set.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = data_set.get("PixelPaddingRangeLimit")
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    found: npt.NDArray[np.bool_] = (pixels >= low) & (pixels <= high)
    return found if found.any() else None

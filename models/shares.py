"""Wilson's interval of a share, wherever rates are told; it needs no library."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

Interval = tuple[float, float]

Z: Final = NormalDist().inv_cdf(0.975)
"""Intervals are 95 %."""


def share_interval(hits: float, of: int) -> Interval:
    """Give Wilson's interval of a share."""
    share = hits / of
    middle = share + Z**2 / (2 * of)
    spread = Z * math.sqrt(share * (1 - share) / of + Z**2 / (4 * of**2))
    scale = 1 + Z**2 / of
    return ((middle - spread) / scale, (middle + spread) / scale)


def needed(share: float, half_width: float) -> int:
    """Give how many cases bring half the width of the interval of a share down to `half_width`."""
    low, high = 1, 2
    while _half_width(share, high) > half_width:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _half_width(share, middle) > half_width else (low, middle)
    return low


def _half_width(share: float, of: int) -> float:
    """Give half the width of the interval of a share, as if hits could be a part of one."""
    return Z * math.sqrt(share * (1 - share) / of + Z**2 / (4 * of**2)) / (1 + Z**2 / of)

"""Whether pixels show a frontal chest, and which way up, for images whose header does not say.

The image, as displayed, is brought to a grid of brightness ranks and compared with a mean frontal chest in each quarter
turn.  That tells a frontal chest from an inverted one, and from most else; it has not been tried on lateral ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Grid = npt.NDArray[np.float64]

LEAST_LIKENESS = 0.6
"""Correlation with the mean chest below which an image is none."""
LEAST_MARGIN = 0.15
"""How much better the best quarter turn must be than any other."""

_SIDE = 16
# fmt: off
_MEAN_CHEST = np.array([
    [-43, -42, -41, -41, -37, -24,  -8,   6,   9,  -7, -27, -39, -41, -43, -43, -43],
    [-36, -32, -29, -27, -26, -18,  -5,   6,   7,  -5, -18, -28, -28, -30, -32, -40],
    [-21, -11,  -9, -11, -13, -12,  -6,   5,   5,  -8, -16, -14, -11,  -9, -11, -21],
    [ -7,   4,   6,  -2, -13, -18, -12,   2,   5, -13, -22, -16,  -4,   3,   3,  -7],
    [  1,  12,  13,   0, -16, -26, -19,   2,   8, -14, -25, -21,  -5,   7,   8,   1],
    [  4,  12,  15,  -4, -22, -30, -19,   6,  13, -11, -26, -23,  -7,   8,   8,   0],
    [ -1,  10,  13,  -6, -25, -29, -15,  13,  19,  -5, -24, -24,  -9,   8,   5,  -3],
    [ -8,   7,  10,  -8, -23, -23,  -6,  20,  26,   5, -18, -23,  -9,   8,   1,  -9],
    [-14,   2,   9,  -7, -20, -18,   2,  26,  31,  18,  -4, -16,  -8,   5,  -1, -15],
    [-19,  -1,   7,  -5, -15, -11,   8,  30,  34,  23,   7,  -9,  -6,   4,  -4, -19],
    [-24,  -4,   8,   6,   4,   8,  20,  36,  36,  25,  13,   1,  -3,   2,  -8, -23],
    [-29,  -8,  12,  18,  20,  23,  31,  41,  40,  32,  23,  13,   6,   4, -13, -28],
    [-33, -12,  12,  22,  27,  31,  38,  44,  43,  39,  32,  23,  15,   5, -17, -32],
    [-35, -15,  11,  24,  31,  36,  42,  46,  46,  43,  37,  28,  16,   3, -19, -34],
    [-35, -17,   9,  26,  35,  40,  43,  45,  45,  41,  39,  30,  17,   1, -22, -35],
    [-34, -13,  11,  28,  35,  39,  42,  43,  42,  40,  38,  31,  20,   1, -20, -33],
], dtype=np.float64)
# fmt: on
"""Mean ranks, -50 to 50, of 32 upright frontal radiographs of NIH ChestX-ray14 (X. Wang et al., CVPR 2017)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upright:
    """How a frontal chest is turned upright, in quarter turns against the clock, and how like a chest it is."""

    quarter_turns: int
    likeness: float

    @property
    def is_turned(self) -> bool:
        """Whether it lies otherwise than upright."""
        return self.quarter_turns != 0

    def turn(self, pixels: Floats) -> Floats:
        """Give the image upright."""
        return np.ascontiguousarray(np.rot90(pixels, self.quarter_turns))


def find_frontal(pixels: Floats) -> Upright | None:
    """Give how a frontal chest lies, None where the pixels show none for certain.

    A mirrored chest counts as one and is not mirrored back: which side the heart is on may be what is to be seen.
    """
    if min(pixels.shape) < _SIDE:
        return None
    ranks = _ranks(pixels)
    turned = [np.rot90(ranks, turns) for turns in range(4)]
    likeness = [max(_likeness(seen), _likeness(seen[:, ::-1])) for seen in turned]
    second, best = sorted(likeness)[-2:]
    if best < LEAST_LIKENESS or best - second < LEAST_MARGIN:
        return None
    return Upright(quarter_turns=likeness.index(best), likeness=best)


def _ranks(pixels: Floats) -> Grid:
    """Give the ranks of the mean brightness of a grid, -50 to 50."""
    down, across = (np.linspace(0, side, _SIDE + 1).astype(int) for side in pixels.shape)
    sums = np.add.reduceat(np.add.reduceat(pixels.astype(np.float64), down[:-1], axis=0), across[:-1], axis=1)
    means = sums / np.outer(np.diff(down), np.diff(across))
    order = means.ravel().argsort(kind="stable").argsort(kind="stable")
    ranks: Grid = (order.reshape(_SIDE, _SIDE) / (order.size - 1) - 0.5) * 100
    return ranks


def _likeness(ranks: Grid) -> float:
    return float(np.corrcoef(ranks.ravel(), _MEAN_CHEST.ravel())[0, 1])

"""Heads of every kind that the gates let pass: thick and thin slices, short and long, tilted, and still arriving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.contract import Volume
from models.reference.cases import head_volume
from models.reference.head import HeadScene, Range, draw_head, make_plain

KINDS = ("standard", "thick", "thin", "short", "long", "tilted", "arriving", "thin, arriving")
"""A seed's kind is its remainder by their number."""

_STEPS_MM, _THIN_MM = (2.5, 3.0, 4.0, 5.0, 5.0, 6.0), (0.6, 0.8, 1.0, 1.25, 1.5)
_REACH_MM: Mapping[str, Range] = {
    "standard": (155.0, 165.0),
    "thin": (92.0, 110.0),
    "short": (92.0, 120.0),
    "long": (200.0, 248.0),
}
"""From how short to how long each kind is, others reach `_USUAL_MM`."""
_USUAL_MM = (92.0, 170.0)
_MOST_TILT_DEG = 25.0
_PARTS = (12, 16, 20, 24)
"""How many slices there may be when an arriving head is looked at."""
_FEET_END_MM, _HEAD_END_MM = (-85.0, -60.0), (45.0, 75.0)
"""Where the first slice of an arriving head lies, by the end that it starts from: where there is tissue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GoodHead:
    """One head and how it is cut: table positions of its slices, feet to head, their distance and the gantry's tilt."""

    kind: str
    scene: HeadScene
    z_mm: tuple[float, ...]
    step_mm: float
    tilt_deg: float = 0.0

    def volume(self) -> Volume:
        """Give its slices as a loader would."""
        return head_volume(self.scene, self.z_mm, step_mm=self.step_mm, tilt_deg=self.tilt_deg)


def draw_good_head(seed: int) -> GoodHead:
    """Draw a head of the base domain; half of each kind bleed, and some of these plainly."""
    turn, place = divmod(seed, len(KINDS))
    kind, rng = KINDS[place], np.random.default_rng([seed, 8])
    scene = draw_head(seed, haemorrhage=turn % 2 == 0)
    scene = make_plain(scene) if turn % 8 == 0 else scene
    step_mm = _step_mm(rng, kind)
    if kind.endswith("arriving"):
        return GoodHead(kind=kind, scene=scene, z_mm=_part(rng, step_mm), step_mm=step_mm)
    slices = max(16, int(rng.uniform(*_REACH_MM.get(kind, _USUAL_MM)) / step_mm))
    middle = 0.0 if kind == "standard" else float(rng.uniform(-12.0, 12.0))
    tilt_deg = float(rng.uniform(-_MOST_TILT_DEG, _MOST_TILT_DEG)) if kind == "tilted" else 0.0
    z_mm = tuple((index - (slices - 1) / 2) * step_mm + middle for index in range(slices))
    return GoodHead(kind=kind, scene=scene, z_mm=z_mm, step_mm=step_mm, tilt_deg=tilt_deg)


def _step_mm(rng: np.random.Generator, kind: str) -> float:
    if kind in {"standard", "thick"}:
        return 5.0 if kind == "standard" else 6.0
    return float(rng.choice(_THIN_MM if kind.startswith("thin") else _STEPS_MM))


def _part(rng: np.random.Generator, step_mm: float) -> tuple[float, ...]:
    slices, from_feet = int(rng.choice(_PARTS)), bool(rng.random() < 0.5)
    if from_feet:
        first = float(rng.uniform(*_FEET_END_MM))
        return tuple(first + index * step_mm for index in range(slices))
    last = float(rng.uniform(*_HEAD_END_MM))
    return tuple(last - index * step_mm for index in reversed(range(slices)))

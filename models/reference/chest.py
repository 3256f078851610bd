"""Computer-drawn chest radiographs: what is drawn by chance (`ChestScene`), and the image a reader would see.

Nothing here comes from a patient.  Coordinates are millimetres on the detector: x to the patient's left, y down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.reference.shapes import Grid, blur, bump, grain, mottle, paint, soft

CHEST_VERSION = 1
"""Raised whenever a seed would give another chest."""

SIZE_PX = 320
FIELD_OF_VIEW_MM = 380.0
PIXEL_MM = FIELD_OF_VIEW_MM / SIZE_PX

FINDINGS = ("pneumothorax", "effusion", "opacity")

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChestRanges:
    """From where each number of a chest is drawn: uniform ranges and rates."""

    lung_width_mm: Range = (108.0, 132.0)
    lung_height_mm: Range = (215.0, 265.0)
    heart_mm: Range = (38.0, 62.0)
    turn_deg: Range = (-5.0, 5.0)
    shift_mm: Range = (-10.0, 10.0)
    collapse: Range = (0.04, 0.40)
    effusion_height: Range = (0.07, 0.50)
    opacities: tuple[int, int] = (1, 3)
    opacity_radius_mm: Range = (8.0, 30.0)
    opacity_density: Range = (0.15, 0.40)
    skin_fold_rate: float = 0.30
    leads_rate: float = 0.30
    pacemaker_rate: float = 0.08
    marker_rate: float = 0.80
    gamma: Range = (0.75, 1.35)
    exposure: Range = (0.85, 1.10)
    noise: Range = (0.008, 0.030)
    psf_mm: Range = (0.5, 1.4)


RATES: Mapping[str, float] = {"pneumothorax": 0.38, "effusion": 0.38, "opacity": 0.38}
"""How often each finding is drawn, independently of the others."""

CHEST_DOMAINS: Mapping[str, ChestRanges] = {
    "base": ChestRanges(),
    "shift-noise": ChestRanges(noise=(0.03, 0.06), psf_mm=(1.6, 2.8), gamma=(1.3, 1.8)),
    "shift-anatomy": ChestRanges(
        lung_width_mm=(84.0, 104.0),
        lung_height_mm=(160.0, 205.0),
        heart_mm=(58.0, 76.0),
        turn_deg=(-12.0, 12.0),
    ),
    "shift-lesions": ChestRanges(
        collapse=(0.03, 0.10),
        effusion_height=(0.05, 0.14),
        opacities=(1, 1),
        opacity_radius_mm=(6.0, 14.0),
        opacity_density=(0.10, 0.20),
        skin_fold_rate=0.60,
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Opacity:
    """A dense patch in a lung: place as side, share of width and height, size, density and ragged edge."""

    side: int
    across: float
    down: float
    radius_mm: float
    stretch: float
    density: float
    ragged: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SkinFold:
    """A fold of skin: a sharp edge from top to bottom that fades to one side, with markings beyond it."""

    side: int
    at_mm: float
    lean: float
    bow: float
    density: float
    fade_mm: float
    top: float
    bottom: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ChestScene:
    """Everything chance decided about one chest; `render_chest` turns it into pixels.

    Every scene holds a pneumothorax, an effusion and opacities; `findings` says which of them are painted.
    """

    seed: int
    findings: tuple[str, ...]
    lung_width_mm: float
    lung_height_mm: float
    dome_mm: tuple[float, float]
    heart_mm: float
    turn_rad: float
    shift_mm: tuple[float, float]
    rib_spacing_mm: float
    rib_phase_mm: float
    rib_density: float
    vessel_density: float
    vessels: int
    collapse_side: int
    collapse: float
    collapse_line: float
    collapse_dark: float
    effusion_side: int
    effusion_height: float
    effusion_density: float
    meniscus_mm: float
    opacities: tuple[Opacity, ...]
    skin_fold: SkinFold | None
    leads: tuple[tuple[float, float, float], ...]
    pacemaker_side: int
    marker: tuple[str, float, float] | None
    gastric_mm: float
    gamma: float
    exposure: float
    noise: float
    psf_mm: float


# ------------------------------------------------------------------ chance


def draw_chest(seed: int, *, findings: frozenset[str] | None = None, domain: str = "base") -> ChestScene:
    """Draw the scene of one chest.

    Parameters
    ----------
    seed
        Any non-negative integer; the same seed gives the same chest whatever is painted in it.
    findings
        Which of `FINDINGS` are painted; by chance at the rates of `RATES` where None.
    domain
        A key of `CHEST_DOMAINS`.
    """
    ranges = CHEST_DOMAINS[domain]
    rng = np.random.default_rng([CHEST_VERSION, seed])

    def some(limits: Range) -> float:
        return float(rng.uniform(*limits))

    def side() -> int:
        return int(rng.choice([-1, 1]))

    by_chance = frozenset(name for name in FINDINGS if rng.random() < RATES[name])
    painted = by_chance if findings is None else findings
    if unknown := painted - set(FINDINGS):
        raise ValueError(f"a chest phantom knows {', '.join(FINDINGS)}; got {', '.join(sorted(unknown))}")
    return ChestScene(
        seed=seed,
        findings=tuple(sorted(painted)),
        lung_width_mm=some(ranges.lung_width_mm),
        lung_height_mm=some(ranges.lung_height_mm),
        dome_mm=(some((14.0, 34.0)), some((14.0, 34.0))),
        heart_mm=some(ranges.heart_mm),
        turn_rad=float(np.deg2rad(some(ranges.turn_deg))),
        shift_mm=(some(ranges.shift_mm), some(ranges.shift_mm)),
        rib_spacing_mm=some((20.0, 27.0)),
        rib_phase_mm=some((0.0, 25.0)),
        rib_density=some((0.03, 0.075)),
        vessel_density=some((0.05, 0.11)),
        vessels=int(rng.integers(7, 12)),
        collapse_side=side(),
        collapse=some(ranges.collapse),
        collapse_line=some((0.03, 0.08)),
        collapse_dark=some((0.01, 0.05)),
        effusion_side=side(),
        effusion_height=some(ranges.effusion_height),
        effusion_density=some((0.55, 0.95)),
        meniscus_mm=some((6.0, 26.0)),
        opacities=tuple(
            Opacity(
                side=side(),
                across=some((0.3, 0.85)),
                down=some((0.2, 0.85)),
                radius_mm=some(ranges.opacity_radius_mm),
                stretch=some((0.7, 1.4)),
                density=some(ranges.opacity_density),
                ragged=some((0.0, 0.5)),
            )
            for _ in range(int(rng.integers(ranges.opacities[0], ranges.opacities[1] + 1)))
        ),
        skin_fold=_draw_skin_fold(rng) if rng.random() < ranges.skin_fold_rate else None,
        leads=(
            tuple((some((-110.0, 110.0)), some((-90.0, 80.0)), some((4.0, 8.0))) for _ in range(rng.integers(2, 5)))
            if rng.random() < ranges.leads_rate
            else ()
        ),
        pacemaker_side=side() if rng.random() < ranges.pacemaker_rate else 0,
        marker=(
            (str(rng.choice(["L", "R"])), some((-165.0, 165.0)), some((-165.0, -140.0)))
            if rng.random() < ranges.marker_rate
            else None
        ),
        gastric_mm=some((0.0, 26.0)),
        gamma=some(ranges.gamma),
        exposure=some(ranges.exposure),
        noise=some(ranges.noise),
        psf_mm=some(ranges.psf_mm),
    )


def _draw_skin_fold(rng: np.random.Generator) -> SkinFold:
    return SkinFold(
        side=int(rng.choice([-1, 1])),
        at_mm=float(rng.uniform(55, 115)),
        lean=float(rng.uniform(-0.25, 0.25)),
        bow=float(rng.uniform(-20, 20)),
        density=float(rng.uniform(0.03, 0.09)),
        fade_mm=float(rng.uniform(6, 22)),
        top=float(rng.uniform(-140, -20)),
        bottom=float(rng.uniform(20, 140)),
    )


# ------------------------------------------------------------------ pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lung:
    """One lung: its cover (0..1), the share of its height at each pixel, and the way in from its outer wall in mm."""

    cover: Grid
    y: Grid
    out: Grid
    down: Grid
    inward: Grid


def render_chest(scene: ChestScene) -> Grid:
    """Draw a chest as a reader would see it: float32 (320, 320) in 0..1, bright = dense, 1.19 mm pixels."""
    rng = np.random.default_rng([CHEST_VERSION, scene.seed, 1])
    x, y = _detector_frame(scene)
    lungs = {side: _lung(scene, side, x, y) for side in (-1, 1)}
    image = _body(scene, x, y, lungs)
    for side, lung in lungs.items():
        _paint_lung(scene, side, lung, image, rng)
    _paint_middle(scene, x, y, image)
    _paint_ribs(scene, lungs, image)
    if "effusion" in scene.findings:
        _paint_effusion(scene, lungs[scene.effusion_side], image)
    _paint_hardware(scene, x, y, image)
    image = np.float32(scene.exposure) * np.clip(image, 0, 1.2) ** np.float32(scene.gamma)
    image = blur(image, scene.psf_mm / PIXEL_MM)
    _paint_marker(scene, image)
    return np.clip(image + np.float32(scene.noise) * grain(rng, SIZE_PX, 0.8), 0, 1)


def _detector_frame(scene: ChestScene) -> tuple[Grid, Grid]:
    at = ((np.arange(SIZE_PX) - (SIZE_PX - 1) / 2) * PIXEL_MM).astype(np.float32)
    x, y = at[None, :] - np.float32(scene.shift_mm[0]), at[:, None] - np.float32(scene.shift_mm[1])
    cos, sin = np.float32(np.cos(scene.turn_rad)), np.float32(np.sin(scene.turn_rad))
    return cos * x + sin * y, cos * y - sin * x


def _wall(scene: ChestScene, down: Grid) -> Grid:
    """Give the outer wall's distance from the midline at a share of the lung's height."""
    outline: Grid = np.sqrt(1 - (1 - np.clip(down, 0, 1)) ** np.float32(2.4))
    return np.float32(scene.lung_width_mm) * outline


def _lung(scene: ChestScene, side: int, x: Grid, y: Grid) -> _Lung:
    out = x * np.float32(side)
    height, width = np.float32(scene.lung_height_mm), np.float32(scene.lung_width_mm)
    down = (y + height / 2) / height
    inward = _wall(scene, down) - out
    dome = np.float32(scene.dome_mm[(side + 1) // 2]) * (
        1 - ((out - width * np.float32(0.5)) / (width * np.float32(0.55))) ** 2
    )
    above = height / 2 - np.clip(dome, -20, None) - y
    middle = out - np.float32(20) - np.float32(10) * bump(down - np.float32(0.45), 0.12)
    depth = np.minimum(np.minimum(inward * np.float32(0.9), above), middle)
    return _Lung(cover=soft(depth, 3.0), y=y, out=out, down=down, inward=inward)


def _body(scene: ChestScene, x: Grid, y: Grid, lungs: Mapping[int, _Lung]) -> Grid:
    image = np.full((SIZE_PX, SIZE_PX), 0.03, dtype=np.float32)
    height = np.float32(scene.lung_height_mm)
    trunk = np.float32(scene.lung_width_mm + 32) * np.sqrt(
        np.clip((y + height * np.float32(0.62)) / (height * np.float32(0.3)), 0.06, 1)
    )
    paint(image, soft(trunk - np.abs(x), 10.0), 0.60)
    abdomen = soft(y - (height / 2 - np.float32(20)), 40.0) * soft(trunk - np.abs(x), 10.0)
    paint(image, abdomen, 0.74)
    gastric = soft(np.float32(scene.gastric_mm) - np.hypot(x - 60, (y - height / 2 - 12) * np.float32(1.6)), 4.0)
    paint(image, gastric * (1 - lungs[1].cover), 0.45)
    return image


def _paint_lung(scene: ChestScene, side: int, lung: _Lung, image: Grid, rng: np.random.Generator) -> None:
    markings = _vessels(scene, lung, rng)
    air = (
        np.float32(0.20)
        + np.float32(0.05) * (lung.down - np.float32(0.5))
        + np.float32(0.012) * mottle(rng, SIZE_PX, 20)
    )
    tissue = air + markings
    patches = _opacities(scene, side, lung, rng)
    if "opacity" in scene.findings:
        tissue = tissue + patches
    if "pneumothorax" in scene.findings and side == scene.collapse_side:
        top = np.float32(0.5 * scene.collapse)
        edge = np.float32(1 - 0.6 * scene.collapse) * _wall(scene, (lung.down - top) / (1 - top)) - lung.out
        free = soft(-edge, 2.0)
        tissue = tissue + np.float32(0.08 * scene.collapse) * (1 - free)
        paint(tissue, free, air - np.float32(scene.collapse_dark))
        tissue += np.float32(scene.collapse_line) * bump(edge, 0.9)
    paint(image, lung.cover, tissue)


def _vessels(scene: ChestScene, lung: _Lung, rng: np.random.Generator) -> Grid:
    across, along = lung.out - np.float32(26), lung.y + np.float32(8)
    reach = np.hypot(across, along)
    turn = np.arctan2(along, across) + np.float32(0.35) * mottle(rng, SIZE_PX, 30)
    trunks = bump(np.sin(np.float32(scene.vessels / 2) * turn), 0.22) * np.exp(-reach / np.float32(55))
    twigs = bump(np.sin(np.float32(scene.vessels) * turn + reach / np.float32(28)), 0.25)
    twigs *= np.exp(-reach / np.float32(110)) * np.float32(0.55)
    fine = np.abs(mottle(rng, SIZE_PX, 4)) * np.exp(-reach / np.float32(120)) * np.float32(0.16)
    markings: Grid = trunks + twigs + fine
    return np.float32(scene.vessel_density) * markings


def _opacities(scene: ChestScene, side: int, lung: _Lung, rng: np.random.Generator) -> Grid:
    total = np.zeros_like(lung.out)
    ragged = mottle(rng, SIZE_PX, 8)
    for patch in scene.opacities:
        if patch.side != side:
            continue
        across = lung.out - np.float32(patch.across * scene.lung_width_mm)
        along = lung.y - np.float32((patch.down - 0.5) * scene.lung_height_mm)
        distance = np.sqrt((across * np.float32(patch.stretch)) ** 2 + (along / np.float32(patch.stretch)) ** 2)
        cover = bump(distance, patch.radius_mm * 0.6) * (1 + np.float32(patch.ragged) * ragged)
        total += np.float32(patch.density) * np.clip(cover, 0, None)
    return total


def _paint_middle(scene: ChestScene, x: Grid, y: Grid, image: Grid) -> None:
    height = np.float32(scene.lung_height_mm)
    spine = soft(np.float32(19) - np.abs(x), 4.0)
    paint(image, spine, 0.74)
    image += spine * np.float32(0.025) * np.sin(y / np.float32(4.2))
    size = np.float32(scene.heart_mm)
    below = height / 2 - np.float32(38)
    left = np.hypot((x - size * np.float32(0.42)) / size, (y - below) / (size * np.float32(1.05)))
    right = np.hypot((x + np.float32(12)) / (size * np.float32(0.62)), (y - below + 6) / (size * np.float32(0.95)))
    knob = np.hypot(x - np.float32(20), y + height * np.float32(0.2)) / np.float32(17)
    for distance in (left, right, knob):
        paint(image, soft((1 - distance) * size, 5.0), 0.72)


def _paint_ribs(scene: ChestScene, lungs: Mapping[int, _Lung], image: Grid) -> None:
    spacing, width = np.float32(scene.rib_spacing_mm), np.float32(scene.lung_width_mm)
    for lung in lungs.values():
        out = np.clip(lung.out, 0, None) / width
        cage = (
            soft(lung.inward + np.float32(8), 4.0) * soft(lung.out - np.float32(12), 4.0) * soft(1.1 - lung.down, 0.1)
        )
        back = (
            lung.y
            + np.float32(scene.rib_phase_mm)
            + np.float32(14) * np.sin(np.float32(3) * out)
            - np.float32(34) * out * out
        )
        front = lung.y + np.float32(scene.rib_phase_mm * 0.6) + np.float32(52) * out - np.float32(18) * out * out
        for course, half, share in ((back, 4.2, 1.0), (front, 5.2, 0.55)):
            away = np.abs(np.mod(course + spacing / 2, spacing) - spacing / 2)
            rib = soft(np.float32(half) - away, 1.6) + np.float32(0.6) * bump(away - np.float32(half - 0.8), 0.8)
            image += np.float32(scene.rib_density * share) * rib * cage
        collar = (
            lung.y + np.float32(0.36 * scene.lung_height_mm) + np.float32(16) * out - np.float32(10) * np.sin(4 * out)
        )
        image += (
            np.float32(0.09)
            * soft(np.float32(5.5) - np.abs(collar), 2.0)
            * soft(out - np.float32(0.12), 0.04)
            * (out < 1.15)
        )


def _paint_effusion(scene: ChestScene, lung: _Lung, image: Grid) -> None:
    surface = np.float32(scene.lung_height_mm * (0.5 - scene.effusion_height))
    climb = np.float32(scene.meniscus_mm) * np.exp(-np.clip(lung.inward, 0, None) / np.float32(11))
    fluid = soft(lung.y - surface + climb, 7.0) * soft(lung.inward, 3.0) * soft(lung.out - np.float32(14), 8.0)
    paint(image, fluid * np.float32(scene.effusion_density), np.maximum(image, np.float32(0.74)))


def _paint_hardware(scene: ChestScene, x: Grid, y: Grid, image: Grid) -> None:
    if scene.skin_fold is not None:
        fold = scene.skin_fold
        bent = np.float32(fold.bow) * np.cos(y / np.float32(80))
        beyond = np.float32(fold.side) * x - (np.float32(fold.at_mm) + np.float32(fold.lean) * y + bent)
        shade = np.exp(-np.clip(-beyond, 0, None) / np.float32(fold.fade_mm)) * soft(-beyond, 1.5)
        image += (
            np.float32(fold.density)
            * shade
            * soft(y - np.float32(fold.top), 20)
            * soft(np.float32(fold.bottom) - y, 20)
        )
    for at, height, radius in scene.leads:
        image += np.float32(0.22) * soft(np.float32(radius) - np.hypot(x - np.float32(at), y - np.float32(height)), 1.5)
        wire = x - np.float32(at) - np.float32(18) * np.sin((y - np.float32(height)) / np.float32(45))
        image += np.float32(0.13) * bump(wire, 0.8) * (y < height)
    if scene.pacemaker_side:
        across = np.float32(scene.pacemaker_side) * x
        box = np.minimum(22 - np.abs(across - 88), 18 - np.abs(y + np.float32(0.3 * scene.lung_height_mm)))
        paint(image, soft(box, 3.0), 0.97)
        lead = across - np.float32(45) - np.float32(30) * np.sin((y + np.float32(40)) / np.float32(45))
        image += np.float32(0.2) * bump(lead, 1.1) * (np.abs(y) < 0.28 * scene.lung_height_mm)


GLYPHS: Mapping[str, tuple[tuple[float, float, float, float], ...]] = {
    "L": ((0, 0, 3, 18), (0, 15, 11, 18)),
    "R": ((0, 0, 3, 18), (0, 0, 11, 3), (8, 0, 11, 9), (0, 7, 11, 10), (6, 10, 9, 18)),
}
"""Side markers as strokes: left, top, right, bottom in mm."""


def _paint_marker(scene: ChestScene, image: Grid) -> None:
    if scene.marker is None:
        return
    letter, across, down = scene.marker
    for stroke in GLYPHS[letter]:
        edges = [
            round((at + FIELD_OF_VIEW_MM / 2) / PIXEL_MM)
            for at in (across + stroke[0], down + stroke[1], across + stroke[2], down + stroke[3])
        ]
        left, top, right, bottom = edges
        image[top:bottom, left:right] = 0.95

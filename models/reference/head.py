"""Computer-drawn head CT: what is drawn by chance (`HeadScene`), and how it looks in Hounsfield units.

Nothing here comes from a patient.  A scene is numbers only, drawn from one seed; the pixels follow from it.
Coordinates are millimetres in the patient frame: x to the left, y to the back, z to the head (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from models.reference.shapes import Grid, blur, bump, grain, mottle, paint, soft

HEAD_VERSION = 1
"""Raised whenever a seed would give another head."""

SIZE_PX = 256
FIELD_OF_VIEW_MM = 250.0
PIXEL_MM = FIELD_OF_VIEW_MM / SIZE_PX
VISIBLE_MM2 = 40.0
"""A slice shows the lesion when it covers this much of it: 12 pixels of 1.83 mm."""

Range = tuple[float, float]

KINDS: Mapping[str, float] = {"IPH": 0.36, "SDH": 0.24, "EDH": 0.12, "SAH": 0.16, "IVH": 0.12}
"""Intraparenchymal, subdural, extradural, subarachnoid, intraventricular: share of the haemorrhages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadRanges:
    """From where each number of a head is drawn: uniform ranges, rates and shares.

    `noise_hu` is the spread of the noise in the drawn pixels; its grain is coarse enough that averaging over a lesion
    removes less of it than it would of white noise.
    """

    half_width_mm: Range = (62.0, 72.0)
    half_length_mm: Range = (78.0, 92.0)
    half_height_mm: Range = (70.0, 80.0)
    skull_mm: Range = (5.0, 9.0)
    scalp_mm: Range = (4.0, 8.0)
    turn_deg: Range = (-12.0, 12.0)
    pitch_deg: Range = (-10.0, 10.0)
    shift_mm: Range = (-8.0, 8.0)
    sulcus_mm: Range = (1.0, 5.0)
    ventricle: Range = (0.6, 1.6)
    lesion_radius_mm: Range = (4.0, 22.0)
    lesion_hu: Range = (42.0, 85.0)
    kinds: Mapping[str, float] = field(default_factory=lambda: dict(KINDS))
    noise_hu: Range = (2.5, 9.0)
    psf_mm: Range = (0.8, 1.6)
    cupping_hu: Range = (0.0, 7.0)
    calcification_rate: float = 0.45
    dense_sinus_rate: float = 0.35
    infarct_rate: float = 0.20
    scalp_haematoma_rate: float = 0.20
    streak_rate: float = 0.20


HEAD_DOMAINS: Mapping[str, HeadRanges] = {
    "base": HeadRanges(),
    "shift-noise": HeadRanges(noise_hu=(8.0, 14.0), psf_mm=(1.8, 2.8), cupping_hu=(5.0, 12.0)),
    "shift-anatomy": HeadRanges(
        half_width_mm=(54.0, 61.0),
        half_length_mm=(68.0, 78.0),
        skull_mm=(3.0, 5.0),
        turn_deg=(-25.0, 25.0),
        sulcus_mm=(4.0, 8.0),
        ventricle=(1.6, 2.3),
    ),
    "shift-lesions": HeadRanges(
        lesion_radius_mm=(3.0, 9.0),
        lesion_hu=(40.0, 58.0),
        kinds={"IPH": 0.15, "SDH": 0.40, "EDH": 0.05, "SAH": 0.35, "IVH": 0.05},
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """An ellipsoid: centre and radii in mm, and its density."""

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    hu: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Bleed:
    """Where a haemorrhage is, or would be: every scene has one, `HeadScene.haemorrhage` says whether it is painted.

    `angle_rad` is its direction seen from the middle, `spread_rad` its half extent along the skull (SDH, EDH, SAH),
    `radius_mm` its size (IPH) or thickness (SDH, EDH), `reach_mm` its half extent along z.
    """

    kind: str
    hu: float
    angle_rad: float
    out: float
    z_mm: float
    radius_mm: float
    reach_mm: float
    spread_rad: float
    stretch: tuple[float, float]
    wobble: tuple[float, float]
    oedema: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Streak:
    """A dark or bright line through one point, over a few slices."""

    at_mm: tuple[float, float, float]
    angle_rad: float
    hu: float
    width_mm: float


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadScene:
    """Everything chance decided about one head; `render_head` turns it into pixels."""

    seed: int
    haemorrhage: bool
    half_mm: tuple[float, float, float]
    skull_mm: float
    skull_hu: float
    scalp_mm: float
    turn_rad: float
    pitch: float
    shift_mm: tuple[float, float]
    sulcus_mm: float
    sulci: int
    sulcus_phase: float
    grey_hu: float
    white_hu: float
    ventricle: float
    ventricle_skew: float
    falx_mm: float
    sinus_hu: float
    calcifications: tuple[Blob, ...]
    infarct: Blob | None
    scalp_haematoma: tuple[float, float, float, float] | None
    streaks: tuple[Streak, ...]
    cupping_hu: float
    noise_hu: float
    psf_mm: float
    bleed: Bleed


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadSlices:
    """Drawn slices: `hu` float32 (slices, 256, 256), and the area each shows (or would show) of the lesion."""

    hu: Grid
    lesion_mm2: npt.NDArray[np.float32]


# ------------------------------------------------------------------ chance


def draw_head(seed: int, *, haemorrhage: bool, domain: str = "base", kind: str | None = None) -> HeadScene:
    """Draw the scene of one head.

    The same seed gives the same head with or without its haemorrhage, so that positives and negatives differ in
    nothing else.

    Parameters
    ----------
    seed
        Any non-negative integer.
    haemorrhage
        Whether the lesion is painted.
    domain
        A key of `HEAD_DOMAINS`.
    kind
        A key of `KINDS` to ask for one kind of haemorrhage; by chance where None.
    """
    ranges = HEAD_DOMAINS[domain]
    rng = np.random.default_rng([HEAD_VERSION, seed])

    def some(limits: Range) -> float:
        return float(rng.uniform(*limits))

    half = (some(ranges.half_width_mm), some(ranges.half_length_mm), some(ranges.half_height_mm))
    dense_sinus = rng.random() < ranges.dense_sinus_rate
    return HeadScene(
        seed=seed,
        haemorrhage=haemorrhage,
        half_mm=half,
        skull_mm=some(ranges.skull_mm),
        skull_hu=some((800.0, 1400.0)),
        scalp_mm=some(ranges.scalp_mm),
        turn_rad=float(np.deg2rad(some(ranges.turn_deg))),
        pitch=float(np.tan(np.deg2rad(some(ranges.pitch_deg)))),
        shift_mm=(some(ranges.shift_mm), some(ranges.shift_mm)),
        sulcus_mm=some(ranges.sulcus_mm),
        sulci=int(rng.integers(9, 16)),
        sulcus_phase=some((0.0, 6.28)),
        grey_hu=some((36.0, 41.0)),
        white_hu=some((26.0, 31.0)),
        ventricle=some(ranges.ventricle),
        ventricle_skew=some((-3.0, 3.0)),
        falx_mm=some((0.7, 1.6)),
        sinus_hu=some((48.0, 68.0)) if dense_sinus else some((38.0, 46.0)),
        calcifications=_draw_calcifications(rng) if rng.random() < ranges.calcification_rate else (),
        infarct=_draw_infarct(rng, half) if rng.random() < ranges.infarct_rate else None,
        scalp_haematoma=(
            (some((-3.14, 3.14)), some((0.25, 0.6)), some((4.0, 12.0)), some((50.0, 75.0)))
            if rng.random() < ranges.scalp_haematoma_rate
            else None
        ),
        streaks=_draw_streaks(rng) if rng.random() < ranges.streak_rate else (),
        cupping_hu=some(ranges.cupping_hu),
        noise_hu=some(ranges.noise_hu),
        psf_mm=some(ranges.psf_mm),
        bleed=_draw_bleed(rng, ranges, kind),
    )


def _draw_calcifications(rng: np.random.Generator) -> tuple[Blob, ...]:
    usual = ((0.0, 14.0, 2.0), (-15.0, 20.0, 10.0), (15.0, 20.0, 10.0), (-20.0, -2.0, 4.0), (20.0, -2.0, 4.0))
    chosen = rng.choice(len(usual), size=int(rng.integers(1, 4)), replace=False)
    spots = []
    for index in chosen:
        centre = np.array(usual[index]) + rng.uniform(-4, 4, 3)
        radius = float(rng.uniform(1.5, 4.0))
        spots.append(
            Blob(
                centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
                radii_mm=(radius, radius, radius + 2.5),
                hu=float(rng.uniform(110, 400)),
            )
        )
    return tuple(spots)


def _draw_infarct(rng: np.random.Generator, half: tuple[float, float, float]) -> Blob:
    angle, out = rng.uniform(-np.pi, np.pi), rng.uniform(0.5, 0.9)
    radii = rng.uniform(9, 24, 3)
    return Blob(
        centre_mm=(
            float(half[0] * out * np.cos(angle)),
            float(half[1] * out * np.sin(angle)),
            float(rng.uniform(-15, 40)),
        ),
        radii_mm=(float(radii[0]), float(radii[1]), float(radii[2])),
        hu=float(rng.uniform(12, 22)),
    )


def _draw_streaks(rng: np.random.Generator) -> tuple[Streak, ...]:
    height = rng.uniform(-45, 40)
    return tuple(
        Streak(
            at_mm=(float(rng.uniform(-40, 40)), float(rng.uniform(-40, 50)), float(height)),
            angle_rad=float(rng.uniform(-0.6, 0.6)),
            hu=float(rng.uniform(5, 16) * rng.choice([-1, 1])),
            width_mm=float(rng.uniform(1.5, 4.0)),
        )
        for _ in range(int(rng.integers(2, 6)))
    )


def _draw_bleed(rng: np.random.Generator, ranges: HeadRanges, kind: str | None) -> Bleed:
    by_chance = str(rng.choice(list(ranges.kinds), p=list(ranges.kinds.values())))
    chosen = kind or by_chance
    size = float(rng.uniform(*ranges.lesion_radius_mm))
    share = (size - 3.0) / 19.0
    spread = {"SDH": 0.5 + 0.8 * share, "EDH": 0.25 + 0.3 * share, "SAH": 0.4 + 0.9 * share}.get(chosen, 0.0)
    thickness = {"SDH": 4.0 + 7.0 * share, "EDH": 6.0 + 11.0 * share}.get(chosen, size)
    reach = {"IPH": size, "SDH": 14 + 24 * share, "EDH": 8 + 14 * share, "SAH": 10 + 18 * share}.get(chosen, 16.0)
    return Bleed(
        kind=chosen,
        hu=float(rng.uniform(*ranges.lesion_hu)),
        angle_rad=float(rng.uniform(-np.pi, np.pi)),
        out=float(rng.uniform(0.1, 0.75)),
        z_mm=float(rng.uniform(2, 22) if chosen == "IVH" else rng.uniform(-22, 45)),
        radius_mm=thickness,
        reach_mm=float(reach * rng.uniform(0.8, 1.25)),
        spread_rad=spread,
        stretch=(float(rng.uniform(0.75, 1.3)), float(rng.uniform(0.75, 1.3))),
        wobble=(float(rng.uniform(0.0, 0.25)), float(rng.uniform(0.15, 0.85))),
        oedema=bool(rng.random() < 0.4),
    )


def make_plain(scene: HeadScene) -> HeadScene:
    """Give the scene with a large dense bleed that nobody overlooks, for demonstrations and tests of plumbing."""
    bleed = replace(
        scene.bleed, kind="IPH", hu=75.0, radius_mm=19.0, reach_mm=20.0, out=0.4, z_mm=18.0, stretch=(1.0, 1.0)
    )
    return replace(scene, bleed=bleed, noise_hu=3.5)


# ------------------------------------------------------------------ pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plane:
    """The coordinate grids of one slice in the head's own frame, and depths from the inner table of the skull."""

    x: Grid
    y: Grid
    z: Grid
    angle: Grid
    depth: Grid
    brain_depth: Grid


def render_head(scene: HeadScene, z_mm: Sequence[float], *, tilt_deg: float = 0.0) -> HeadSlices:
    """Draw the slices of a head at the given table positions.

    Parameters
    ----------
    scene
        What to draw.
    z_mm
        Table position of each slice's centre.  A position always gives the same pixels, whatever is drawn beside it.
    tilt_deg
        Gantry tilt: the plane leans by this angle about the left-right axis.

    Returns
    -------
    HeadSlices
        Hounsfield units before quantisation, 0.977 mm pixels, noise and blur included.
    """
    x, y = _head_frame(scene)
    angle, radius = np.arctan2(y / scene.half_mm[1], x / scene.half_mm[0]), _radius(scene, x, y)
    hu = np.empty((len(z_mm), SIZE_PX, SIZE_PX), dtype=np.float32)
    area = np.empty(len(z_mm), dtype=np.float32)
    lean = scene.pitch - np.tan(np.deg2rad(tilt_deg))
    for index, z in enumerate(z_mm):
        plane = _plane(scene, x=x, y=y, z=np.float32(z) + y * np.float32(lean), angle=angle, radius=radius)
        hu[index], area[index] = _render_slice(scene, plane, round(z * 100))
    return HeadSlices(hu=hu, lesion_mm2=area)


def lesion_mm2(scene: HeadScene, z_mm: float) -> float:
    """Give the area of the lesion that a slice at this table position shows, or would show were it painted."""
    x, y = _head_frame(scene)
    angle, radius = np.arctan2(y / scene.half_mm[1], x / scene.half_mm[0]), _radius(scene, x, y)
    z = np.float32(z_mm) + y * np.float32(scene.pitch)
    plane = _plane(scene, x=x, y=y, z=z, angle=angle, radius=radius)
    lesion, _ = _bleed_cover(scene, plane, _ventricles(scene, plane), _cistern(plane))
    return _area_mm2(lesion)


def _area_mm2(lesion: Grid) -> float:
    return float((lesion > 0.5).sum() * PIXEL_MM**2)


def _head_frame(scene: HeadScene) -> tuple[Grid, Grid]:
    at = ((np.arange(SIZE_PX) - (SIZE_PX - 1) / 2) * PIXEL_MM).astype(np.float32)
    x, y = at[None, :] - np.float32(scene.shift_mm[0]), at[:, None] - np.float32(scene.shift_mm[1])
    cos, sin = np.float32(np.cos(scene.turn_rad)), np.float32(np.sin(scene.turn_rad))
    return cos * x + sin * y, cos * y - sin * x


def _radius(scene: HeadScene, x: Grid, y: Grid) -> Grid:
    return np.sqrt((x / np.float32(scene.half_mm[0])) ** 2 + (y / np.float32(scene.half_mm[1])) ** 2)


def _plane(scene: HeadScene, *, x: Grid, y: Grid, z: Grid, angle: Grid, radius: Grid) -> _Plane:
    width, length, height = scene.half_mm
    mean = np.float32(np.sqrt(width * length))
    up = z / np.float32(height)
    dome = np.clip(1 - np.clip(up, 0, 1) ** 2.4, 0, 1) ** np.float32(1 / 2.4)
    outline = np.where(
        up > 1, (1 - up) * np.float32(height) / mean, np.where(up > 0, dome, 1 - np.float32(0.28) * up**2)
    )
    depth = (outline - radius) * mean
    folds = np.sin(scene.sulci * angle + 3 * np.sin(2 * angle + np.float32(scene.sulcus_phase)) + z / np.float32(9))
    rim = np.float32(scene.sulcus_mm) * (np.float32(0.35) + folds * folds)
    return _Plane(x=x, y=y, z=z, angle=angle, depth=depth, brain_depth=depth - rim)


def _render_slice(scene: HeadScene, plane: _Plane, key: int) -> tuple[Grid, float]:
    texture, clot, noise = (
        np.random.default_rng([HEAD_VERSION, scene.seed, part, key + 100_000]) for part in (1, 2, 3)
    )
    image = np.full(plane.depth.shape, -1000, dtype=np.float32)
    _paint_scalp(scene, plane, image)
    inside = soft(plane.depth, 1.0)
    ventricles, cistern = _ventricles(scene, plane), _cistern(plane)
    _paint_brain(scene, plane, image, ventricles, cistern)
    image += np.float32(1.2) * mottle(texture, SIZE_PX, 16) * inside
    lesion, oedema = _bleed_cover(scene, plane, ventricles, cistern)
    if scene.haemorrhage and lesion.any():
        image -= np.float32(7) * oedema
        paint(image, lesion, np.float32(scene.bleed.hu) + np.float32(1.5) * mottle(clot, SIZE_PX, 8))
    _paint_bone(scene, plane, image, texture)
    image += np.float32(scene.cupping_hu) * inside * np.clip(1 - plane.depth / np.float32(45), 0, 1) ** 2
    for streak in scene.streaks:
        _add_streak(streak, plane, image)
    image = blur(image, scene.psf_mm / PIXEL_MM)
    image += np.float32(scene.noise_hu) * grain(noise, SIZE_PX, 0.7)
    return image, _area_mm2(lesion)


def _paint_scalp(scene: HeadScene, plane: _Plane, image: Grid) -> None:
    outside = -plane.depth - np.float32(scene.skull_mm)
    thickness: Grid | float = scene.scalp_mm
    if scene.scalp_haematoma is not None:
        angle, spread, extra, hu = scene.scalp_haematoma
        swelling = np.float32(extra) * np.clip(1 - (_turned(plane.angle, angle) / np.float32(spread)) ** 2, 0, 1)
        swelling = swelling * soft(np.float32(50) - plane.z, 30) * soft(plane.z + np.float32(25), 30)
        thickness = swelling + np.float32(scene.scalp_mm)
        paint(image, soft(thickness - outside, 1.5), 24.0)
        paint(image, soft(swelling - np.abs(outside - swelling) + np.float32(0.5), 1.5) * (swelling > 1), hu)
    else:
        paint(image, soft(np.float32(thickness) - outside, 1.5), 24.0)
    paint(image, soft(np.float32(scene.skull_mm) + plane.depth, 1.0), scene.skull_hu)
    paint(image, bump(plane.depth + np.float32(scene.skull_mm / 2), scene.skull_mm / 5), scene.skull_hu * 0.6)


def _paint_brain(scene: HeadScene, plane: _Plane, image: Grid, ventricles: Grid, cistern: Grid) -> None:
    paint(image, soft(plane.depth, 1.0), 8.0)
    paint(image, soft(plane.brain_depth, 1.2), scene.grey_hu)
    paint(image, soft(plane.brain_depth - np.float32(4.5), 2.5), scene.white_hu)
    for side in (-1, 1):
        paint(image, _blob(plane, (side * 20.0, -4.0, 6.0), (8.0, 16.0, 14.0), 2.0), scene.grey_hu)
    if scene.infarct is not None:
        cover = _blob(plane, scene.infarct.centre_mm, scene.infarct.radii_mm, 4.0) * soft(plane.brain_depth, 1.2)
        paint(image, cover, scene.infarct.hu)
    paint(image, ventricles, 6.0)
    paint(image, cistern, 8.0)
    falx = soft(np.float32(scene.falx_mm) - np.abs(plane.x), 1.0) * soft(plane.depth, 1.0)
    falx *= soft(plane.z + np.float32(8), 6) * soft(np.abs(plane.y) - (np.float32(34) - plane.z), 6)
    paint(image, falx * np.float32(0.8), 50.0)
    sinus = soft(np.float32(4.5) - np.hypot(plane.x * np.float32(0.8), plane.depth - 3), 1.5) * (plane.y > 0)
    paint(image, sinus * (plane.z > -25), scene.sinus_hu)


def _paint_bone(scene: HeadScene, plane: _Plane, image: Grid, rng: np.random.Generator) -> None:
    for spot in scene.calcifications:
        paint(image, _blob(plane, spot.centre_mm, spot.radii_mm, 1.5), spot.hu)
    if plane.z.min() > -20:
        return
    cells = np.float32(900) + np.float32(350) * mottle(rng, SIZE_PX, 4)
    height = bump(plane.z + np.float32(44), 9)
    for side in (-1, 1):
        petrous = _ridge(plane, (side * 14.0, -6.0), (side * 56.0, 26.0), 7.0)
        wing = _ridge(plane, (side * 10.0, -26.0), (side * 54.0, -36.0), 4.0)
        paint(image, np.maximum(petrous, wing) * height * soft(plane.depth, 1.0), cells)
    nose = _blob(plane, (0.0, -62.0, -62.0), (16.0, 22.0, 18.0), 3.0) * soft(plane.depth, 1.0)
    paint(image, nose, -600.0)


def _add_streak(streak: Streak, plane: _Plane, image: Grid) -> None:
    across = (plane.x - np.float32(streak.at_mm[0])) * np.float32(np.sin(streak.angle_rad))
    across = across - (plane.y - np.float32(streak.at_mm[1])) * np.float32(np.cos(streak.angle_rad))
    near = bump(plane.z - np.float32(streak.at_mm[2]), 7)
    image += np.float32(streak.hu) * bump(across, streak.width_mm) * near * soft(plane.depth, 1.0)


# ------------------------------------------------------------------ shapes inside the head


def _ventricles(scene: HeadScene, plane: _Plane) -> Grid:
    size = scene.ventricle
    third = _blob(plane, (scene.ventricle_skew / 2, 0.0, -6.0), (2.2 * size, 12.0, 9.0), 1.5)
    bodies = [third]
    for side in (-1.0, 1.0):
        middle = side * 10.5 * size**0.4 + scene.ventricle_skew
        bodies.append(_blob(plane, (middle, -12.0, 12.0), (5.5 * size, 18.0, 14.0), 1.5))
        bodies.append(_blob(plane, (middle * 1.5, 20.0, 10.0), (5.5 * size, 17.0, 15.0), 1.5))
    cover = bodies[0]
    for body in bodies[1:]:
        cover = np.maximum(cover, body)
    return cover * soft(plane.brain_depth, 1.2)


def _cistern(plane: _Plane) -> Grid:
    x, y = plane.x, plane.y + np.float32(4)
    star = np.float32(13) * (1 + np.float32(0.45) * np.cos(5 * np.arctan2(x, -y)))
    flat = soft(star - np.hypot(x, y), 1.5)
    return flat * soft(np.float32(9) - np.abs(plane.z + np.float32(24)), 4) * soft(plane.brain_depth, 1.2)


def _blob(plane: _Plane, centre: tuple[float, float, float], radii: tuple[float, float, float], edge_mm: float) -> Grid:
    x, y, z = (
        (axis - np.float32(at)) * np.float32(1 / radius)
        for axis, at, radius in zip((plane.x, plane.y, plane.z), centre, radii, strict=True)
    )
    return soft((1 - np.sqrt(x * x + y * y + z * z)) * np.float32(min(radii)), edge_mm)


def _ridge(plane: _Plane, start: tuple[float, float], end: tuple[float, float], half_width_mm: float) -> Grid:
    along = np.subtract(end, start)
    length = float(np.hypot(*along))
    cos, sin = np.float32(along[0] / length), np.float32(along[1] / length)
    x, y = plane.x - np.float32(start[0]), plane.y - np.float32(start[1])
    beyond = np.abs(cos * x + sin * y - np.float32(length / 2)) - np.float32(length / 2)
    return soft(np.float32(half_width_mm) - np.hypot(cos * y - sin * x, np.clip(beyond, 0, None)), 2.0)


def _turned(angle: Grid, by: float) -> Grid:
    """Give the angles seen from direction `by`, in -pi..pi."""
    turned: Grid = np.mod(angle - np.float32(by - np.pi), np.float32(2 * np.pi)) - np.float32(np.pi)
    return turned


def _bleed_cover(scene: HeadScene, plane: _Plane, ventricles: Grid, cistern: Grid) -> tuple[Grid, Grid]:
    """Give how far the lesion, and the oedema around it, cover each pixel (0..1)."""
    bleed = scene.bleed
    none = np.zeros_like(plane.depth)
    height = (plane.z - np.float32(bleed.z_mm)) / np.float32(bleed.reach_mm)
    profile = np.sqrt(np.clip(1 - height * height, 0, 1))
    if not profile.any():
        return none, none
    if bleed.kind == "IPH":
        return _clot(scene, plane)
    window = np.clip(1 - (_turned(plane.angle, bleed.angle_rad) / np.float32(bleed.spread_rad or 1)) ** 2, 0, 1)
    if bleed.kind in {"SDH", "EDH"}:
        taper = np.sqrt(window) if bleed.kind == "SDH" else window
        thickness = np.float32(bleed.radius_mm) * taper * profile
        return soft(thickness - plane.depth, 1.0) * soft(plane.depth, 1.0) * (thickness > 1), none
    if bleed.kind == "SAH":
        widened = plane.brain_depth - np.float32(1.0 + 2.5 * bleed.wobble[0] * 4)
        folds = soft(plane.depth, 1.0) * (1 - soft(widened, 1.2))
        return np.maximum(folds * (window > 0), cistern * (bleed.wobble[1] > 0.5)) * (profile > 0), none
    level = np.float32(38 - 34 * bleed.wobble[1])
    return ventricles * soft(plane.y - level, 2.0) * (profile > 0), none


def _clot(scene: HeadScene, plane: _Plane) -> tuple[Grid, Grid]:
    bleed = scene.bleed
    width, length, _ = scene.half_mm
    x = plane.x - np.float32(width * bleed.out * np.cos(bleed.angle_rad))
    y = plane.y - np.float32(length * bleed.out * np.sin(bleed.angle_rad))
    z = (plane.z - np.float32(bleed.z_mm)) * np.float32(bleed.radius_mm / bleed.reach_mm)
    lobes = 1 + np.float32(bleed.wobble[0]) * np.sin(3 * np.arctan2(y, x) + np.float32(6.3 * bleed.wobble[1]))
    distance = np.sqrt((x / np.float32(bleed.stretch[0])) ** 2 + (y / np.float32(bleed.stretch[1])) ** 2 + z * z)
    depth = np.float32(bleed.radius_mm) * lobes - distance
    brain = soft(plane.brain_depth, 1.2)
    rim = soft(depth + np.float32(5), 2.0) * brain if bleed.oedema else np.zeros_like(depth)
    return soft(depth, 1.5) * brain, rim

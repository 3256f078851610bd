"""Phantoms as the models meet them: the input a loader would make of the written DICOM, with its truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from models.contract import Radiograph, Volume
from models.reference.chest import FINDINGS, ChestScene, draw_chest, render_chest
from models.reference.dicom import STORED_HIGH, STORED_LOW, store_grey, store_hu
from models.reference.head import FIELD_OF_VIEW_MM, VISIBLE_MM2, HeadScene, draw_head, lesion_mm2, render_head
from models.reference.recipes import CHEST, HEAD_CT
from models.reference.shapes import enlarge
from models.steps import Floats, prepare

STEP_MM = 5.0
WHOLE_HEAD_MM = (-80.0, 80.0)
"""From where to where a 32-slice series reaches."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Network inputs in steps of 1/255, (items, channels, rows, columns), and their truth, (items, findings)."""

    inputs: Bytes
    truth: Bytes


# ------------------------------------------------------------------ as a loader would read them


def head_volume(scene: HeadScene, z_mm: Sequence[float], *, step_mm: float = STEP_MM, tilt_deg: float = 0.0) -> Volume:
    """Give the slices of a head as read back from `head_ct_study`'s files (identifiers and affine left plain)."""
    hu = store_hu(enlarge(render_head(scene, z_mm, tilt_deg=tilt_deg).hu)).astype(np.float32) - 1024
    pixel_mm, lean = FIELD_OF_VIEW_MM / hu.shape[1], float(np.cos(np.deg2rad(tilt_deg)))
    spacing_mm = (step_mm * lean, pixel_mm / lean, pixel_mm)
    uids = tuple(str(index) for index in range(len(hu)))
    return Volume(voxels=hu, spacing_mm=spacing_mm, affine_lps=np.eye(4), instance_uids=uids)


def chest_radiograph(scene: ChestScene) -> Radiograph:
    """Give a chest as read back from `radiograph_study`'s file."""
    stored = store_grey(enlarge(render_chest(scene))).astype(np.float32)
    return Radiograph(pixels=(stored - STORED_LOW) / np.float32(STORED_HIGH - STORED_LOW), instance_uid="0", view="PA")


def telling_position(scene: HeadScene) -> float:
    """Give a table position at which the lesion shows, or would show were it painted; by chance among them."""
    rng = np.random.default_rng([scene.seed, 4])
    bleed = scene.bleed
    for _ in range(12):
        z_mm = bleed.z_mm + float(rng.uniform(-0.75, 0.75)) * bleed.reach_mm
        if lesion_mm2(scene, z_mm) >= VISIBLE_MM2:
            return z_mm
    return bleed.z_mm


# ------------------------------------------------------------------ samples


def head_samples(seed: int, *, domain: str = "base") -> Samples:
    """Give two slices of one head, bleeding or not by chance: one where the lesion shows or would, one anywhere.

    The second teaches what skull base and vertex look like.  A slice of a bleeding head that shows some of the lesion,
    but less than `VISIBLE_MM2`, is left out: nobody could say what its truth is.
    """
    rng = np.random.default_rng([seed, 5])
    scene = draw_head(seed, haemorrhage=bool(rng.random() < 0.5), domain=domain)
    middles = (telling_position(scene), float(rng.uniform(*WHOLE_HEAD_MM)))
    shown = [lesion_mm2(scene, z) if scene.haemorrhage else 0.0 for z in middles]
    inputs = np.concatenate([_slice_input(scene, z) for z in middles])
    area = np.array(shown)
    clear = (area == 0) | (area >= VISIBLE_MM2)
    return Samples(inputs=inputs[clear], truth=(area[clear, None] > 0).astype(np.uint8))


def _slice_input(scene: HeadScene, z_mm: float) -> Bytes:
    volume = head_volume(scene, [z_mm - STEP_MM, z_mm, z_mm + STEP_MM])
    return to_bytes(prepare(volume, HEAD_CT.chain.before).pixels[1:-1])


def telling_slice(seed: int, *, haemorrhage: bool, domain: str) -> Samples:
    """Give the one slice of a head that a slice-level test looks at."""
    scene = draw_head(seed, haemorrhage=haemorrhage, domain=domain)
    inputs = _slice_input(scene, telling_position(scene))
    return Samples(inputs=inputs, truth=np.array([[haemorrhage]], dtype=np.uint8))


def head_study(seed: int, *, domain: str = "base", slices: int = 32) -> Bytes:
    """Give all slices of one head; an even seed bleeds, an odd one does not."""
    return to_bytes(prepare(whole_head(seed, domain=domain, slices=slices), HEAD_CT.chain.before).pixels)


def whole_head(seed: int, *, domain: str = "base", slices: int = 32, step_mm: float = STEP_MM) -> Volume:
    """Give the series of one head; an even seed bleeds, an odd one does not."""
    scene = draw_head(seed, haemorrhage=seed % 2 == 0, domain=domain)
    return head_volume(scene, standard_positions(slices, step_mm), step_mm=step_mm)


def standard_positions(slices: int, step_mm: float = STEP_MM) -> list[float]:
    """Give the table positions of a whole head in slices, feet to head, around its middle."""
    return [(index - (slices - 1) / 2) * step_mm for index in range(slices)]


def chest_sample(seed: int, *, domain: str = "base") -> Samples:
    """Give one chest with findings by chance."""
    scene = draw_chest(seed, domain=domain)
    inputs = to_bytes(prepare(chest_radiograph(scene), CHEST.chain.before).pixels)
    return Samples(inputs=inputs, truth=np.array([[name in scene.findings for name in FINDINGS]], dtype=np.uint8))


def to_bytes(pixels: Floats) -> Bytes:
    """Give 0..1 in steps of 1/255."""
    steps: Bytes = np.rint(pixels * np.float32(255)).astype(np.uint8)
    return steps


def join(samples: Iterable[Samples]) -> Samples:
    """Give many samples as one."""
    found = list(samples)
    return Samples(
        inputs=np.concatenate([one.inputs for one in found]), truth=np.concatenate([one.truth for one in found])
    )


SAMPLERS: Mapping[str, Callable[[int], Samples]] = {HEAD_CT.name: head_samples, CHEST.name: chest_sample}
"""How the training samples of each model are made from a seed."""

_Made = TypeVar("_Made")


def make_all(make: Callable[[int], _Made], seeds: Sequence[int], *, processes: int) -> Iterator[_Made]:
    """Give `make(seed)` for every seed, in order, from a pool of processes."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(make, seeds, chunksize=8)

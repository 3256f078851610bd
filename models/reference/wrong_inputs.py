"""Inputs that no reference model may judge: good ones turned or inverted, noise, other anatomy, real patients.

Each pipeline's loader would hand them over, were it not for the gates before and behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels.processing import apply_modality_lut

from models.contract import Radiograph, Volume
from models.reference.cases import STEP_MM, chest_radiograph, head_volume, standard_positions
from models.reference.chest import draw_chest
from models.reference.head import draw_head
from models.reference.radiographs import read_image, read_labelled
from models.reference.recipes import CHEST, HEAD_CT
from models.steps import Floats

FIRST_SEED = 8_000_000
HEADS, CHESTS, SLICES = 4, 12, 20

Image = Volume | Radiograph
Make = Callable[[Path], Sequence[Image]]
"""Gives the inputs of one kind; the folder is that of the real files."""


def _chests() -> list[Radiograph]:
    return [chest_radiograph(draw_chest(seed)) for seed in range(FIRST_SEED, FIRST_SEED + CHESTS)]


def _heads() -> list[Volume]:
    positions = standard_positions(SLICES)
    return [head_volume(draw_head(seed, haemorrhage=seed % 2 == 0), positions) for seed in _head_seeds()]


def _head_slices() -> list[Radiograph]:
    slices = [head_volume(draw_head(seed, haemorrhage=False), [0.0]) for seed in _head_seeds()]
    return [_shown(one.voxels[0], 40.0, 80.0) for one in slices]


REAL_SLICES = (
    "modality/CT_small.dcm",
    "modality/J2K_pixelrep_mismatch.dcm",
    "transfer_syntax/CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm",
    "bad/explicit_VR-UN.dcm",
)

WRONG_CHESTS: Mapping[str, Make] = {
    "inverted": lambda _: [replace(one, pixels=1 - one.pixels) for one in _chests()],
    "turned by 90°": lambda _: [replace(one, pixels=np.rot90(one.pixels)) for one in _chests()],
    "turned by 180°": lambda _: [replace(one, pixels=np.rot90(one.pixels, 2)) for one in _chests()],
    "noise": lambda _: [Radiograph(pixels=_noise(seed, (640, 640)), instance_uid="0") for seed in range(CHESTS)],
    "a slice of a head": lambda _: _head_slices(),
    "real chests, NIH": lambda data: read_labelled(data / "cxr")[0],
    "real chests, Hannover": lambda data: [read_image(path) for path in sorted((data / "covid_cxr").glob("*.png"))],
    "a real dog": lambda data: [_dog(data / "dicom" / "modality" / "dx_image.dcm")],
}

WRONG_HEADS: Mapping[str, Make] = {
    "inverted": lambda _: [replace(one, voxels=np.float32(40) - one.voxels) for one in _heads()],
    "turned by 90°": lambda _: [replace(one, voxels=np.rot90(one.voxels, axes=(1, 2))) for one in _heads()],
    "turned by 180°": lambda _: [replace(one, voxels=np.rot90(one.voxels, 2, axes=(1, 2))) for one in _heads()],
    "noise": lambda _: [_stack(2000 * _noise(seed, (SLICES, 512, 512)) - 1000) for seed in _head_seeds()],
    "a drawn trunk": lambda _: [_trunk(seed) for seed in _head_seeds()],
    "half as wide": lambda _: [_wider(one, 0.5) for one in _heads()],
    "twice as wide": lambda _: [_wider(one, 2.0) for one in _heads()],
    "on another scale, 1024 too high": lambda _: [replace(one, voxels=one.voxels + 1024) for one in _heads()],
    "its pixels shuffled": lambda _: [_shuffled(one) for one in _heads()],
    "a disc in air": lambda _: [_disc(hu) for hu in (30.0, 40.0, 50.0)],
    "one value throughout": lambda _: [_stack(np.full((SLICES, 256, 256), hu, np.float32)) for hu in (-1000, 0, 40)],
    "a real slice, repeated": lambda data: [_repeated(data / "dicom" / path) for path in REAL_SLICES],
}

WRONG: Mapping[str, Mapping[str, Make]] = {CHEST.name: WRONG_CHESTS, HEAD_CT.name: WRONG_HEADS}
"""By model: what it must not judge, by kind."""


def _head_seeds() -> range:
    return range(FIRST_SEED, FIRST_SEED + HEADS)


def _noise(seed: int, shape: tuple[int, ...]) -> Floats:
    return np.random.default_rng([seed, 6]).random(shape, dtype=np.float32)


def _shown(hu: Floats, level: float, width: float) -> Radiograph:
    pixels = np.clip((hu - (level - width / 2)) / width, 0, 1).astype(np.float32)
    return Radiograph(pixels=pixels, instance_uid="0")


def _dog(path: Path) -> Radiograph:
    pixels = pydicom.dcmread(path).pixel_array.astype(np.float32)
    low, high = np.percentile(pixels, [0.5, 99.5])
    shown = np.clip((pixels - low) / (high - low), 0, 1).astype(np.float32)
    return Radiograph(pixels=1 - shown, instance_uid="0")


def _trunk(seed: int) -> Volume:
    """Give an ellipse of soft tissue with two lungs and a spine."""
    rng = np.random.default_rng([seed, 7])
    side = 512
    down, across = (np.mgrid[:side, :side] - (side - 1) / 2) / (side / 2)
    hu = np.full((side, side), -1000.0)
    hu[np.hypot(down / 0.62, across / 0.92) < 1] = rng.uniform(30, 60)
    for lung in (-1, 1):
        hu[np.hypot((down + 0.05) / 0.42, (across - lung * rng.uniform(0.4, 0.5)) / 0.3) < 1] = rng.uniform(-870, -780)
    hu[np.hypot((down - 0.42) / 0.12, across / 0.12) < 1] = rng.uniform(300, 700)
    return _stack((hu + rng.normal(0, 12, (SLICES, side, side))).astype(np.float32))


def _wider(head: Volume, by: float) -> Volume:
    step_mm, rows_mm, columns_mm = head.spacing_mm
    return replace(head, spacing_mm=(step_mm, rows_mm * by, columns_mm * by))


def _shuffled(head: Volume) -> Volume:
    rng, flat = np.random.default_rng(9), head.voxels.reshape(len(head.voxels), -1)
    return replace(head, voxels=rng.permuted(flat, axis=1).reshape(head.voxels.shape))


def _disc(hu: float) -> Volume:
    """Give a disc of soft tissue as wide as a head, without a skull, the same in all slices."""
    side = 16
    down, across = np.mgrid[:side, :side] - (side - 1) / 2
    disc = np.where(np.hypot(down, across) < side / 3, np.float32(hu), np.float32(-1000))
    return _stack(np.repeat(disc[None], SLICES, axis=0), 12.0, 12.0)


def _repeated(path: Path) -> Volume:
    data_set = pydicom.dcmread(path)
    hu = np.maximum(apply_modality_lut(data_set.pixel_array, data_set).astype(np.float32), -1024)
    rows_mm, columns_mm = map(float, data_set.get("PixelSpacing", (1.0, 1.0)))
    return _stack(np.repeat(hu[None], SLICES, axis=0), rows_mm, columns_mm)


def _stack(voxels: Floats, row_mm: float = 0.5, column_mm: float = 0.5) -> Volume:
    return Volume(
        voxels=voxels,
        spacing_mm=(STEP_MM, row_mm, column_mm),
        affine_lps=np.eye(4),
        instance_uids=tuple(map(str, range(len(voxels)))),
    )

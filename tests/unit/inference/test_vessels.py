"""Bright vessels inside a skull are a sign of contrast medium; bone, a bleed and what lies outside are none."""

from __future__ import annotations

import numpy as np
import pytest

from inference.marks import CONTRAST_UNCERTAIN, marks_of_pixels
from inference.vessels import shows_contrast
from models.contract import Radiograph, Volume
from models.reference.cases import head_volume, standard_positions
from models.reference.head import draw_head
from models.zoo import chest_radiograph, head_ct_haemorrhage

SIDE = 256


def head(*, vessels_hu: float = 35.0, share: float = 0.02, skull_hu: float = 1000.0, turn: int = 0) -> Volume:
    """Draw a ring of bone around a brain, and columns of vessel through it; HU, pixels of 1 mm."""
    down, across = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    out = np.hypot(down / 90, across / 70)
    rng = np.random.default_rng(5)
    slices = np.full((24, SIDE, SIDE), -1000.0, dtype=np.float32)
    slices[:, out < 1.1] = skull_hu
    slices[:, out < 1.0] = 35.0
    inside = np.argwhere(out < 0.9)
    chosen = inside[rng.random(len(inside)) < share]
    slices[:, chosen[:, 0], chosen[:, 1]] = vessels_hu
    noisy = slices + rng.normal(0, 6, slices.shape).astype(np.float32)
    return volume(np.rot90(noisy, turn, axes=(1, 2)))


def volume(voxels: np.ndarray) -> Volume:
    uids = tuple(map(str, range(len(voxels))))
    return Volume(voxels=voxels, spacing_mm=(5.0, 1.0, 1.0), affine_lps=np.eye(4), instance_uids=uids)


def test_vessels_of_an_angiogram_are_seen() -> None:
    assert shows_contrast(head(vessels_hu=320.0))


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_they_are_seen_however_the_head_lies(turn: int) -> None:
    assert shows_contrast(head(vessels_hu=320.0, turn=turn))


@pytest.mark.parametrize(
    "plain",
    [
        head(),
        head(vessels_hu=85.0, share=0.1),
        head(vessels_hu=320.0, share=0.001),
        head(vessels_hu=320.0, skull_hu=60.0),
        volume(np.full((1, 4, 4), 35.0, dtype=np.float32)),
    ],
    ids=["brain", "a large bleed", "few calcifications", "no skull around", "one small slice"],
)
def test_what_else_is_bright_is_no_sign(plain: Volume) -> None:
    assert not shows_contrast(plain)


@pytest.mark.parametrize("seed", [40, 801])
@pytest.mark.parametrize("bleeds", [True, False])
def test_drawn_heads_show_none(seed: int, *, bleeds: bool) -> None:
    assert not shows_contrast(head_volume(draw_head(seed, haemorrhage=bleeds), standard_positions(24)))


def test_the_sign_marks_the_answer_of_a_model_for_heads_and_of_no_other() -> None:
    enhanced = head(vessels_hu=320.0)
    assert marks_of_pixels(enhanced, head_ct_haemorrhage.CARD.input_rules) == (CONTRAST_UNCERTAIN,)
    assert marks_of_pixels(head(), head_ct_haemorrhage.CARD.input_rules) == ()
    film = Radiograph(pixels=np.ones((8, 8), dtype=np.float32), instance_uid="2.25.1")
    assert marks_of_pixels(film, chest_radiograph.CARD.input_rules) == ()

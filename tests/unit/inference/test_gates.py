"""The gates between a decoded input and an answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.errors import NotSuitable
from inference.gates import check_input, check_known, check_scores, without_corners
from models.contract import KnownInputs, Prediction, Radiograph, Volume
from tests.builders import card

KNOWN = KnownInputs(file="a", sha256="0", threshold=90.0, dataset="here")


def volume(air_hu: float, tissue_hu: float) -> Volume:
    """Half air, half tissue, with noise."""
    voxels = np.full((4, 64, 64), air_hu, dtype=np.float32)
    voxels[:, 32:] = tissue_hu
    voxels += np.random.default_rng(0).normal(0, 2, voxels.shape).astype(np.float32)
    return Volume(voxels=voxels, spacing_mm=(5.0, 1.0, 1.0), affine_lps=np.eye(4), instance_uids=("1",) * 4)


@pytest.mark.parametrize(
    ("air_hu", "tissue_hu", "detail"),
    [
        (-1000, 32, ""),
        (-870, 32, "most air at -870 HU, -1100 to -900 expected"),
        (-1000, 62, "most soft tissue at 60 HU, 15 to 50 expected"),
        (-1000, 500, "0.0% of voxels look like soft tissue"),
    ],
)
def test_air_and_brain_lie_where_hounsfield_put_them(air_hu: float, tissue_hu: float, detail: str) -> None:
    rules = replace(card().input_rules, tissue_mode_hu=(15.0, 50.0))
    if not detail:
        check_input(volume(air_hu, tissue_hu), rules)
        return
    with pytest.raises(NotSuitable) as refused:
        check_input(volume(air_hu, tissue_hu), rules)
    assert (refused.value.reason, refused.value.detail) == ("hu_implausible", detail)


def test_a_long_stack_is_judged_by_slices_from_all_over_it() -> None:
    rules = replace(card().input_rules, tissue_mode_hu=(15.0, 50.0))
    good, wrong = volume(-1000, 32), volume(-1000, 62)
    for share, accepted in ((0.75, True), (0.25, False)):  # which tissue is the commonest
        voxels = np.tile(wrong.voxels, (100, 1, 1))
        voxels[: round(share * len(voxels))] = good.voxels[0]
        long = replace(good, voxels=voxels, instance_uids=("1",) * len(voxels))
        if accepted:
            check_input(long, rules)
        else:
            with pytest.raises(NotSuitable):
                check_input(long, rules)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_voxel_that_is_not_a_number_is_enough(value: float) -> None:
    image = volume(-1000, 32)
    image.voxels[2, 3, 5] = value
    with pytest.raises(NotSuitable, match="not_finite"):
        check_input(image, card().input_rules)


@pytest.mark.parametrize("distance", [90.1, float("nan"), float("inf"), None])
def test_what_the_model_does_not_know_is_refused_and_so_is_what_has_no_distance(distance: float | None) -> None:
    with pytest.raises(NotSuitable, match="ood"):
        check_known(replace(card(), known_inputs=KNOWN), Prediction(scores={"a": 0.9}, distance=distance))


def test_what_the_model_knows_is_let_through_and_a_model_without_statistics_asks_nothing() -> None:
    check_known(replace(card(), known_inputs=KNOWN), Prediction(scores={"a": 0.9}, distance=90.0))
    check_known(card(), Prediction(scores={"a": 0.9}))


@pytest.mark.parametrize("scores", [{"a": float("nan")}, {"a": 1.2}, {"a": -0.1}, {"a": 1.0, "b": 1.0}])
def test_a_score_that_makes_no_sense_is_no_answer(scores: dict[str, float]) -> None:
    with pytest.raises(NotSuitable, match="score_implausible"):
        check_scores(Prediction(scores=scores))


@pytest.mark.parametrize("scores", [{"a": 1.0}, {"a": 1.0, "b": 0.2}, {"a": 0.0, "b": 0.0}])
def test_a_score_at_its_end_alone_is_an_answer(scores: dict[str, float]) -> None:
    check_scores(Prediction(scores=scores))


def test_masked_corners_leave_the_middle_as_it_was() -> None:
    pixels = np.random.default_rng(0).random((40, 60)).astype(np.float32)
    masked = without_corners(Radiograph(pixels=pixels, instance_uid="1")).pixels
    assert (masked[6:34] == pixels[6:34]).all()
    assert (masked[:, 9:51] == pixels[:, 9:51]).all()
    assert len(np.unique(masked[:6, :9])) == len(np.unique(masked[34:, 51:])) == 1

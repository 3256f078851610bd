"""The steps before and after a network, on inputs small enough to do by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.chains import Chain, Step
from models.contract import Radiograph, Volume
from models.errors import ChainInvalid
from models.reference.recipes import CHEST, HEAD_CT
from models.steps import prepare, reduce_scores


def volume(voxels, spacing_mm=(5.0, 1.0, 1.0)):
    voxels = np.asarray(voxels, dtype=np.float32)
    uids = tuple(f"1.{index}" for index in range(len(voxels)))
    return Volume(voxels=voxels, spacing_mm=spacing_mm, affine_lps=np.eye(4), instance_uids=uids)


def radiograph(pixels):
    return Radiograph(pixels=np.asarray(pixels, dtype=np.float32), instance_uid="1.1")


def test_the_highest_run_is_of_neighbours():
    logits = np.array([[9, 0], [0, 1], [2, 1], [3, 0], [4, 0]], dtype=np.float32)
    run = [Step(name="highest-run", parameters={"count": 3})]
    assert reduce_scores(logits, run).tolist() == [pytest.approx(11 / 3), pytest.approx(2 / 3)]
    assert reduce_scores(logits[:2], run).tolist() == [4.5, 0.5]


def test_a_mirrored_chain_is_another_chain():
    plain = Chain(before=(), after=(Step(name="probability"),))
    assert replace(plain, mirrored=True).canonical() != plain.canonical()
    assert "mirrored" not in plain.canonical()


def test_thin_slices_are_averaged_to_slabs_and_each_slice_knows_its_slab():
    thin = volume(np.arange(5)[:, None, None] * np.ones((1, 2, 2)), spacing_mm=(2.5, 1.0, 1.0))
    frames = prepare(thin, [Step(name="slabs", parameters={"thickness_mm": 5.0})])
    assert frames.pixels[:, 0, 0].tolist() == [0.5, 2.5, 4.0]
    assert frames.source == (0, 0, 1, 1, 2)
    assert frames.spacing_mm == (5.0, 1.0, 1.0)


def test_thick_slices_stay_as_they_are():
    frames = prepare(volume(np.zeros((3, 2, 2))), [Step(name="slabs", parameters={"thickness_mm": 5.0})])
    assert frames.source == (0, 1, 2)


def test_in_plane_resampling_averages_areas_and_fills_what_the_image_does_not_reach():
    step = Step(name="resample-in-plane", parameters={"size": 4, "pixel_mm": 2.0, "outside": -1000.0})
    frames = prepare(volume([[[0, 2, 10, 10], [4, 6, 10, 10], [1, 1, 3, 3], [1, 1, 3, 3]]]), [step])
    expected = [[-1000, -1000, -1000, -1000], [-1000, 3, 10, -1000], [-1000, 1, 3, -1000], [-1000] * 4]
    assert frames.pixels[0].tolist() == expected


def test_in_plane_resampling_keeps_the_mean_when_pixels_do_not_fit_whole():
    pixels = np.random.default_rng(0).uniform(0, 100, (1, 30, 30))
    step = Step(name="resample-in-plane", parameters={"size": 12, "pixel_mm": 2.5, "outside": 0.0})
    frames = prepare(volume(pixels), [step])
    assert frames.pixels.mean() == pytest.approx(pixels.mean(), rel=1e-5)


def test_windows_put_the_neighbours_beside_each_slice_and_repeat_the_ends():
    step = Step(name="windows-with-neighbours", parameters={"windows": ((40.0, 80.0), (0.0, 200.0))})
    frames = prepare(volume(np.array([0.0, 40.0, 200.0])[:, None, None]), [step])
    assert frames.pixels[:, :, 0, 0].tolist() == [[0, 0, 0.5, 0.5], [0, 0.5, 1, 0.699999988079071], [0.5, 1, 1, 1]]


def test_stretch_spans_the_percentiles_and_clips_beyond():
    step = Step(name="stretch", parameters={"low": 0.0, "high": 50.0})
    frames = prepare(radiograph([[0.2, 0.4, 0.6]]), [step])
    assert frames.pixels[0, 0].tolist() == pytest.approx([0.0, 1.0, 1.0])


def test_a_flat_image_is_stretched_to_zero_not_to_nan():
    frames = prepare(radiograph(np.full((4, 4), 0.3)), [Step(name="stretch", parameters={"low": 0.5, "high": 99.5})])
    assert not frames.pixels.any()


def test_a_wide_image_is_padded_to_a_square_then_halved():
    steps = [Step(name="pad-to-square", parameters={"value": 0.0}), Step(name="resize", parameters={"size": 2})]
    frames = prepare(radiograph([[1, 1, 1, 1], [1, 1, 1, 1]]), [*steps, Step(name="one-channel")])
    assert frames.pixels.tolist() == [[[[0.5, 0.5], [0.5, 0.5]]]]


def test_probabilities_of_extreme_logits_stay_in_range():
    scores = reduce_scores(np.array([[1e4], [-1e4]], dtype=np.float32), [Step(name="probability")])
    assert scores.ravel().tolist() == [1.0, 0.0]


def test_an_unknown_step_and_a_missing_parameter_are_named():
    with pytest.raises(ChainInvalid, match="no step is called 'eval'"):
        prepare(radiograph([[0.0]]), [Step(name="eval")])
    with pytest.raises(ChainInvalid, match="'size'"):
        prepare(radiograph([[0.0]]), [Step(name="resize")])


def test_the_canonical_text_of_a_chain_holds_versions_and_tells_parameters_apart():
    one = Chain(before=(Step(name="resize", parameters={"size": 8}),), after=(Step(name="probability"),))
    two = Chain(before=(Step(name="resize", parameters={"size": 9}),), after=(Step(name="probability"),))
    assert one.canonical() == (
        '{"after":[{"step":"probability","version":1}],"before":[{"size":8,"step":"resize","version":1}]}'
    )
    assert one.canonical() != two.canonical()


@pytest.mark.parametrize("recipe", [HEAD_CT, CHEST], ids=lambda recipe: recipe.name)
def test_every_step_of_a_shipped_chain_is_in_the_vocabulary(recipe):
    assert '"version":1' in recipe.chain.canonical()


def test_the_square_in_the_middle_is_kept():
    pixels = np.arange(20, dtype=np.float32).reshape(4, 5) / 20
    for image in (pixels, pixels.T):
        frames = prepare(Radiograph(pixels=image, instance_uid="1.2"), [Step(name="centre-square")])
        assert frames.pixels.shape == (1, 4, 4)
        assert (frames.pixels[0] == image[:4, :4]).all()


def test_an_image_becomes_channels_in_units_of_their_deviation():
    image = Radiograph(pixels=np.array([[0, 1]], dtype=np.float32), instance_uid="1.2")
    scaled = prepare(image, [Step(name="scale", parameters={"low": -1024, "high": 1024})])
    assert scaled.pixels.tolist() == [[[-1024, 1024]]]
    channels = prepare(
        image, [Step(name="normalised-channels", parameters={"means": [0.5, 0.0], "deviations": [0.5, 2.0]})]
    )
    assert channels.pixels.tolist() == [[[[-1, 1]], [[0, 0.5]]]]


def test_heads_that_are_not_listed_are_gone():
    kept = reduce_scores(np.array([[1, 2, 3]], dtype=np.float32), [Step(name="heads", parameters={"outputs": [2, 0]})])
    assert kept.tolist() == [[3, 1]]


def test_the_operating_point_becomes_one_half_and_the_ends_stay():
    step = Step(name="operating-point-norm", parameters={"thresholds": [0.2]})
    found = reduce_scores(np.array([[0.0], [0.1], [0.2], [0.6], [1.0]], dtype=np.float32), [step])
    assert found[:, 0] == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_shares_add_up_to_one_whatever_the_logits():
    found = reduce_scores(np.array([[1000.0, 1000.0], [0.0, np.log(3)]], dtype=np.float32), [Step(name="shares")])
    assert found == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.75]]))

"""How far an input lies from what a model knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.contract import KnownInputs
from models.errors import WeightsCorrupt, WeightsMissing
from models.ood import KnownFeatures, fit_known, load_known, save_known
from models.reference.page import PAGES, known_inputs_page
from models.weights import sha256_of

RNG = np.random.default_rng(0)
SEEN = RNG.normal(3.0, 1.0, (4000, 80)) @ RNG.normal(0, 1, (80, 80))


@pytest.fixture(scope="module")
def known() -> KnownFeatures:
    return fit_known(SEEN, components=64)


def test_an_accepted_input_lies_about_as_far_as_there_are_components(known: KnownFeatures) -> None:
    distances = [known.distance(one[None]) for one in SEEN]
    assert known.whitening.shape == (64, 80)
    assert np.mean(distances) == pytest.approx(64, rel=0.05)
    assert known.distance(known.middle[None]) == 0.0


def test_a_shift_of_every_feature_lies_far_off(known: KnownFeatures) -> None:
    farthest = max(known.distance(one[None]) for one in SEEN)
    assert known.distance(SEEN[:1] * 3) > farthest


def test_of_a_stack_the_middle_item_counts_so_one_strange_slice_does_not(known: KnownFeatures) -> None:
    usual = known.distance(SEEN[:9])
    strange = np.concatenate([SEEN[:9], SEEN[:1] * 100])
    assert known.distance(strange) == pytest.approx(usual, rel=0.2)
    assert known.distance(np.concatenate([SEEN[:4], SEEN[:6] * 100])) > 100 * usual


def test_few_inputs_are_not_taken_at_their_word() -> None:
    few = RNG.normal(0, 1, (40, 64))
    others = RNG.normal(0, 1, (200, 64))
    believed = KnownFeatures(middle=few.mean(axis=0), whitening=np.diag(1 / few.std(axis=0)).astype(np.float64))
    shrunk = fit_known(few)
    assert np.mean([shrunk.distance(one[None]) for one in others]) < np.mean(
        [believed.distance(one[None]) for one in others]
    )


def test_what_is_known_survives_its_file_and_a_changed_file_is_refused(known: KnownFeatures, tmp_path: Path) -> None:
    path = tmp_path / "a.known.safetensors"
    save_known(known, path)
    said = KnownInputs(file=path.name, sha256=sha256_of(path), threshold=90.0, dataset="here")
    read = load_known(path, said)
    assert read.distance(SEEN[:5]) == pytest.approx(known.distance(SEEN[:5]), rel=1e-4)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsCorrupt, match=said.sha256):
        load_known(path, said)
    path.unlink()
    with pytest.raises(WeightsMissing):
        load_known(path, said)


def test_the_page_says_what_lies_beside_the_weights() -> None:
    assert (PAGES / "known-inputs.md").read_text(encoding="utf-8") == known_inputs_page()

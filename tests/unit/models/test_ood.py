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
    return fit_known([SEEN], components=64)


def test_an_accepted_input_lies_about_as_far_as_there_are_components(known: KnownFeatures) -> None:
    distances = [known.distance(one[None]) for one in SEEN]
    assert known.whitening.shape == (1, 64, 80)
    assert np.mean(distances) == pytest.approx(64, rel=0.05)
    assert known.distance(known.middle) == 0.0


def test_a_shift_of_every_feature_lies_far_off(known: KnownFeatures) -> None:
    farthest = max(known.distance(one[None]) for one in SEEN)
    assert known.distance(SEEN[:1] * 3) > farthest


def test_of_a_stack_the_nearest_quarter_counts_so_strange_slices_among_good_ones_do_not(known: KnownFeatures) -> None:
    farthest = max(known.distance(one[None]) for one in SEEN[:6])
    assert known.distance(np.concatenate([SEEN[:6], SEEN[:6] * 100])) <= farthest
    assert known.distance(np.concatenate([SEEN[:2], SEEN[:10] * 100])) > 100 * farthest


def test_what_lies_between_two_kinds_is_of_neither() -> None:
    kinds = [RNG.normal(at, 1.0, (500, 8)) for at in (-20.0, 20.0)]
    apart, together = fit_known(kinds, components=8), fit_known([np.concatenate(kinds)], components=8)
    between, usual = np.zeros((1, 8)), kinds[1][:1]
    assert together.distance(between) < together.distance(usual)
    assert apart.distance(between) > 100 * apart.distance(usual)


def test_an_item_is_as_far_off_as_from_the_kind_that_it_lies_nearest_to() -> None:
    kinds = [RNG.normal(at, 1.0, (500, 8)) for at in (-20.0, 20.0)]
    known = fit_known(kinds, components=8)
    for kind, items in enumerate(kinds):
        alone = KnownFeatures(middle=known.middle[[kind]], whitening=known.whitening[[kind]])
        expected = [alone.distance(one[None]) for one in items[:20]]
        assert [known.distance(one[None]) for one in items[:20]] == pytest.approx(expected)


def test_few_inputs_are_not_taken_at_their_word() -> None:
    few = RNG.normal(0, 1, (40, 64))
    others = RNG.normal(0, 1, (200, 64))
    believed = KnownFeatures(middle=few.mean(axis=0)[None], whitening=np.diag(1 / few.std(axis=0))[None])
    shrunk = fit_known([few])
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


def test_a_file_of_one_kind_that_was_written_without_kinds_is_read_too(known: KnownFeatures, tmp_path: Path) -> None:
    flat = KnownFeatures(middle=known.middle[0], whitening=known.whitening[0])
    path = tmp_path / "a.known.safetensors"
    save_known(flat, path)
    read = load_known(path, KnownInputs(file=path.name, sha256=sha256_of(path), threshold=90.0, dataset="here"))
    assert read.distance(SEEN[:5]) == pytest.approx(known.distance(SEEN[:5]), rel=1e-4)


def test_the_page_says_what_lies_beside_the_weights() -> None:
    assert (PAGES / "known-inputs.md").read_text(encoding="utf-8") == known_inputs_page()

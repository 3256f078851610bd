"""Golden vectors: a model that answers otherwise than when it was made is not used, and the others are."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from inference import child
from models import golden, registry
from models.errors import GoldenMismatch, WeightsMissing
from tests.builders import TrialModel

torch = pytest.importorskip("torch", reason="running a network needs the extra `ai`")

CHEST, HEAD = "chest-radiograph", "head-ct-haemorrhage"


@pytest.fixture(scope="module")
def loaded():
    return registry.load(registry.card(CHEST), "cpu")


@pytest.fixture
def vectors(tmp_path):
    return shutil.copy(registry.golden_of(registry.card(CHEST)), tmp_path / "model.golden.safetensors")


def test_the_images_are_the_same_bits_everywhere():
    radiographs, volumes = golden.draw("radiograph"), golden.draw("volume")
    assert [golden._digest(images) for images in (radiographs, volumes)] == [
        "b9dc6fcea13bc2147f1d749836957f343ae4ba65261a58196ef6f0a79c9281ac",
        "321a3b0be634acb69839b6a5cf077c057827b879c9b452ae8cf0fb3b69ccfb3b",
    ]
    assert len(radiographs) == len(volumes) == 3
    assert all(0 <= image.pixels.min() < 0.2 < 0.8 < image.pixels.max() <= 1 for image in radiographs)


def test_a_loaded_model_gives_its_golden_vectors(loaded, vectors):
    golden.replay(loaded, vectors)


@pytest.mark.parametrize("off", [1e-3, np.nan], ids=["a little", "not a number"])
def test_logits_that_are_off_are_noticed(loaded, vectors, off):
    weights = {name: tensor.clone() for name, tensor in loaded.network.state_dict().items()}
    try:
        loaded.network.class_layers.out.bias.data += off
        with pytest.raises(GoldenMismatch, match=r"off its golden vectors; 0\.0001 is let by"):
            golden.replay(loaded, vectors)
    finally:
        loaded.network.load_state_dict(weights)
    golden.replay(loaded, vectors)


def test_a_changed_chain_is_noticed_too(loaded, vectors):
    steps = loaded.chain.before
    resized = tuple(replace(step, parameters={"size": 128}) if step.name == "resize" else step for step in steps)
    with pytest.raises(GoldenMismatch):
        golden.replay(replace(loaded, chain=replace(loaded.chain, before=resized)), vectors)


def test_vectors_of_another_kind_of_image_are_not_taken(loaded, vectors):
    shutil.copy(registry.golden_of(registry.card(HEAD)), vectors)
    with pytest.raises(GoldenMismatch, match="other images"):
        golden.replay(loaded, vectors)


def test_a_model_without_golden_vectors_is_not_used(loaded, tmp_path):
    with pytest.raises(WeightsMissing, match="no golden vectors"):
        golden.replay(loaded, tmp_path / "none.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"pickle")
    with pytest.raises(WeightsMissing, match="no golden vectors"):
        golden.replay(loaded, tmp_path / "other.safetensors")


def test_a_model_that_is_no_network_answers_for_itself(tmp_path):
    golden.replay(TrialModel(registry.card(CHEST)), tmp_path / "none.safetensors")


def test_a_mismatch_takes_one_model_out_of_service_and_leaves_the_others(vectors, monkeypatch):
    golden_of = registry.golden_of
    wrong = golden_of(registry.card(HEAD))
    monkeypatch.setattr(registry, "golden_of", lambda card, _imported: wrong if card.id == CHEST else golden_of(card))
    loaded = {card.id: child._load(card, "cpu") for card in registry.cards()}
    assert loaded[CHEST] == child.Failure(reason="weights", message="chest-radiograph cannot be loaded: GoldenMismatch")
    assert loaded[HEAD].card.id == HEAD

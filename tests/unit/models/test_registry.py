"""Finding and loading models, and every way in which a weight file can be wrong."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from models import registry, weights
from models.cards import model_digest, read_evidence
from models.errors import CardInvalid, ModelError, ModelUnknown, TorchMissing, WeightsCorrupt, WeightsMissing
from models.reference.recipes import CHEST, HEAD_CT


def test_both_reference_models_are_found_in_order_of_id():
    assert [card.id for card in registry.cards()] == ["chest-radiograph", "head-ct-haemorrhage"]


def test_cards_are_read_without_loading_torch():
    program = (
        "import sys; from models.registry import cards; cards(); print(sorted({'torch', 'monai'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_an_unknown_model_is_named_beside_the_known_ones():
    with pytest.raises(ModelUnknown, match=r"'liver'; installed are chest-radiograph, head-ct-haemorrhage"):
        registry.card("liver")


@pytest.fixture
def moved_weights(tmp_path, monkeypatch):
    """A copy of the head CT weights that a test may damage, where the registry looks for them."""
    card = registry.card(HEAD_CT.name)
    copy = shutil.copy(registry.weights_of(card), tmp_path)
    monkeypatch.setattr(registry, "weights_of", lambda wanted, _imported: tmp_path / wanted.weights_file)
    return card, tmp_path / card.weights_file if copy else None


def test_a_missing_weight_file_is_said_to_be_missing(moved_weights):
    card, path = moved_weights
    path.unlink()
    with pytest.raises(WeightsMissing, match=path.name):
        registry.load(card, "cpu")


def test_one_flipped_bit_in_the_weights_is_noticed_before_they_are_read(moved_weights):
    card, path = moved_weights
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsCorrupt, match=card.weights_sha256):
        registry.load(card, "cpu")


def test_a_worker_without_torch_hears_which_extra_to_install(moved_weights, monkeypatch):
    card, _ = moved_weights
    monkeypatch.setattr(weights, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(TorchMissing, match=r"torch not installed here.*extra `ai`"):
        registry.load(card, "cpu")


def test_weights_of_another_network_do_not_load_even_with_the_right_digest(moved_weights):
    card, path = moved_weights
    other = weights.weights_path(CHEST.name)
    shutil.copy(other, path)
    with pytest.raises(WeightsCorrupt, match="does not fit its network"):
        registry.load(replace(card, weights_sha256=weights.sha256_of(other)), "cpu")


def test_bytes_that_are_no_safetensors_file_do_not_load(moved_weights):
    card, path = moved_weights
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(WeightsCorrupt, match="does not fit its network"):
        registry.load(replace(card, weights_sha256=weights.sha256_of(path)), "cpu")


def test_every_error_is_a_model_error_with_a_sentence():
    errors = ModelError.__subclasses__()
    assert len(errors) == 12
    assert all(str(error()).endswith(".") for error in errors)


def test_an_evidence_file_that_says_too_little_makes_no_card(tmp_path):
    (tmp_path / "model.json").write_text('{"weights_sha256": "00"}')
    with pytest.raises(CardInvalid, match=r"model\.json"):
        read_evidence(tmp_path / "model.json")


def test_another_threshold_or_chain_or_weight_or_knowledge_makes_another_model():
    card = registry.card(HEAD_CT.name)
    finding, known = card.findings[0], card.known_inputs
    moved = replace(finding, operating_point=replace(finding.operating_point, threshold=0.123))
    digests = {
        model_digest(card.weights_sha256, HEAD_CT.chain, card.findings, known),
        model_digest(card.weights_sha256, HEAD_CT.chain, (moved,), known),
        model_digest(card.weights_sha256, CHEST.chain, card.findings, known),
        model_digest("00", HEAD_CT.chain, card.findings, known),
        model_digest(card.weights_sha256, HEAD_CT.chain, card.findings, replace(known, threshold=1.0)),
    }
    assert len(digests) == 5
    assert card.digest in digests

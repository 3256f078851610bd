"""A small retraining learns, and the page says what was measured."""

from __future__ import annotations

import json

import pytest

from models.reference import page
from models.reference.recipes import CHEST, RECIPES
from models.weights import weights_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_small_retraining_clears_the_floor():
    pytest.importorskip("torch", reason="training needs the extra `ai`")
    from models.network_model import forward
    from models.reference.statistics import auc
    from models.reference.train import draw_samples, fit, untrained

    learnt = draw_samples(CHEST, (0, 500), processes=2)
    asked = draw_samples(CHEST, (1_000_000, 120), processes=2)
    network = fit(
        CHEST, untrained(CHEST, seed=0), learnt, seed=0, epochs=5, learning_rate=4e-3, arithmetic="float32"
    )  # which every processor has
    logits = forward(network, asked.inputs.astype("float32") / 255, device="cpu")
    effusion = CHEST.findings.index("effusion")
    assert auc(asked.truth[:, effusion], logits[:, effusion]) >= 0.70


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_the_committed_page_is_the_one_the_committed_figures_make(recipe):
    found = json.loads(weights_path(recipe.name).with_suffix(".json").read_text())
    assert (page.PAGES / f"{recipe.name}.md").read_text() == page.page_of(recipe, found)

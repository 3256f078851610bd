"""The drawn heads and chests: repeatable, and fixed for the held-out sets."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from models.reference.cases import telling_position
from models.reference.chest import CHEST_DOMAINS, FINDINGS, RATES, draw_chest, render_chest
from models.reference.head import HEAD_DOMAINS, KINDS, VISIBLE_MM2, draw_head, lesion_mm2, render_head
from models.reference.held_out import HELD_OUT, HELD_OUT_FILE, describe
from models.reference.recipes import RECIPES


def test_the_held_out_phantoms_are_those_that_were_fixed_before_training():
    assert json.loads(json.dumps(describe())) == json.loads(HELD_OUT_FILE.read_text())


def test_no_seed_is_used_twice_among_training_validation_and_held_out():
    for name, recipe in RECIPES.items():
        spans = [
            range(first, first + count)
            for first, count in (*(course.phantoms for course in recipe.courses), recipe.validation)
        ]
        spans += [seeds for one in HELD_OUT if one.model == name for seeds in (one.case_seeds(), one.study_seeds())]
        spans += [range(recipe.validation[0] + 50_000, recipe.validation[0] + 50_000 + recipe.validation[1])]
        assert len(set().union(*spans)) == sum(len(span) for span in spans)


def test_the_same_seed_draws_the_same_head_to_the_bit():
    scene = draw_head(7, haemorrhage=True)
    assert scene == draw_head(7, haemorrhage=True)
    assert render_head(scene, [0.0]).hu.tobytes() == render_head(scene, [0.0]).hu.tobytes()


def test_the_same_seed_draws_the_same_chest_to_the_bit():
    assert draw_chest(7) == draw_chest(7)
    assert render_chest(draw_chest(7)).tobytes() == render_chest(draw_chest(7)).tobytes()


def test_a_slice_does_not_depend_on_what_is_drawn_beside_it():
    scene = draw_head(3, haemorrhage=True)
    assert (render_head(scene, [-5.0, 0.0, 5.0]).hu[1] == render_head(scene, [0.0]).hu[0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_bleeding_head_differs_from_its_twin_only_where_it_bleeds(kind):
    bleeding = replace(draw_head(21, haemorrhage=True, kind=kind), noise_hu=0.0)
    z_mm = telling_position(bleeding)
    drawn = render_head(bleeding, [z_mm])
    change = drawn.hu - render_head(replace(bleeding, haemorrhage=False), [z_mm]).hu
    assert drawn.lesion_mm2[0] >= VISIBLE_MM2
    assert drawn.lesion_mm2[0] == pytest.approx(lesion_mm2(bleeding, z_mm))
    assert change.max() > 5
    assert (np.abs(change) > 0.01).mean() < 0.25


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_changes_part_of_the_chest_and_leaves_the_rest(finding):
    scene = replace(draw_chest(5, findings=frozenset({finding})), noise=0.0)
    change = np.abs(render_chest(scene) - render_chest(replace(scene, findings=())))
    assert change.max() > 0.02
    assert (change > 0.001).mean() < 0.4


def test_findings_and_confounders_come_at_their_rates():
    scenes = [draw_chest(seed) for seed in range(1500)]
    shares = {name: np.mean([name in scene.findings for scene in scenes]) for name in FINDINGS}
    assert shares == pytest.approx(dict(RATES), abs=0.04)
    assert np.mean([scene.skin_fold is not None for scene in scenes]) == pytest.approx(0.30, abs=0.04)
    assert np.mean([bool(scene.leads) for scene in scenes]) == pytest.approx(0.30, abs=0.04)


def test_haemorrhages_and_confounders_of_the_head_come_at_their_rates():
    scenes = [draw_head(seed, haemorrhage=True) for seed in range(1500)]
    kinds = [scene.bleed.kind for scene in scenes]
    assert {kind: kinds.count(kind) / 1500 for kind in KINDS} == pytest.approx(dict(KINDS), abs=0.04)
    assert np.mean([bool(scene.calcifications) for scene in scenes]) == pytest.approx(0.45, abs=0.04)
    assert np.mean([scene.sinus_hu >= 48 for scene in scenes]) == pytest.approx(0.35, abs=0.04)
    assert np.mean([scene.scalp_haematoma is not None for scene in scenes]) == pytest.approx(0.20, abs=0.04)
    assert np.mean([bool(scene.streaks) for scene in scenes]) == pytest.approx(0.20, abs=0.04)


def test_each_model_has_three_shifted_domains():
    assert {domain for domain in HEAD_DOMAINS if domain != "base"} == {"shift-noise", "shift-anatomy", "shift-lesions"}
    assert set(CHEST_DOMAINS) == set(HEAD_DOMAINS)


def test_an_unknown_finding_is_refused():
    with pytest.raises(ValueError, match="cardiomegaly"):
        draw_chest(1, findings=frozenset({"cardiomegaly"}))

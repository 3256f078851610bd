"""What `TriageModel` promises, asked of every model that the registry finds, on the CPU."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from models import golden, registry
from models.contract import BatchModel, Radiograph, Urgency, Volume
from models.reference.cases import chest_radiograph, head_volume, standard_positions, whole_head
from models.reference.chest import draw_chest
from models.reference.dicom import PHANTOM_UID_ROOT
from models.reference.head import draw_head, make_plain
from models.reference.wrong_inputs import WRONG_HEADS
from models.weights import sha256_of

pytest.importorskip("torch", reason="running a network needs the extra `ai`")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MONAI and torch warn of their own futures on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

KNOWING = pytest.mark.parametrize(
    "card", [card for card in registry.cards() if card.known_inputs is not None], ids=lambda card: card.id
)
EVERY = pytest.mark.parametrize("card", registry.cards(), ids=lambda card: card.id)


@pytest.fixture(scope="module")
def loaded():
    return {card.id: registry.load(card, "cpu") for card in registry.cards()}


def golden_input(card, seed):
    """Give the phantom whose score evaluation wrote into the card."""
    if card.input_rules.kind == "volume":
        return head_volume(draw_head(seed, haemorrhage=seed % 2 == 0), standard_positions(20))
    return chest_radiograph(draw_chest(seed))


@EVERY
def test_a_card_leaves_nothing_unsaid(card):
    for field in fields(card):
        if field.name not in {"raises_only_uid_root", "known_inputs", "progressive"}:
            assert getattr(card, field.name) not in ("", None, (), {}), field.name
    assert len(card.digest) == len(card.weights_sha256) == 64
    assert len({finding.code for finding in card.findings}) == len(card.findings)
    for finding in card.findings:
        assert finding.name_en
        assert finding.name_vi
        assert isinstance(finding.urgency, Urgency)
        point = finding.operating_point
        assert 0 < point.threshold < 1
        assert point.sensitivity_interval[0] <= point.sensitivity <= point.sensitivity_interval[1]
        assert point.specificity_interval[0] <= point.specificity <= point.specificity_interval[1]


@EVERY
def test_a_reference_model_cannot_be_mistaken_for_a_device(card):
    if not card.title.startswith("REFERENCE-PHANTOM-"):
        pytest.skip("not one of the reference models")
    assert card.label_en == "Reference model trained on computer-drawn phantoms. Not for clinical use."
    assert card.label_vi == "Mô hình tham chiếu huấn luyện trên ảnh mô phỏng máy tính. Không dùng cho lâm sàng."
    assert card.regulatory_status == "not-a-device"
    assert card.raises_only_uid_root == PHANTOM_UID_ROOT
    assert all("phantom" in finding.name_en and "mô phỏng" in finding.name_vi for finding in card.findings)


@EVERY
def test_weights_are_at_most_a_megabyte(card):
    assert registry.weights_of(card).stat().st_size <= 1_000_000


@EVERY
def test_every_finding_gets_a_score_in_range_and_a_key_instance_of_the_input(card, loaded):
    image = golden_input(card, 11)
    prediction = loaded[card.id].predict(image)
    codes = {finding.code for finding in card.findings}
    assert set(prediction.scores) == set(prediction.key_instance_uids) == codes
    assert all(0 <= score <= 1 for score in prediction.scores.values())
    if isinstance(image, Volume):
        assert set(prediction.key_instance_uids.values()) <= set(image.instance_uids)
        assert {code: len(scores) for code, scores in prediction.slice_scores.items()} == dict.fromkeys(codes, 20)
    else:
        assert set(prediction.key_instance_uids.values()) == {image.instance_uid}
        assert prediction.slice_scores == {}


@EVERY
def test_the_same_input_gives_the_same_bits_and_is_left_as_it_was(card, loaded):
    image = golden_input(card, 12)
    pixels = image.voxels if isinstance(image, Volume) else image.pixels
    before = pixels.copy()
    assert loaded[card.id].predict(image) == loaded[card.id].predict(image)
    assert (pixels == before).all()


@EVERY
def test_the_golden_inputs_score_what_evaluation_saw(card, loaded):
    golden = card.evidence["golden"]
    codes = [finding.code for finding in card.findings]
    for seed, scores in zip(golden["seeds"], golden["scores"], strict=True):
        prediction = loaded[card.id].predict(golden_input(card, seed))
        assert [prediction.scores[code] for code in codes] == pytest.approx(scores, abs=1e-4)


@EVERY
def test_the_golden_vectors_are_those_that_lie_beside_the_weights(card, loaded):
    golden.replay(loaded[card.id], registry.golden_of(card))


@KNOWING
def test_the_model_knows_drawings_like_those_it_was_trained_on_and_no_noise(card, loaded):
    for seed in card.evidence["golden"]["seeds"]:
        assert loaded[card.id].predict(golden_input(card, seed)).distance <= card.known_inputs.threshold
    image = golden_input(card, 11)
    noise = np.random.default_rng(0).random((image.voxels if isinstance(image, Volume) else image.pixels).shape)
    changed = {"voxels": (noise * 2000 - 1000)} if isinstance(image, Volume) else {"pixels": noise}
    strange = replace(image, **{name: values.astype(np.float32) for name, values in changed.items()})
    assert loaded[card.id].predict(strange).distance > 2 * card.known_inputs.threshold


@KNOWING
def test_the_features_come_out_of_the_pass_that_scores(card, loaded):
    model = loaded[card.id]
    passes = []
    counting = model.network.register_forward_hook(lambda *_: passes.append(1))
    prediction = model.predict(golden_input(card, 11))
    counting.remove()
    assert prediction.distance is not None
    assert len(passes) == (2 if model.chain.mirrored else 1)
    assert replace(model, known=None).predict(golden_input(card, 11)) == replace(prediction, distance=None)


@KNOWING
def test_the_statistics_lie_beside_the_weights_and_are_small(card):
    path = registry.weights_of(card).with_name(card.known_inputs.file)
    assert path.stat().st_size <= 200_000
    assert sha256_of(path) == card.known_inputs.sha256


SERIES = [(32, 5.0), (16, 6.0), (48, 5.0), (40, 4.0), (64, 2.5)]


@pytest.mark.parametrize(("slices", "step_mm"), SERIES)
@pytest.mark.parametrize("seed", [1, 42])
def test_a_drawn_head_is_known_however_thick_and_many_its_slices_are(loaded, seed, slices, step_mm):
    model = loaded["head-ct-haemorrhage"]
    head = whole_head(seed, slices=slices, step_mm=step_mm)
    assert model.predict(head).distance <= model.card.known_inputs.threshold


NO_HEADS = [
    "inverted",
    "noise",
    "a drawn trunk",
    "twice as wide",
    "on another scale, 1024 too high",
    "its pixels shuffled",
]


@pytest.mark.parametrize("kind", NO_HEADS)
def test_a_stack_that_is_no_head_is_not_known(loaded, shared_data, kind):
    model = loaded["head-ct-haemorrhage"]
    distances = [model.predict(image).distance for image in WRONG_HEADS[kind](shared_data)]
    assert min(distances) > model.card.known_inputs.threshold


def test_of_real_slices_of_other_bodies_the_one_that_resembles_the_top_of_a_head_alone_is_known(loaded, shared_data):
    model = loaded["head-ct-haemorrhage"]
    distances = [model.predict(image).distance for image in WRONG_HEADS["a real slice, repeated"](shared_data)]
    assert [distance <= model.card.known_inputs.threshold for distance in distances] == [True, False, False, False]


def test_a_plain_bleed_is_flagged_on_a_slice_that_shows_it(loaded):
    model = loaded["head-ct-haemorrhage"]
    scene = make_plain(draw_head(40, haemorrhage=True))
    image = head_volume(scene, standard_positions(32))
    prediction = model.predict(image)
    finding = model.card.findings[0]
    assert prediction.scores[finding.code] >= finding.operating_point.threshold
    assert prediction.distance <= model.card.known_inputs.threshold
    shown_at = standard_positions(32)[image.instance_uids.index(prediction.key_instance_uids[finding.code])]
    assert abs(shown_at - scene.bleed.z_mm) < scene.bleed.reach_mm


def test_thin_slices_score_as_the_slab_they_belong_to(loaded):
    scene = make_plain(draw_head(40, haemorrhage=True))
    z_mm = [index * 2.5 for index in range(8)]
    prediction = loaded["head-ct-haemorrhage"].predict(head_volume(scene, z_mm, step_mm=2.5))
    by_slice = np.array(prediction.slice_scores["phantom-hyperdensity"])
    assert (by_slice[0::2] == by_slice[1::2]).all()


def test_an_image_of_any_shape_can_be_scored(loaded):
    pixels = np.random.default_rng(0).uniform(size=(300, 500)).astype(np.float32)
    prediction = loaded["chest-radiograph"].predict(Radiograph(pixels=pixels, instance_uid="1.2"))
    assert all(np.isfinite(score) for score in prediction.scores.values())


@EVERY
def test_scores_in_batches_of_another_shape_stay_within_the_bound_of_the_card(card, loaded):
    model = loaded[card.id]
    if not isinstance(model, BatchModel):
        pytest.skip("scores one input at a time")
    images = [golden_input(card, seed) for seed in (11, 12, 13)]
    alone = [model.predict(image) for image in images]
    for items_at_once in (32, 16, 3, 1):
        together = model.predict_many(images, items_at_once=items_at_once)
        for one, other in zip(alone, together, strict=True):
            assert other.key_instance_uids == one.key_instance_uids
            assert other.scores == pytest.approx(one.scores, abs=card.score_bound, rel=0)

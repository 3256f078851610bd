"""Importing, from a file with a pinned digest to a model that answers as its source does."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from models import golden, registry
from models.contract import Radiograph
from models.errors import ImportRefused, ModelError, NetworkRefused, WeightsCorrupt
from models.importers import contract, jail
from models.importers.conversion import Wanted, import_model
from models.importers.recipes import torchxrayvision
from models.steps import prepare
from tests.unit.models.importers import layouts

torch = pytest.importorskip("torch", reason="running a network needs the extra `ai`")

SMALL = {"_target_": "DenseNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 3, "init_features": 8}
SMALL |= {"growth_rate": 4, "block_config": [2, 2]}

ABOUT = """
title = "A small classifier"
intended_use = "Tests."
activation = "sigmoid"

[input]
size = 64

[source]
code = "elsewhere"
code_licence = "Apache-2.0"
weights = "elsewhere too"
weights_licence = "research only"

[[findings]]
output = 2
code = "nodule"
name_en = "nodule"
name_vi = "nốt phổi"
urgency = "routine"
threshold = 0.4
"""


@pytest.fixture
def open_jail(monkeypatch):
    """Run what is jailed in this process: these tests ask what it does, test_jail.py asks what it cannot do."""

    def run(work, arguments, *, scratch, **_):
        module, _, name = work.partition(":")
        with contextlib.chdir(scratch):
            return jail.Answer(facts=getattr(importlib.import_module(module), name)(**arguments), walls=("none",))

    monkeypatch.setattr(jail, "run", run)


def wanted(path, recipe, **more):
    return Wanted(source=str(path), recipe=recipe, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), **more)


def about(tmp_path):
    path = tmp_path / "about.toml"
    path.write_text(ABOUT)
    return path


def table(network):
    return "[network]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in network.items())


def radiograph():
    return Radiograph(
        pixels=np.random.default_rng(3).uniform(size=(300, 260)).astype(np.float32), instance_uid="2.25.7", view="PA"
    )


def source_logits(network, model):
    """Give what the source network says of what the imported model shows its own."""
    shown = torch.from_numpy(np.ascontiguousarray(prepare(radiograph(), model.chain.before).pixels))
    with torch.inference_mode():
        return network(shown)[0].numpy()


def op_norm(p, threshold):
    """What torchxrayvision says it does, output by output."""
    return p / (2 * threshold) if p < threshold else 1 - (1 - p) / (2 * (1 - threshold))


def published(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# ----------------------------------------------------------------------------------------------- torchxrayvision
def test_the_published_layout_has_727_keys():
    assert len(layouts.trained(channels=1, outputs=18).state_dict()) == 727


@pytest.fixture(scope="module")
def chex(tmp_path_factory):
    """A whole pickled DenseNet121, imported as torchxrayvision's ``chex``; with the source network."""
    folder = tmp_path_factory.mktemp("chex")
    network = layouts.trained(channels=1, outputs=18)
    torch.save(network, folder / "model.pt")
    asked = wanted(folder / "model.pt", "torchxrayvision/chex", unsafe_pickle=True)
    return network, import_model(asked, folder / "models"), folder / "models", asked


def test_a_whole_pickled_model_is_imported_and_gives_its_golden_vectors(chex):
    _, found, folder, _ = chex
    assert published(folder) == ["torchxrayvision-chex"]
    assert published(folder / "torchxrayvision-chex") == [
        "card.json",
        "weights.golden.safetensors",
        "weights.safetensors",
    ]
    golden.replay(registry.load(found.CARD, "cpu", folder), registry.golden_of(found.CARD, folder))


def test_the_card_says_honestly_what_is_known(chex):
    _, found, _, asked = chex
    card = found.CARD
    assert (card.origin, card.regulatory_status, card.evidence) == ("imported", "research", {"at this site": "none"})
    assert card.source.code_licence == "Apache-2.0"
    assert "research alone" in card.source.weights_licence
    assert card.source.file_sha256 == asked.sha256
    assert set(card.source.jail) & {"network-namespace", "seccomp"}
    assert {finding.operating_point.sensitivity for finding in card.findings} == {None}
    assert "Not for clinical use." in card.label_en
    assert "Không dùng cho lâm sàng." in card.label_vi


def test_heads_without_a_threshold_are_hidden(chex):
    _, found, _, _ = chex
    codes = [finding.code for finding in found.CARD.findings]
    assert codes == [
        "atelectasis",
        "consolidation",
        "pneumothorax",
        "edema",
        "effusion",
        "pneumonia",
        "cardiomegaly",
        "lung-lesion",
        "fracture",
        "lung-opacity",
        "enlarged-cardiomediastinum",
    ]
    assert any("hidden: infiltration, emphysema" in limit for limit in found.CARD.limits)


def test_the_imported_network_says_what_its_source_says(chex):
    network, found, folder, _ = chex
    model = registry.load(found.CARD, "cpu", folder)
    scores = model.predict(radiograph()).scores
    said = 1 / (1 + np.exp(-source_logits(network, model).astype(np.float64)))
    trained = {
        code: (place, threshold)
        for place, (code, threshold) in enumerate(
            zip(torchxrayvision._OUTPUTS, torchxrayvision._THRESHOLDS["chex"], strict=True)
        )
        if threshold is not None
    }
    assert set(scores) == set(trained)
    for code, (place, threshold) in trained.items():
        assert scores[code] == pytest.approx(op_norm(said[place], threshold), abs=1e-5), code


def test_it_is_shown_with_the_greys_that_its_authors_use(chex):
    _, found, _, _ = chex
    shown = prepare(radiograph(), found.written.chain.before).pixels
    assert shown.shape == (1, 1, 224, 224)
    assert -1024 <= shown.min() < -200 < 200 < shown.max() <= 1024


@pytest.mark.parametrize("variant", torchxrayvision.VARIANTS)
def test_every_variant_hides_what_was_not_trained(variant):
    plan = torchxrayvision.plan(variant, {}, None)
    trained = [threshold for threshold in torchxrayvision._THRESHOLDS[variant] if threshold is not None]
    assert len(torchxrayvision._THRESHOLDS[variant]) == 18
    assert len(plan.findings) == len(trained)
    assert plan.chain.after[2].parameters["thresholds"] == tuple(trained)


# ------------------------------------------------------------------------------------------------------- CheXNet
def test_a_file_of_chexnets_layout_is_imported_and_says_what_its_source_says(tmp_path, open_jail):
    network = layouts.trained(channels=3, outputs=14)
    state = layouts.chexnet(network.state_dict())
    assert len(state) == 606
    assert "module.densenet121.features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save({"state_dict": state, "epoch": 5, "best_loss": 0.2}, tmp_path / "model.pth.tar")
    found = import_model(wanted(tmp_path / "model.pth.tar", "chexnet"), tmp_path / "models")
    model = registry.load(found.CARD, "cpu", tmp_path / "models")
    scores = model.predict(radiograph()).scores
    said = 1 / (1 + np.exp(-source_logits(network, model).astype(np.float64)))
    assert list(scores)[7] == "pneumothorax"
    assert list(scores.values()) == pytest.approx(said.tolist(), abs=1e-5)


# ------------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("features.norm5.weight"), "it lacks features.norm5.weight"),
        (lambda state: state.pop("features.norm0.num_batches_tracked"), "it lacks features.norm0"),
        (lambda state: state.update(extra=torch.zeros(1)), "it has besides extra"),
        (lambda state: state.update({"classifier.weight": torch.zeros(14, 1024)}), "size mismatch"),
    ],
    ids=["a key is missing", "a counter is missing", "a key too many", "another shape"],
)
def test_weights_load_strictly_or_not_at_all(tmp_path, open_jail, change, said):
    state = dict(layouts.legacy(layouts.trained(channels=1, outputs=18).state_dict()))
    change(state)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=said):
        import_model(wanted(tmp_path / "model.pt", "torchxrayvision/all"), tmp_path / "models")
    assert published(tmp_path / "models") == []


def test_a_whole_pickled_model_is_not_opened_without_the_flag_and_nothing_is_left(tmp_path, open_jail):
    torch.save(layouts.trained(channels=1, outputs=18), tmp_path / "model.pt")
    with pytest.raises(ImportRefused, match="--unsafe-pickle"):
        import_model(wanted(tmp_path / "model.pt", "torchxrayvision/all"), tmp_path / "models")
    assert published(tmp_path / "models") == []


def test_another_digest_is_refused_before_anything_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(jail, "run", None)
    (tmp_path / "model.pt").write_bytes(b"something else")
    for sha256, said in (("0" * 64, "not the 0000"), ("", "64 hexadecimal"), ("abc", "64 hexadecimal")):
        with pytest.raises(ImportRefused, match=said):
            import_model(
                Wanted(source=str(tmp_path / "model.pt"), recipe="chexnet", sha256=sha256), tmp_path / "models"
            )
    assert published(tmp_path / "models") == []


@pytest.mark.parametrize(
    "recipe",
    ["torchxrayvision", "torchxrayvision/best", "chexnet/all", "monai-bundle", "onnx", "os", "../x", "contract"],
)
def test_a_recipe_that_is_none_is_named_beside_those_there_are(recipe):
    with pytest.raises(ImportRefused, match=r"no recipe is called .*chexnet.*monai-bundle:NAME.*torchxrayvision/all"):
        contract.find(recipe)


@pytest.mark.parametrize("name", ["../evil", "UPPER", "", "-a", "chest-radiograph", "a" * 64])
def test_a_name_that_is_a_path_or_taken_is_refused(tmp_path, name, monkeypatch):
    (tmp_path / "model.pt").write_bytes(b"weights")

    def convert(work, arguments, *, scratch, **_):
        (scratch / arguments["to"]).write_bytes(b"converted")
        return jail.Answer(facts={}, walls=())

    monkeypatch.setattr(jail, "run", convert)
    asked = replace(wanted(tmp_path / "model.pt", "chexnet"), name=name or "-")
    with pytest.raises(ImportRefused, match="choose another --name"):
        import_model(asked, tmp_path / "models", taken=["chest-radiograph"])
    assert published(tmp_path / "models") == []


def test_a_jail_that_leaves_a_link_leaves_nothing(tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("a patient")

    def convert(work, arguments, *, scratch, **_):
        (scratch / arguments["to"]).symlink_to(secret)
        return jail.Answer(facts={}, walls=())

    monkeypatch.setattr(jail, "run", convert)
    with pytest.raises(ImportRefused, match="nothing that can be taken"):
        import_model(wanted(secret, "chexnet"), tmp_path / "models")


def test_a_source_that_is_changed_meanwhile_is_refused(tmp_path, monkeypatch):
    (tmp_path / "model.pt").write_bytes(b"weights")

    def convert(work, arguments, *, scratch, **_):
        (scratch / arguments["source"]).write_bytes(b"other")
        return jail.Answer(facts={}, walls=())

    monkeypatch.setattr(jail, "run", convert)
    with pytest.raises(ImportRefused, match="was changed while"):
        import_model(wanted(tmp_path / "model.pt", "chexnet"), tmp_path / "models")


# -------------------------------------------------------------------------------------------------- MONAI bundles
def bundle(tmp_path, network, *, top="bundle/", metadata=None, **members):
    torch.save(network.state_dict(), tmp_path / "state.pt")
    told = {"name": "Small", "version": "0.1", "intended_use": "example, not to be used for diagnostic purposes"}
    told["network_data_format"] = {"inputs": {"image": {"num_channels": 1}}}
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{top}configs/metadata.json", json.dumps(told if metadata is None else metadata))
        archive.writestr(f"{top}configs/inference.json", "{\"evil\": \"$__import__('os').system('touch evil')\"}")
        archive.write(tmp_path / "state.pt", f"{top}models/model.pt")
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def small():
    from models.networks import NetworkSpec, build

    torch.manual_seed(1)
    arguments = {key: value for key, value in SMALL.items() if key != "_target_"}
    return build(NetworkSpec(name="DenseNet", arguments=arguments)).eval()


@pytest.mark.parametrize("top", ["", "bundle/"])
def test_a_bundle_gives_its_state_dict_and_its_configuration_is_not_opened(tmp_path, open_jail, top):
    network = small()
    asked = wanted(bundle(tmp_path, network, top=top), "monai-bundle:small", about=describe(tmp_path, SMALL))
    found = import_model(asked, tmp_path / "models")
    assert found.CARD.id == "monai-small"
    assert "not to be used" in found.CARD.evidence["its bundle says"]["intended_use"]
    model = registry.load(found.CARD, "cpu", tmp_path / "models")
    said = 1 / (1 + np.exp(-float(source_logits(network, model)[2])))
    assert model.predict(radiograph()).scores == {"nodule": pytest.approx(said, abs=1e-6)}
    assert not list(tmp_path.rglob("evil"))


def describe(tmp_path, network):
    """Write a description with a network at its end, where TOML wants tables."""
    path = about(tmp_path)
    path.write_text(path.read_text() + "\n" + table(network))
    return path


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"_target_": "os.system"}, NetworkRefused, "no network called 'os.system'"),
        ({"_target_": "monai.networks.nets.UNet"}, NetworkRefused, "no network called 'UNet'"),
        ({"in_channels": "$1+1"}, NetworkRefused, "is an expression"),
        ({"act": "relu"}, NetworkRefused, "is not given 'act'"),
        ({"in_channels": 2}, ImportRefused, "sees 2 channels"),
        ({"out_channels": 2}, ImportRefused, "names output 2"),
        ({"growth_rate": 6}, WeightsCorrupt, "size mismatch"),
    ],
)
def test_a_bundles_network_is_of_the_closed_list_with_plain_arguments(tmp_path, open_jail, change, error, said):
    asked = wanted(bundle(tmp_path, small()), "monai-bundle:small", about=describe(tmp_path, SMALL | change))
    with pytest.raises(error, match=said):
        import_model(asked, tmp_path / "models")
    assert published(tmp_path / "models") == []


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"../evil": "x"}, "leaves its folder"),
        ({"other/configs/metadata.json": "{}"}, "is no bundle"),
    ],
)
def test_a_bundle_that_is_a_bad_archive_is_refused(tmp_path, open_jail, members, said):
    asked = wanted(bundle(tmp_path, small(), **members), "monai-bundle:small", about=describe(tmp_path, SMALL))
    with pytest.raises(ImportRefused, match=said):
        import_model(asked, tmp_path / "models")


def test_a_description_is_asked_for_where_it_is_needed_and_nowhere_else(tmp_path):
    path = bundle(tmp_path, small())
    with pytest.raises(ImportRefused, match="needs description"):
        import_model(wanted(path, "monai-bundle:small"), tmp_path / "models")
    with pytest.raises(ImportRefused, match="takes no description"):
        import_model(wanted(path, "chexnet", about=about(tmp_path)), tmp_path / "models")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("threshold = 0.4", "threshold = 1.5"), r"findings.0.threshold"),
        (("size = 64", 'size = 64\neval = "$1"'), r"input.eval"),
        (('code = "nodule"', 'code = "../nodule"'), r"findings.0.code"),
        (("title", "titel"), r"titel|title"),
        (("[input]", "[input"), "cannot be read"),
    ],
)
def test_a_description_says_what_it_may_and_nothing_else(tmp_path, open_jail, change, said):
    path = describe(tmp_path, SMALL)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ImportRefused, match=said):
        import_model(wanted(bundle(tmp_path, small()), "monai-bundle:small", about=path), tmp_path / "models")

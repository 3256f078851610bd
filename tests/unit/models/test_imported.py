"""Models that a site imported: found beside those that ship, believed only as far as they fit, shadow until enabled."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from inference import child
from inference.deployment import at_first
from models import golden, imported, registry
from models.chains import Chain, Step
from models.contract import Source
from models.errors import CardInvalid, ImportRefused, ModelStays, ModelUnknown, NetworkRefused, WeightsCorrupt
from models.networks import NetworkSpec, build
from models.weights import golden_beside, save_weights, sha256_of
from storage.catalog.deployments import Status
from tests.builders import card

torch = pytest.importorskip("torch", reason="running a network needs the extra `ai`")

SPEC = NetworkSpec(
    name="DenseNet",
    arguments={"in_channels": 1, "out_channels": 1, "init_features": 8, "growth_rate": 4, "block_config": (2, 2)},
)
CHAIN = Chain(
    before=(
        Step(name="centre-square"),
        Step(name="resize", parameters={"size": 32}),
        Step(name="scale", parameters={"low": -1024, "high": 1024}),
        Step(name="one-channel"),
    ),
    after=(Step(name="probability"), Step(name="heads", parameters={"outputs": [0]}), Step(name="highest")),
)
SOURCE = Source(code="elsewhere", code_licence="Apache-2.0", weights="elsewhere", weights_licence="research only")


@pytest.fixture
def folder(tmp_path):
    """The folder of imported models, with one in it, called ``trial``."""
    torch.manual_seed(0)
    with imported.being_written(tmp_path / "models") as made:
        weights = made / "weights.safetensors"
        save_weights(build(SPEC), weights)
        wanted = replace(
            card(kind="radiograph", root=None),
            weights_file=weights.name,
            weights_sha256=sha256_of(weights),
            origin="imported",
            source=SOURCE,
        )
        written = imported.Written(card=wanted, chain=CHAIN, network=SPEC).sealed()
        golden.record(imported.assemble(written, "cpu", weights), golden_beside(weights))
        imported.publish(made, written)
    return tmp_path / "models"


def test_an_imported_model_is_found_beside_those_that_ship_and_gives_its_golden_vectors(folder):
    assert [one.id for one in registry.cards(folder)] == ["chest-radiograph", "head-ct-haemorrhage", "trial"]
    found = registry.card("trial", folder)
    golden.replay(registry.load(found, "cpu", folder), registry.golden_of(found, folder))
    assert sorted(path.name for path in (folder / "trial").iterdir()) == [
        "card.json",
        "weights.golden.safetensors",
        "weights.safetensors",
    ]


def test_without_the_folder_nobody_knows_it(folder):
    with pytest.raises(ModelUnknown):
        registry.card("trial")
    assert registry.cards(folder / "nowhere") == registry.cards()


def test_imported_cards_are_read_without_loading_torch(folder):
    program = (
        "import sys; from pathlib import Path; from models.registry import cards; "
        f"print(len(cards(Path({str(folder)!r}))), sorted({{'torch', 'monai', 'onnxruntime'}} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "3 []"


def test_its_card_reads_as_it_was_written(folder):
    found = imported.read(folder / "trial")
    assert found.written.sealed() == found.written
    assert found.CARD.source == SOURCE
    assert found.CARD.digest != card().digest


def test_an_imported_model_is_a_shadow_until_the_site_says_otherwise(folder):
    found = registry.card("trial", folder)
    assert found.origin == "imported"
    stands = at_first(found, now=datetime(2026, 3, 1, tzinfo=UTC))
    assert (stands.status, stands.mode) == (Status.SHADOW, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda read: read["card"]["findings"][0]["operating_point"].update(threshold=0.1), "changed after the import"),
        (lambda read: read["chain"]["before"][1]["parameters"].update(size=64), "changed after the import"),
        (lambda read: read["network"]["arguments"].update(growth_rate=8), "changed after the import"),
        (lambda read: read["card"].update(weights_sha256="1" * 64), "changed after the import"),
        (lambda read: read["card"].update(origin="installed"), "card of something else"),
        (lambda read: read["card"].update(id="other"), "card of something else"),
        (lambda read: read["card"].update(weights_file="../trial/weights.safetensors"), "card of something else"),
        (lambda read: read["card"].pop("limits"), "cannot be read"),
    ],
)
def test_a_card_that_was_changed_is_left_out_and_the_others_serve(folder, caplog, change, said):
    path = folder / "trial" / "card.json"
    read = json.loads(path.read_text())
    change(read)
    path.write_text(json.dumps(read))
    with caplog.at_level(logging.ERROR):
        assert registry.cards(folder) == registry.cards()
    assert said in caplog.records[-1].error
    with pytest.raises(CardInvalid, match=said):
        imported.read(folder / "trial")


def test_a_folder_without_a_card_is_left_out(folder):
    (folder / "empty").mkdir()
    assert "empty" not in imported.find(folder)


def test_another_weight_file_is_noticed_and_the_others_serve(folder):
    weights = folder / "trial" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WeightsCorrupt):
        registry.load(registry.card("trial", folder), "cpu", folder)
    loaded = {one.id: child._load(one, "cpu", folder) for one in registry.cards(folder)}
    assert {name for name, model in loaded.items() if isinstance(model, child.Failure)} == {"trial"}
    assert loaded["trial"].reason == "weights"


def test_a_name_that_is_taken_is_refused_and_nothing_is_left_behind(folder):
    with imported.being_written(folder) as made, pytest.raises(ImportRefused, match="choose another --name"):
        imported.publish(made, imported.read(folder / "trial").written)
    assert [path.name for path in folder.iterdir()] == ["trial"]


def test_what_was_not_published_is_gone_and_was_never_a_model(folder):
    with imported.being_written(folder) as made:
        (made / "card.json").write_bytes((folder / "trial" / "card.json").read_bytes())
        assert list(imported.find(folder)) == ["trial"]
    assert [path.name for path in folder.iterdir()] == ["trial"]


def test_a_withdrawn_model_is_gone_with_its_files(folder):
    with pytest.raises(ModelStays, match="cannot be removed"):
        imported.withdraw(folder, "nobody")
    imported.withdraw(folder, "trial")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (NetworkSpec(name="os.system"), "no network called"),
        (NetworkSpec(name="UNet"), "no network called"),
        (NetworkSpec(name="DenseNet121", arguments={"pretrained": True}), "is not given 'pretrained'"),
        (NetworkSpec(name="DenseNet121", arguments={"act": "$__import__('os')"}), "is not given 'act'"),
        (NetworkSpec(name="DenseNet121", arguments={"in_channels": "$1+1"}), "is an expression"),
        (NetworkSpec(name="DenseNet121", arguments={"in_channels": "@channels"}), "is an expression"),
        (NetworkSpec(name="DenseNet121", arguments={"in_channels": {"_target_": "os.system"}}), "plain numbers"),
        (NetworkSpec(name="DenseNet121", arguments={"in_channels": 10**9}), "at most 4096"),
        (NetworkSpec(name="DenseNet121", arguments={"spatial_dims": 3, "in_channels": 1}), "networks for images"),
        (NetworkSpec(name="DenseNet121", arguments={"in_channels": 1}), "cannot be built"),
    ],
)
def test_only_networks_of_the_list_with_plain_arguments_are_built(spec, said):
    with pytest.raises(NetworkRefused, match=said):
        build(spec)


def test_a_network_is_built_without_asking_the_network(monkeypatch):
    monkeypatch.setattr("socket.socket", None)
    for name, sizes in (("EfficientNetBN", {"model_name": "efficientnet-b0", "num_classes": 2}), ("resnet18", {})):
        network = build(NetworkSpec(name=name, arguments={**sizes}))
        assert sum(parameter.numel() for parameter in network.parameters()) > 1e6

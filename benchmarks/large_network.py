"""Models of the size that sites run, DenseNet121 at 224 x 224, with random weights: right by chance, if at all.

`install` writes one below a folder as another package would offer a model; put that folder on PYTHONPATH.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a network takes and gives, and the reference model whose card it borrows."""

    like: str
    channels: int
    findings: int


MODEL, CHEST_MODEL = "benchmark-densenet121", "benchmark-densenet121-chest"
SHAPES: Mapping[str, Shape] = {
    MODEL: Shape(like="head_ct_haemorrhage", channels=5, findings=1),
    CHEST_MODEL: Shape(like="chest_radiograph", channels=1, findings=3),
}

_MODULE = """
from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from models.cards import model_digest
from models.chains import Chain, Step
from models.network_model import NetworkModel
from models.reference.recipes import BONE, BRAIN, CHEST, SUBDURAL
from models.weights import load_weights

TOLD = json.loads((Path(__file__).parent / "weights" / "told.json").read_text())
LIKE = import_module("models.zoo." + TOLD["like"]).CARD
CHAINS = {
    "volume": Chain(
        before=(
            Step(name="resample-in-plane", parameters={"size": 224, "pixel_mm": 1.0, "outside": -1024.0}),
            Step(name="windows-with-neighbours", parameters={"windows": (BRAIN, SUBDURAL, BONE)}),
        ),
        after=(Step(name="highest-run", parameters={"count": 4}), Step(name="probability")),
    ),
    "radiograph": Chain(
        before=tuple(
            Step(name="resize", parameters={"size": 224}) if step.name == "resize" else step
            for step in CHEST.chain.before
        ),
        after=CHEST.chain.after,
    ),
}
CHAIN = CHAINS[LIKE.input_rules.kind]
FINDINGS = tuple(
    replace(each, operating_point=replace(each.operating_point, threshold=0.0)) for each in LIKE.findings
)
CARD = replace(
    LIKE,
    id=TOLD["id"],
    digest=model_digest(TOLD["sha256"], CHAIN, FINDINGS),
    findings=FINDINGS,
    weights_sha256=TOLD["sha256"],
    weights_file="densenet121.safetensors",
    known_inputs=None,
    expected_seconds=20.0,
)


def network():
    from monai.networks.nets import DenseNet121

    return DenseNet121(spatial_dims=2, in_channels=TOLD["channels"], out_channels=len(FINDINGS))


def load(device, weights):
    made = network()
    load_weights(made, weights)
    return NetworkModel(card=CARD, chain=CHAIN, network=made.eval().to(device), device=device)
"""


def install(folder: Path, model: str = MODEL) -> None:
    """Write the package of a model below `folder`: module, weights, and the entry point by which it is found."""
    import torch
    from monai.networks.nets import DenseNet121
    from safetensors.torch import save_file  # noqa: PLC0415

    from models import golden  # noqa: PLC0415
    from models.weights import golden_beside, sha256_of  # noqa: PLC0415

    shape = SHAPES[model]
    weights = folder / "weights"
    weights.mkdir(parents=True)
    torch.manual_seed(1)
    network = DenseNet121(spatial_dims=2, in_channels=shape.channels, out_channels=shape.findings)
    save_file(network.state_dict(), weights / "densenet121.safetensors")
    digest = sha256_of(weights / "densenet121.safetensors")
    told = {"id": model, "sha256": digest, "like": shape.like, "channels": shape.channels}
    (weights / "told.json").write_text(json.dumps(told))
    module = folder / "roi_benchmark_large.py"
    module.write_text(_MODULE)
    path = weights / "densenet121.safetensors"
    golden.record(_opened(module).load("cpu", path), golden_beside(path))
    about = folder / "roi_benchmark_large-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: roi-benchmark-large\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[roi.models]\nlarge = roi_benchmark_large\n")


def _opened(path: Path) -> Any:  # noqa: ANN401 - a module of ours
    """Import a module from its file."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


if __name__ == "__main__":
    install(Path(sys.argv[1]), *sys.argv[2:])

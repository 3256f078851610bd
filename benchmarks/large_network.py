"""A head CT model of the size that sites run, DenseNet121 at 224 x 224, with random weights: it is right by chance.

`install` writes it below a folder as another package would offer a model; put that folder on PYTHONPATH.
"""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

MODEL = "benchmark-densenet121"

_MODULE = """
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from models.cards import model_digest
from models.chains import Chain, Step
from models.network_model import NetworkModel
from models.weights import load_weights
from models.zoo.head_ct_haemorrhage import CARD as LIKE

TOLD = json.loads((Path(__file__).parent / "weights" / "told.json").read_text())
CHAIN = Chain(
    before=(
        Step(name="resample-in-plane", parameters={"size": 224, "pixel_mm": 1.0, "outside": -1024.0}),
        Step(name="windows-with-neighbours", parameters={"windows": ((40.0, 80.0), (80.0, 200.0), (600.0, 2800.0))}),
    ),
    after=(Step(name="highest-run", parameters={"count": 4}), Step(name="probability")),
)
POINT = replace(LIKE.findings[0].operating_point, threshold=0.0)
FINDINGS = (replace(LIKE.findings[0], operating_point=POINT),)
CARD = replace(
    LIKE,
    id=TOLD["id"],
    digest=model_digest(TOLD["sha256"], CHAIN, FINDINGS),
    findings=FINDINGS,
    weights_sha256=TOLD["sha256"],
    weights_file="densenet121.safetensors",
    expected_seconds=20.0,
)


def network():
    from monai.networks.nets import DenseNet121

    return DenseNet121(spatial_dims=2, in_channels=5, out_channels=1)


def load(device, weights):
    made = network()
    load_weights(made, weights)
    return NetworkModel(card=CARD, chain=CHAIN, network=made.eval().to(device), device=device)
"""


def install(folder: Path) -> None:
    """Write the package below `folder`: module, weights, and the entry point by which it is found."""
    import torch
    from monai.networks.nets import DenseNet121
    from safetensors.torch import save_file  # noqa: PLC0415

    from models import golden  # noqa: PLC0415
    from models.weights import golden_beside, sha256_of  # noqa: PLC0415

    weights = folder / "weights"
    weights.mkdir(parents=True)
    torch.manual_seed(1)
    network = DenseNet121(spatial_dims=2, in_channels=5, out_channels=1)
    save_file(network.state_dict(), weights / "densenet121.safetensors")
    told = {"id": MODEL, "sha256": sha256_of(weights / "densenet121.safetensors")}
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
    install(Path(sys.argv[1]))

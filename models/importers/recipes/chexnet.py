"""CheXNet as it was made again in public (arnoweng/CheXNet): DenseNet121, three channels, 14 labels of ChestX-ray14.

Its file is a state dict saved on several GPUs by torch 0.3: names below ``module.densenet121.``, numbers after a dot,
no counters.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from models.chains import Chain, Step
from models.contract import Source
from models.importers.contract import Plan
from models.importers.densenet import as_monai
from models.importers.findings import CHEST_RADIOGRAPH, finding
from models.importers.tensors import read_state, save_state
from models.networks import NetworkSpec

if TYPE_CHECKING:
    from models.importers.about import About
    from models.importers.jail import Facts

_OUTPUTS: Final = (
    "atelectasis",
    "cardiomegaly",
    "effusion",
    "infiltration",
    "mass",
    "nodule",
    "pneumonia",
    "pneumothorax",
    "consolidation",
    "edema",
    "emphysema",
    "fibrosis",
    "pleural-thickening",
    "hernia",
)

VARIANTS: tuple[str, ...] = ()
ABOUT = False
WEIGHTS = "weights.safetensors"
LIBRARIES = ("torch", "safetensors.torch")


def convert(*, source: str, to: str, unsafe_pickle: bool) -> Facts:
    """Write the tensors under MONAI's names."""
    state = as_monai(read_state(Path(source), unsafe_pickle=unsafe_pickle))
    save_state(state, Path(to))
    return {"tensors": len(state)}


def plan(variant: str, facts: Facts, about: About | None) -> Plan:
    """Give all 14 labels at 0.5, since nobody published thresholds."""
    del variant, facts, about
    return Plan(
        id="chexnet",
        title="CheXNet, made again",
        intended_use="Research: scores of 14 findings on frontal chest radiographs of adults.",
        network=NetworkSpec(name="DenseNet121", arguments={"in_channels": 3, "out_channels": len(_OUTPUTS)}),
        chain=Chain(
            before=(
                Step(name="centre-square"),
                Step(name="resize", parameters={"size": 224}),
                Step(
                    name="normalised-channels",
                    parameters={"means": (0.485, 0.456, 0.406), "deviations": (0.229, 0.224, 0.225)},
                ),
            ),
            after=(Step(name="probability"), Step(name="highest")),
        ),
        findings=tuple(
            finding(code, threshold=0.5, chosen="none: 0.5 was set at the import; not measured here")
            for code in _OUTPUTS
        ),
        input_rules=CHEST_RADIOGRAPH,
        source=Source(
            code="arnoweng/CheXNet",
            code_licence="none stated",
            weights="trained by its author on NIH ChestX-ray14",
            weights_licence="none stated",
        ),
        limits=(
            "No thresholds were published: at 0.5 a finding that is rare in the training data is hardly ever flagged.",
            "The author averages ten cuts of each image; here the middle is looked at once.",
            "Trained on labels that were mined from reports.",
        ),
    )

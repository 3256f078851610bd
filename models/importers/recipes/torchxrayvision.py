"""DenseNet121 of torchxrayvision (Cohen et al., MIDL 2022): one channel, 18 outputs in a fixed order.

Facts from its public source: the order of outputs and the authors' thresholds.  Where a threshold is None the output
was not trained on that data, and is hidden.  Its files are whole pickled models.
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
    "consolidation",
    "infiltration",
    "pneumothorax",
    "edema",
    "emphysema",
    "fibrosis",
    "effusion",
    "pneumonia",
    "pleural-thickening",
    "cardiomegaly",
    "nodule",
    "mass",
    "hernia",
    "lung-lesion",
    "fracture",
    "lung-opacity",
    "enlarged-cardiomediastinum",
)

# fmt: off
_THRESHOLDS: Final[dict[str, tuple[float | None, ...]]] = {
    "all": (
        0.07422872, 0.038290843, 0.09814756, 0.0098118475, 0.023601074, 0.0022490358, 0.010060724, 0.103246614,
        0.056810737, 0.026791653, 0.050318155, 0.023985857, 0.01939503, 0.042889766, 0.053369623, 0.035975814,
        0.20204692, 0.05015312,
    ),
    "nih": (
        0.039117552, 0.0034529066, 0.11396341, 0.0057298196, 0.00045666535, 0.0018880932, 0.012037827, 0.038744126,
        0.0037213727, 0.014730946, 0.016149804, 0.054241467, 0.037198864, 0.0004403434, None, None, None, None,
    ),
    "pc": (
        0.031012505, 0.013347598, 0.081435576, 0.001262615, 0.002587246, 0.0035944257, 0.0023071, 0.055412333,
        0.044385884, 0.042766232, 0.043258056, 0.037629247, 0.005658899, 0.0091741895, None, 0.026507627, None, None,
    ),
    "chex": (
        0.1988969, 0.05710573, None, 0.0531293, 0.1435217, None, None, 0.27212676, 0.07749717, None, 0.19712369, None,
        None, None, 0.09932402, 0.09273402, 0.3270967, 0.10888247,
    ),
    "rsna": (
        None, None, None, None, None, None, None, None, 0.13486601, None, None, None, None, None, None, None,
        0.13511065, None,
    ),
    "mimic_nb": (
        0.08558747, 0.011884617, None, 0.0040595434, 0.010733786, None, None, 0.118761964, 0.022924708, None,
        0.06358637, None, None, None, 0.022143636, 0.017476924, 0.1258702, 0.014020768,
    ),
    "mimic_ch": (
        0.09121389, 0.010573786, None, 0.005023008, 0.003698257, None, None, 0.08001232, 0.037242252, None,
        0.05006329, None, None, None, 0.019866971, 0.03823637, 0.11303808, 0.0069147074,
    ),
}
# fmt: on

_DATA: Final = {
    "all": "NIH ChestX-ray14, PadChest, CheXpert, MIMIC-CXR, Google, OpenI and RSNA/Kaggle",
    "nih": "NIH ChestX-ray14",
    "pc": "PadChest",
    "chex": "CheXpert",
    "rsna": "RSNA Pneumonia Challenge",
    "mimic_nb": "MIMIC-CXR, labels of NegBio",
    "mimic_ch": "MIMIC-CXR, labels of CheXpert",
}

VARIANTS = tuple(_THRESHOLDS)
ABOUT = False
WEIGHTS = "weights.safetensors"
LIBRARIES = ("torch", "safetensors.torch")


def convert(*, source: str, to: str, unsafe_pickle: bool) -> Facts:
    """Write the tensors under MONAI's names."""
    state = as_monai(read_state(Path(source), unsafe_pickle=unsafe_pickle))
    save_state(state, Path(to))
    return {"tensors": len(state)}


def plan(variant: str, facts: Facts, about: About | None) -> Plan:
    """Give the heads that were trained, each with its authors' threshold bent to 0.5."""
    del facts, about
    trained = {place: threshold for place, threshold in enumerate(_THRESHOLDS[variant]) if threshold is not None}
    hidden = [_OUTPUTS[place] for place in range(len(_OUTPUTS)) if place not in trained]
    return Plan(
        id=f"torchxrayvision-{variant.replace('_', '-')}",
        title=f"torchxrayvision DenseNet121, {variant}",
        intended_use="Research: scores of findings on frontal chest radiographs of adults.",
        network=NetworkSpec(name="DenseNet121", arguments={"in_channels": 1, "out_channels": len(_OUTPUTS)}),
        chain=Chain(
            before=(
                Step(name="centre-square"),
                Step(name="resize", parameters={"size": 224}),
                Step(name="scale", parameters={"low": -1024.0, "high": 1024.0}),
                Step(name="one-channel"),
            ),
            after=(
                Step(name="probability"),
                Step(name="heads", parameters={"outputs": tuple(map(float, trained))}),
                Step(name="operating-point-norm", parameters={"thresholds": tuple(trained.values())}),
                Step(name="highest"),
            ),
        ),
        findings=tuple(
            finding(
                _OUTPUTS[place],
                threshold=0.5,
                chosen=f"the authors' threshold {threshold:.4g}, bent to 0.5; not measured here",
            )
            for place, threshold in trained.items()
        ),
        input_rules=CHEST_RADIOGRAPH,
        source=Source(
            code="mlmed/torchxrayvision",
            code_licence="Apache-2.0",
            weights=f"trained by the authors on {_DATA[variant]}",
            weights_licence="none of its own; the data may be used for research alone",
        ),
        limits=(
            "The authors scale by the greatest value that the pixels can have; here the image is as a reader sees it.",
            "The authors' own hold-outs differ by data set: pneumothorax has an area under the curve of 0.75 to 0.93.",
            *([f"Not trained on, and hidden: {', '.join(hidden)}."] if hidden else []),
        ),
    )

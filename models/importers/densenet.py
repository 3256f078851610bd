"""Keys of a DenseNet121 as other libraries name them, turned into those of MONAI's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from models.errors import ImportRefused

if TYPE_CHECKING:
    from models.importers.tensors import State

_PREFIX: Final = re.compile(r"^(?:module\.)?(?:densenet121\.)?")
_LAYER: Final = re.compile(r"^(features\.denseblock\d+\.denselayer\d+)\.(norm|conv)\.?([12])\.")
_CLASSIFIER: Final = re.compile(r"^classifier\.(?:0\.)?")
_COUNTER: Final = ".num_batches_tracked"


def as_monai(state: State) -> State:
    """Give the same tensors under MONAI's names.

    Takes torchvision's names (``denselayer1.norm1``), its older ones (``norm.1``), either below ``module.`` and
    ``densenet121.``.  Files from before batches were counted have no counters at all and get zeros: nothing reads them
    when a network only answers.  A file that lacks some of them stays as it is, and does not load.

    Raises
    ------
    ImportRefused
        Two tensors would have the same name.
    """
    renamed = {_as_monai(name): tensor for name, tensor in state.items()}
    if len(renamed) < len(state):
        raise ImportRefused("the file has the same tensor under an older and a newer name")
    if not any(name.endswith(_COUNTER) for name in renamed):
        import torch

        norms = [name.removesuffix(".running_var") for name in renamed if name.endswith(".running_var")]
        renamed |= {norm + _COUNTER: torch.tensor(0) for norm in norms}
    return renamed


def _as_monai(name: str) -> str:
    name = _PREFIX.sub("", name)
    name = _LAYER.sub(r"\1.layers.\2\3.", name)
    return _CLASSIFIER.sub("class_layers.out.", name)

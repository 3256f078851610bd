"""What can go wrong with a model.

ModelError
├── ModelUnknown        no card of that id                       (ours)
├── CardInvalid         a card that does not fit its evidence    (ours)
├── ChainInvalid        a step or parameter nobody knows         (ours)
├── NetworkRefused      a network outside the closed list        (theirs)
├── WeightsMissing      no weight file where the card says       (ours)
├── WeightsCorrupt      other bytes than the card's digest       (ours)
├── GoldenMismatch      other logits than its golden vectors     (ours)
├── TorchMissing        this machine cannot run networks         (ours)
├── OnnxMissing         nor ONNX files                           (ours)
├── ImportRefused       a foreign model that is not taken        (theirs)
├── ModelStays          an imported model that cannot be removed (ours)
└── JailUnusable        nothing keeps a conversion off the net   (ours)
"""

from __future__ import annotations


class ModelError(Exception):
    """A model cannot be used."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").splitlines()[0])


class ModelUnknown(ModelError):
    """No model of that id is installed; `roi models` lists those that are."""


class CardInvalid(ModelError):
    """A model's card does not fit the evidence file beside its weights."""


class ChainInvalid(ModelError):
    """A processing chain names a step or a parameter that the vocabulary does not hold."""


class NetworkRefused(ModelError):
    """A network is asked for that is not of the closed list, or with other than plain arguments."""


class WeightsMissing(ModelError):
    """The model's weight file is not where its card says."""


class WeightsCorrupt(ModelError):
    """The model's weight file is not the one its card was written for."""


class GoldenMismatch(ModelError):
    """The model gives other logits than when it was made."""


class TorchMissing(ModelError):
    """No torch on this machine, so it cannot run a model; install the extra `ai`."""


class OnnxMissing(ModelError):
    """No ONNX Runtime on this machine, so it cannot run an ONNX model; install the extra `onnx`."""


class ImportRefused(ModelError):
    """A foreign model is not taken: it is not what was meant, or not what a recipe reads."""


class ModelStays(ModelError):
    """The folder of an imported model cannot be removed."""


class JailUnusable(ModelError):
    """Nothing keeps a conversion from the network on this system, so nothing foreign is opened here."""

"""What can go wrong with a model.

ModelError
├── ModelUnknown        no card of that id                       (ours)
├── CardInvalid         a card that does not fit its evidence    (ours)
├── ChainInvalid        a step or parameter nobody knows         (ours)
├── WeightsMissing      no weight file where the card says       (ours)
├── WeightsCorrupt      other bytes than the card's digest       (ours)
└── TorchMissing        this machine cannot run networks         (ours)
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


class WeightsMissing(ModelError):
    """The model's weight file is not where its card says."""


class WeightsCorrupt(ModelError):
    """The model's weight file is not the one its card was written for."""


class TorchMissing(ModelError):
    """No torch on this machine, so it cannot run a model; install the extra `ai`."""

"""Finds models and loads one: cards come without torch, a model only after its weight file is verified."""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Callable
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import cast

import models.zoo
from models.contract import ModelCard, ModelFile, TriageModel
from models.errors import ModelError, ModelUnknown
from models.weights import require_torch, verify

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "roi.models"


def cards() -> tuple[ModelCard, ...]:
    """Give the card of every installed model, ordered by id: those below `models/zoo`, then other packages'.

    Another package offers a model by an entry point of group ``roi.models`` that names a module with `CARD` and
    `load`, and a folder `weights` beside it.
    """
    return tuple(cast("ModelFile", module).CARD for module in _modules().values())


def card(model_id: str) -> ModelCard:
    """Give the card of one model.

    Raises
    ------
    ModelUnknown
        No installed model has this id.
    """
    return cast("ModelFile", _module(model_id)).CARD


def load(wanted: ModelCard, device: str) -> TriageModel:
    """Load a model.

    Parameters
    ----------
    wanted
        A card of this registry.
    device
        ``cpu`` or ``cuda``; `device()` picks.

    Raises
    ------
    ModelUnknown
        No installed model has this card's id.
    TorchMissing
        This machine cannot run networks.
    WeightsMissing, WeightsCorrupt
        The weight file is absent, or not the one the card was written for.
    """
    module = _module(wanted.id)
    weights = weights_of(wanted)
    require_torch()
    verify(weights, wanted.weights_sha256)
    return cast("ModelFile", module).load(device, weights)


def weights_of(wanted: ModelCard) -> Path:
    """Give the path of a model's weight file, beside its module."""
    return Path(str(_module(wanted.id).__file__)).parent / "weights" / wanted.weights_file


def golden_of(wanted: ModelCard) -> Path:
    """Give the path of a model's golden vectors, beside its weights."""
    return weights_of(wanted).with_suffix(".golden.safetensors")


def device() -> str:
    """Give ``cuda`` where this machine has it, else ``cpu``.  Loads torch.

    Raises
    ------
    TorchMissing
        This machine cannot run networks.
    """
    require_torch()
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _module(model_id: str) -> ModuleType:
    found = _modules()
    if model_id not in found:
        raise ModelUnknown(f"no model is called {model_id!r}; installed are {', '.join(found) or 'none'}")
    return found[model_id]


@lru_cache(maxsize=1)
def _modules() -> dict[str, ModuleType]:
    ours: list[Callable[[], ModuleType]] = [
        partial(import_module, f"models.zoo.{found.name}") for found in pkgutil.iter_modules(models.zoo.__path__)
    ]
    theirs: list[Callable[[], ModuleType]] = [entry.load for entry in entry_points(group=ENTRY_POINT_GROUP)]
    every = {cast("ModelFile", module).CARD.id: module for open_one in (*theirs, *ours) if (module := _open(open_one))}
    return dict(sorted(every.items()))


def _open(open_one: Callable[[], ModuleType]) -> ModuleType | None:
    """Import one model's file; a model whose card cannot be read is left out, loudly, and the others serve."""
    try:
        return open_one()
    except ModelError as error:
        logger.exception("model left out", extra={"action": "model-left-out", "error": str(error)})
        return None

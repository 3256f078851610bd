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
from models.imported import ImportedModel, find
from models.weights import golden_beside, require_torch, verify

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "roi.models"


def cards(imported: Path | None = None) -> tuple[ModelCard, ...]:
    """Give the card of every model, ordered by id: those below `models/zoo`, other packages', and those imported.

    Another package offers a model by an entry point of group ``roi.models`` that names a module with `CARD` and
    `load`, and a folder `weights` beside it.  `imported` is the site's folder of imported models, if it has one; where
    two models have the same id, ours counts, then a package's.
    """
    return tuple(found.CARD for found in _models(imported).values())


def card(model_id: str, imported: Path | None = None) -> ModelCard:
    """Give the card of one model.

    Raises
    ------
    ModelUnknown
        No installed model has this id.
    """
    return _model(model_id, imported).CARD


def load(wanted: ModelCard, device: str, imported: Path | None = None) -> TriageModel:
    """Load a model.

    Parameters
    ----------
    wanted
        A card of this registry.
    device
        ``cpu`` or ``cuda``; `device()` picks.
    imported
        As for `cards`.

    Raises
    ------
    ModelUnknown
        No installed model has this card's id.
    TorchMissing
        This machine cannot run networks.
    WeightsMissing, WeightsCorrupt
        The weight file is absent, or not the one the card was written for.
    """
    found = _model(wanted.id, imported)
    weights = weights_of(wanted, imported)
    require_torch()
    verify(weights, wanted.weights_sha256)
    return found.load(device, weights)


def weights_of(wanted: ModelCard, imported: Path | None = None) -> Path:
    """Give the path of a model's weight file, beside its module or card."""
    found = _model(wanted.id, imported)
    if isinstance(found, ImportedModel):
        return found.folder / wanted.weights_file
    return Path(str(found.__file__)).parent / "weights" / wanted.weights_file  # type: ignore[attr-defined]


def golden_of(wanted: ModelCard, imported: Path | None = None) -> Path:
    """Give the path of a model's golden vectors, beside its weights."""
    return golden_beside(weights_of(wanted, imported))


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


def _model(model_id: str, imported: Path | None) -> ModelFile | ImportedModel:
    found = _models(imported)
    if model_id not in found:
        raise ModelUnknown(f"no model is called {model_id!r}; installed are {', '.join(found) or 'none'}")
    return found[model_id]


def _models(imported: Path | None) -> dict[str, ModelFile | ImportedModel]:
    theirs = find(imported) if imported is not None else {}
    every: dict[str, ModelFile | ImportedModel] = {**theirs, **_modules()}
    return dict(sorted(every.items()))


@lru_cache(maxsize=1)
def _modules() -> dict[str, ModelFile]:
    ours: list[Callable[[], ModuleType]] = [
        partial(import_module, f"models.zoo.{found.name}") for found in pkgutil.iter_modules(models.zoo.__path__)
    ]
    theirs: list[Callable[[], ModuleType]] = [entry.load for entry in entry_points(group=ENTRY_POINT_GROUP)]
    return {found.CARD.id: found for open_one in (*theirs, *ours) if (found := _open(open_one))}


def _open(open_one: Callable[[], ModuleType]) -> ModelFile | None:
    """Import one model's file; a model whose card cannot be read is left out, loudly, and the others serve."""
    try:
        return cast("ModelFile", open_one())
    except ModelError as error:
        logger.exception("model left out", extra={"action": "model-left-out", "error": str(error)})
        return None

"""What a recipe is, and what it makes of a foreign file."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast

import models.importers.recipes
from models.errors import ImportRefused

if TYPE_CHECKING:
    from models.chains import Chain
    from models.contract import FindingSpec, InputRules, Source
    from models.importers.about import About
    from models.importers.jail import Facts
    from models.networks import NetworkSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a recipe makes of a file: everything of a card and a model but the weights and their digest."""

    id: str
    title: str
    intended_use: str
    network: NetworkSpec
    chain: Chain
    findings: tuple[FindingSpec, ...]
    input_rules: InputRules
    source: Source
    limits: tuple[str, ...]
    evidence: Mapping[str, object] = field(default_factory=dict)
    expected_seconds: float = 2.0


class Recipe(Protocol):
    """What `models/importers/recipes/<name>.py` offers.

    `VARIANTS` lists what may follow its name, empty where any name may.  `ABOUT` says whether a person has to describe
    what the file itself does not tell.  `WEIGHTS` is the file that `convert` writes, `LIBRARIES` what it needs loaded.
    """

    VARIANTS: tuple[str, ...]
    ABOUT: bool
    WEIGHTS: str
    LIBRARIES: tuple[str, ...]

    def convert(self, *, source: str, to: str, unsafe_pickle: bool) -> Facts:
        """Write `WEIGHTS` at `to`, and tell what else the file says.  Runs in the jail."""
        ...

    def plan(self, variant: str, facts: Facts, about: About | None) -> Plan:
        """Say what becomes of the file.  Runs outside; `facts` come from the jail and are no more trusted than it."""
        ...


_NAME: Final = re.compile(r"(?P<recipe>[a-z0-9-]+)(?:[/:](?P<variant>[a-z0-9_-]+))?")


def recipes() -> tuple[str, ...]:
    """Give the names of all recipes, with their variants."""
    names = []
    for found in pkgutil.iter_modules(models.importers.recipes.__path__):
        recipe, name = _open(found.name), found.name.replace("_", "-")
        names += [f"{name}/{variant}" for variant in recipe.VARIANTS] or [f"{name}:NAME" if recipe.ABOUT else name]
    return tuple(names)


def find(wanted: str) -> tuple[str, Recipe, str]:
    """Give the module, the recipe and the variant that ``recipe``, ``recipe/variant`` or ``recipe:name`` means.

    Raises
    ------
    ImportRefused
        There is no such recipe or variant.
    """
    read = _NAME.fullmatch(wanted)
    every = {
        found.name.replace("_", "-"): found.name for found in pkgutil.iter_modules(models.importers.recipes.__path__)
    }
    name, variant = (read["recipe"], read["variant"] or "") if read else ("", "")
    if name in every:
        recipe = _open(every[name])
        fits = variant in recipe.VARIANTS if recipe.VARIANTS else bool(variant) == recipe.ABOUT
        if fits:
            return f"{models.importers.recipes.__name__}.{every[name]}", recipe, variant
    raise ImportRefused(f"no recipe is called {wanted!r}; known are {', '.join(recipes())}")


def _open(module: str) -> Recipe:
    return cast("Recipe", import_module(f"{models.importers.recipes.__name__}.{module}"))

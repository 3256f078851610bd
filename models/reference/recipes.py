"""The two reference models as data: chain, findings, and how each is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.chains import Chain, Step

BRAIN, SUBDURAL, BONE = (40.0, 80.0), (80.0, 200.0), (600.0, 2800.0)
"""Windows as (level, width) in Hounsfield units."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What makes one reference model, apart from its weights.

    `training` and `validation` are (first seed, count) of phantoms.  The validation phantoms, whole heads or chests,
    choose the thresholds and nothing else.
    """

    name: str
    chain: Chain
    channels: int
    findings: tuple[str, ...]
    training: tuple[int, int]
    validation: tuple[int, int]
    epochs: int
    batch: int
    learning_rate: float


HEAD_CT = Recipe(
    name="head-ct-haemorrhage",
    chain=Chain(
        before=(
            Step(name="slabs", parameters={"thickness_mm": 5.0}),
            Step(name="resample-in-plane", parameters={"size": 112, "pixel_mm": 2.0, "outside": -1024.0}),
            Step(
                name="windows-with-neighbours", parameters={"windows": ((40.0, 80.0), (80.0, 200.0), (600.0, 2800.0))}
            ),
        ),
        after=(Step(name="probability"), Step(name="mean-of-top", parameters={"count": 2})),
    ),
    channels=5,
    findings=("haemorrhage",),
    training=(0, 12_000),
    validation=(1_000_000, 200),
    epochs=9,
    batch=32,
    learning_rate=4e-3,
)

CHEST = Recipe(
    name="chest-radiograph",
    chain=Chain(
        before=(
            Step(name="stretch", parameters={"low": 0.5, "high": 99.5}),
            Step(name="pad-to-square", parameters={"value": 0.0}),
            Step(name="resize", parameters={"size": 160}),
            Step(name="one-channel"),
        ),
        after=(Step(name="probability"), Step(name="highest")),
    ),
    channels=1,
    findings=("pneumothorax", "effusion", "opacity"),
    training=(0, 8000),
    validation=(1_000_000, 1000),
    epochs=8,
    batch=32,
    learning_rate=4e-3,
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (HEAD_CT, CHEST)}

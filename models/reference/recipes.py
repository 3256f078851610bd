"""The two reference models as data: chain, findings, and how each is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.chains import Chain, Step

BRAIN, SUBDURAL, BONE = (40.0, 80.0), (80.0, 200.0), (600.0, 2800.0)
"""Windows as (level, width) in Hounsfield units."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """One course of training: over which phantoms, (first seed, count), how often, and how fast at most."""

    phantoms: tuple[int, int]
    epochs: int
    learning_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What makes one reference model, apart from its weights.

    The courses follow one another, each going on with the weights of the one before.  `validation` is (first seed,
    count) of phantoms, whole heads or chests, that choose the thresholds and nothing else.
    """

    name: str
    chain: Chain
    channels: int
    findings: tuple[str, ...]
    courses: tuple[Course, ...]
    validation: tuple[int, int]
    batch: int


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
        after=(Step(name="highest-run", parameters={"count": 4}), Step(name="probability")),
        mirrored=True,
    ),
    channels=5,
    findings=("haemorrhage",),
    courses=(
        Course(phantoms=(0, 12_000), epochs=9, learning_rate=4e-3),
        Course(phantoms=(12_000, 12_000), epochs=3, learning_rate=2e-3),
    ),
    validation=(1_000_000, 200),
    batch=32,
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
    courses=(Course(phantoms=(0, 8000), epochs=8, learning_rate=4e-3),),
    validation=(1_000_000, 1000),
    batch=32,
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (HEAD_CT, CHEST)}

"""The closed vocabulary of steps between an input and a network, and between its logits and a score.

A chain is data: step names with parameters, never code from a file.  Its canonical JSON, step versions included, is
part of a model's digest, so a changed step makes another model.  What the steps do is in `models.steps`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from models.errors import ChainInvalid

Parameter = float | int | Sequence[float] | Sequence[Sequence[float]]

BEFORE: Final[Mapping[str, int]] = {
    "slabs": 2,
    "resample-in-plane": 1,
    "windows-with-neighbours": 1,
    "stretch": 1,
    "pad-to-square": 1,
    "resize": 1,
    "one-channel": 1,
    "centre-square": 1,
    "scale": 1,
    "normalised-channels": 1,
}
"""Steps before the network, and their versions."""

AFTER: Final[Mapping[str, int]] = {
    "probability": 1,
    "shares": 1,
    "heads": 1,
    "operating-point-norm": 1,
    "highest": 1,
    "highest-run": 1,
}
"""Steps after the network, and their versions."""


def version_of(name: str) -> int:
    """Return the version of a step.

    Raises
    ------
    ChainInvalid
        The vocabulary does not hold it.
    """
    version = BEFORE.get(name, AFTER.get(name))
    if version is None:
        raise unknown(name, AFTER)
    return version


def unknown(name: str, known: Mapping[str, object]) -> ChainInvalid:
    """Return the error that tells of a step which is not among those known."""
    return ChainInvalid(f"no step is called {name!r}; known are {', '.join(known)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One named step and its parameters."""

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """Steps from a `Volume` or `Radiograph` to the network's input (`before`), and from logits to scores (`after`).

    With `mirrored` the network also sees every item left for right, and the mean of both logits counts.
    """

    before: tuple[Step, ...]
    after: tuple[Step, ...]
    mirrored: bool = False

    def canonical(self) -> str:
        """Give the chain as JSON with sorted keys and each step's version: equal text, equal chain."""
        sides = {
            side: [{"step": step.name, "version": version_of(step.name), **step.parameters} for step in steps]
            for side, steps in (("after", self.after), ("before", self.before))
        }
        return json.dumps(
            sides | ({"mirrored": True} if self.mirrored else {}),
            sort_keys=True,
            separators=(",", ":"),
        )

"""What a person says of a model whose file does not: a TOML file of plain facts, checked word by word."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from models.chains import Chain, Step
from models.contract import FindingSpec, Source, Urgency
from models.errors import ImportRefused
from models.importers.findings import described
from models.networks import Argument

_CLOSED = ConfigDict(extra="forbid")
_Words = Annotated[str, Field(min_length=1, max_length=300)]
_Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the network is shown: a square of `size`, greys from `low` to `high`, a channel for each of `means`."""

    __pydantic_config__: ClassVar = _CLOSED

    size: Annotated[int, Field(ge=16, le=2048)]
    low: float = 0.0
    high: float = 1.0
    means: tuple[float, ...] = (0.0,)
    deviations: tuple[Annotated[float, Field(gt=0)], ...] = (1.0,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """A finding, and at which place of the output it stands."""

    __pydantic_config__: ClassVar = _CLOSED

    output: Annotated[int, Field(ge=0, lt=4096)]
    code: _Code
    name_en: _Words
    name_vi: _Words
    urgency: Urgency
    threshold: Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class From:
    """Where code and weights come from, and under which terms."""

    __pydantic_config__: ClassVar = _CLOSED

    code: _Words
    code_licence: _Words
    weights: _Words
    weights_licence: _Words


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """The whole file."""

    __pydantic_config__: ClassVar = _CLOSED

    title: _Words
    intended_use: _Words
    input: Seen
    activation: Literal["sigmoid", "softmax", "none"]
    findings: Annotated[tuple[Looked, ...], Field(min_length=1)]
    source: From
    network: dict[str, Argument] | None = None

    def origin(self) -> Source:
        """Give where it comes from, as a card has it."""
        told = self.source
        return Source(
            code=told.code,
            code_licence=told.code_licence,
            weights=told.weights,
            weights_licence=told.weights_licence,
        )

    def looked_for(self) -> tuple[FindingSpec, ...]:
        """Give the findings, as a card has them."""
        return tuple(
            described(
                one.code,
                one.name_en,
                one.name_vi,
                one.urgency,
                threshold=one.threshold,
                chosen="said at the import; not measured here",
            )
            for one in self.findings
        )

    def chain(self) -> Chain:
        """Give the chain around the network."""
        steps = {"sigmoid": ("probability",), "softmax": ("shares",), "none": ()}
        shown = self.input
        return Chain(
            before=(
                Step(name="centre-square"),
                Step(name="resize", parameters={"size": shown.size}),
                Step(name="scale", parameters={"low": shown.low, "high": shown.high}),
                Step(name="normalised-channels", parameters={"means": shown.means, "deviations": shown.deviations}),
            ),
            after=(
                *(Step(name=name) for name in steps[self.activation]),
                Step(name="heads", parameters={"outputs": tuple(float(one.output) for one in self.findings)}),
                Step(name="highest"),
            ),
        )

    def check(self, *, channels: int, outputs: int) -> None:
        """Check what is said against what the file tells.

        Raises
        ------
        ImportRefused
            The two contradict each other.
        """
        if not len(self.input.means) == len(self.input.deviations) == channels:
            raise ImportRefused(
                f"the network sees {channels} channels, but the description has {len(self.input.means)}"
            )
        beyond = [one.output for one in self.findings if one.output >= outputs]
        if beyond:
            raise ImportRefused(f"the network has {outputs} outputs, but the description names output {beyond[0]}")
        if len({one.code for one in self.findings}) < len(self.findings):
            raise ImportRefused("the description has two findings of the same code")


def read_about(path: Path) -> About:
    """Read a description.

    Raises
    ------
    ImportRefused
        It is no TOML, or says too little, or something unknown.
    """
    try:
        with path.open("rb") as file:
            return _adapter().validate_python(tomllib.load(file))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ImportRefused(f"{path.name}: {place}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise ImportRefused(f"{path.name} cannot be read: {error}") from error


@cache
def _adapter() -> TypeAdapter[About]:
    return TypeAdapter(About)

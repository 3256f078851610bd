"""Figures in the text form that Prometheus reads (version 0.0.4 of its exposition format)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Samples of one name: what they are, and each with its labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: list[tuple[str, Mapping[str, str], float]] = field(default_factory=list)
    """(suffix of the name, labels, value)"""

    def add(self, value: float, suffix: str = "", **labels: str) -> None:
        """Add a sample."""
        self.samples.append((suffix, labels, value))

    def add_histogram(self, buckets: Sequence[tuple[float, int]], *, count: int, total: float, **labels: str) -> None:
        """Add what fell into buckets, each with all below it, and what all of it adds up to."""
        for bound, number in buckets:
            self.add(number, "_bucket", **labels, le=f"{bound:g}")
        self.add(count, "_bucket", **labels, le="+Inf")
        self.add(total, "_sum", **labels)
        self.add(count, "_count", **labels)


def written(families: Iterable[Family]) -> str:
    """Return families as text, each with its help and its type; those without a sample are left out."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines.append(f"# HELP {family.name} {family.help.translate(_HELP_ESCAPES)}")
            lines.append(f"# TYPE {family.name} {family.kind}")
            lines += [_line(family.name + suffix, labels, value) for suffix, labels, value in family.samples]
    return "".join(f"{line}\n" for line in lines)


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))

"""The rows of the ingest table: what is sent to whom, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.clients import CLIENTS


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Medians over the rounds of one contestant; the peaks are the highest."""

    server: str
    promise: str
    rounds: int
    instances: int
    instances_per_s: float
    instances_per_s_range: tuple[float, float]
    mb_per_s: float
    cpu_ms: float
    """Processor time of the server for an instance."""
    peak_mb: float
    """Of all its processes together, shared memory once."""
    peak_process_mb: float
    """Of its largest process."""
    store_ms_p50: float | None
    store_ms_p99: float | None
    others: float | None
    """Share of the machine that others used."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A bound on a figure of `ours`, or on its ratio to that of `theirs` in the same rounds."""

    figure: str
    """A key of `MEASURES`."""
    ours: str
    theirs: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def value(self, figures: Mapping[str, Figures]) -> float | None:
        """Return the figure or ratio; None where a contestant did not run."""
        measure = MEASURES[self.figure]
        if self.ours not in figures or (self.theirs is not None and self.theirs not in figures):
            return None
        own = measure(figures[self.ours])
        if self.theirs is None:
            return own
        other = measure(figures[self.theirs])
        return own / other if other else None

    def met(self, value: float) -> bool:
        """Tell whether the value is within the bounds."""
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    @property
    def bound(self) -> str:
        """The bounds, to be read."""
        parts = [f">= {self.at_least:g}"] if self.at_least is not None else []
        return " ".join([*parts, *([f"<= {self.at_most:g}"] if self.at_most is not None else [])])


MEASURES: Mapping[str, Callable[[Figures], float]] = {
    "instances/s": lambda figures: figures.instances_per_s,
    "MB/s": lambda figures: figures.mb_per_s,
    "CPU an instance": lambda figures: figures.cpu_ms,
    "time an instance": lambda figures: 1 / figures.instances_per_s,
    "peak MB of a process": lambda figures: figures.peak_process_mb,
}


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One row group of the table."""

    name: str
    title: str
    corpus: str
    lanes: int
    contestants: Sequence[str]
    """Keys of `benchmarks.field.MAKERS`."""
    goals: Sequence[Goal] = ()
    client: str = "fast"
    new_uids: bool = False
    """Send other instances each round: the catalogue is kept from one to the next."""

    def __post_init__(self) -> None:
        """Refuse a row that names what is not in it."""
        for goal in self.goals:
            if not {goal.ours, goal.theirs or goal.ours} <= set(self.contestants) or goal.figure not in MEASURES:
                raise ValueError(f"{self.name}: a goal names what is not in the row")
        if self.client not in CLIENTS:
            raise ValueError(f"{self.name}: no client {self.client}")


def _rate(ours: str, theirs: str, at_least: float) -> Goal:
    return Goal(figure="instances/s", ours=ours, theirs=theirs, at_least=at_least)


def _no_dearer(ours: str, theirs: str) -> tuple[Goal, Goal]:
    return tuple(  # type: ignore[return-value]
        Goal(figure=figure, ours=ours, theirs=theirs, at_most=1.3) for figure in ("time an instance", "CPU an instance")
    )


WORKLOADS = (
    Workload(
        name="ct-4",
        title="CT 532 KB, 4 associations",
        corpus="ct",
        lanes=4,
        contestants=("roi", "roi-2", "orthanc", "bare", "floor", "storescp"),
        goals=(
            _rate("roi", "orthanc", 3.0),
            Goal(figure="CPU an instance", ours="roi", theirs="orthanc", at_most=0.35),
            _rate("roi", "bare", 0.8),
        ),
    ),
    Workload(
        name="ct-1",
        title="CT 532 KB, 1 association",
        corpus="ct",
        lanes=1,
        contestants=("roi", "roi-relaxed", "orthanc", "bare", "floor"),
        goals=(_rate("roi", "orthanc", 3.0), _rate("roi-relaxed", "orthanc", 4.0)),
    ),
    Workload(
        name="tiny-4",
        title="tiny 8 KB, 4 associations",
        corpus="tiny",
        lanes=4,
        contestants=("roi", "orthanc", "bare", "floor", "storescp"),
        goals=(_rate("roi", "orthanc", 2.5),),
    ),
    Workload(
        name="dx-1",
        title="DX 8 MB, 1 association",
        corpus="dx",
        lanes=1,
        contestants=("roi", "orthanc", "bare", "floor", "storescp"),
        goals=(Goal(figure="MB/s", ours="roi", theirs="orthanc", at_least=2.5),),
    ),
    Workload(
        name="stow",
        title="STOW-RS, one CT study a request, 1 connection",
        corpus="ct",
        lanes=1,
        client="STOW-RS",
        contestants=("roi-api", "orthanc"),
        goals=(_rate("roi-api", "orthanc", 2.0),),
    ),
    Workload(
        name="servers",
        title="CT 532 KB, 4 associations, on PostgreSQL and MinIO",
        corpus="ct",
        lanes=4,
        contestants=("roi-servers", "orthanc-postgres"),
        goals=(_rate("roi-servers", "orthanc-postgres", 1.5),),
    ),
    Workload(
        name="dcmsend",
        title="CT 532 KB, 4 real clients (dcmsend)",
        corpus="ct",
        lanes=4,
        client="dcmsend",
        contestants=("roi", "roi-2", "orthanc", "storescp"),
    ),
    Workload(
        name="memory",
        title="128 MiB an instance, 16 associations",
        corpus="long",
        lanes=16,
        contestants=("roi",),
        goals=(Goal(figure="peak MB of a process", ours="roi", at_most=200),),
    ),
    Workload(
        name="full-sqlite",
        title="tiny 8 KB, 4 associations, full and empty SQLite",
        corpus="tiny",
        lanes=4,
        contestants=("roi-full-sqlite", "roi-empty-sqlite"),
        goals=_no_dearer("roi-full-sqlite", "roi-empty-sqlite"),
        new_uids=True,
    ),
    Workload(
        name="full-postgresql",
        title="tiny 8 KB, 4 associations, full and empty PostgreSQL",
        corpus="tiny",
        lanes=4,
        contestants=("roi-full-postgresql", "roi-empty-postgresql"),
        goals=_no_dearer("roi-full-postgresql", "roi-empty-postgresql"),
        new_uids=True,
    ),
)
"""Tiny instances in the last two: the catalogue's share of the cost is largest there."""

"""A rush of routine work: what becomes of urgent studies, and of those that they overtake.

For some time four times as much routine work becomes ready as the readers can read; urgent work goes on as always.  The
same days are read by arrival, by due date as the list does, and with everything flagged first.  By due date an urgent
study waits for no routine work until that has waited longer than the head start between the two targets: so urgent work
stays within its target in a rush of about head start / (overload - 1) minutes, and in a longer one nobody's promise is
broken, but urgent work waits.  A person's STAT always goes first.

    python -m benchmarks.overload --json result.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from inference.priority import AI_TARGETS, TARGETS
from inference.simulation import Policy, Rank, Study, due_date, fifo, flagged_first, read_all
from storage.records import OrderPriority

TARGET_MIN: Final = AI_TARGETS["critical"].total_seconds() / 60
STAT_MIN: Final = TARGETS[OrderPriority.STAT].total_seconds() / 60
HEAD_START_MIN: Final = TARGETS[OrderPriority.ROUTINE].total_seconds() / 60 - TARGET_MIN
POLICIES: Final[dict[str, Policy]] = {
    "by arrival": fifo,
    "by due date": due_date(HEAD_START_MIN),
    "flagged first": flagged_first,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rush:
    """A day with a rush in it; times in minutes, loads in shares of the readers' time."""

    rush_min: float
    overload: float = 4.0
    """Routine work in the rush."""
    routine: float = 0.5
    """Routine work before and after it."""
    urgent: float = 0.05
    stat: float = 0.01
    readers: int = 4
    reading_min: float = 8.0
    before_min: float = 240.0
    after_min: float = 720.0
    ai_min: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Waits:
    """What a policy did in all days of a rush; minutes."""

    policy: str
    urgent_p99: float
    urgent_longest: float
    urgent_within: float
    """Share of urgent studies read within their target."""
    stat_p99: float
    routine_p99: float
    overtaken_by: float
    """The latest that an urgent study became ready after a routine one that it overtook."""


def days(rush: Rush, *, count: int, seed: int) -> list[list[Study]]:
    """Draw days, each of its own."""
    return [_day(rush, np.random.default_rng([seed, day])) for day in range(count)]


def _day(rush: Rush, order: np.random.Generator) -> list[Study]:
    begins, ends = rush.before_min, rush.before_min + rush.rush_min
    length = ends + rush.after_min
    drawn = [
        *_drawn(rush, order, Rank.PLAIN, rush.routine, (0.0, begins)),
        *_drawn(rush, order, Rank.PLAIN, rush.overload, (begins, ends)),
        *_drawn(rush, order, Rank.PLAIN, rush.routine, (ends, length)),
        *_drawn(rush, order, Rank.FLAGGED, rush.urgent, (0.0, length)),
        *_drawn(rush, order, Rank.FIRST, rush.stat, (0.0, length)),
    ]
    return sorted(drawn, key=lambda study: study.arrival)


def _drawn(
    rush: Rush, order: np.random.Generator, rank: Rank, load: float, between: tuple[float, float]
) -> list[Study]:
    since, until = between
    rate = load * rush.readers / rush.reading_min
    count = order.poisson(rate * (until - since))
    arrivals, readings = order.uniform(since, until, count), order.exponential(rush.reading_min, count)
    return [
        Study(arrival=arrival, reading=reading, diseased=rank is Rank.FLAGGED, rank=rank, ai_min=rush.ai_min)
        for arrival, reading in zip(arrivals.tolist(), readings.tolist(), strict=True)
    ]


def measure(rush: Rush, policy: str, drawn: Sequence[Sequence[Study]]) -> Waits:
    """Read all days by one policy."""
    waits: dict[Rank, list[float]] = {rank: [] for rank in Rank}
    overtaken_by = 0.0
    for day in drawn:
        waited = read_all(day, POLICIES[policy], readers=rush.readers)
        for study, wait in zip(day, waited.tolist(), strict=True):
            waits[study.rank].append(wait)
        overtaken_by = max(overtaken_by, latest_overtaking(day, waited))
    urgent, stat, routine = (np.array(waits[rank]) for rank in (Rank.FLAGGED, Rank.FIRST, Rank.PLAIN))
    return Waits(
        policy=policy,
        urgent_p99=float(np.percentile(urgent, 99)),
        urgent_longest=float(urgent.max()),
        urgent_within=float((urgent <= TARGET_MIN).mean()),
        stat_p99=float(np.percentile(stat, 99)),
        routine_p99=float(np.percentile(routine, 99)),
        overtaken_by=overtaken_by,
    )


def latest_overtaking(day: Sequence[Study], waited: npt.NDArray[np.float64]) -> float:
    """Return by how much an urgent study became ready after a routine one that it overtook, at most."""
    begun = waited + np.array([study.arrival for study in day])
    latest = 0.0
    routine = [number for number, study in enumerate(day) if study.rank is Rank.PLAIN]
    for urgent, study in enumerate(day):
        if study.rank is Rank.FLAGGED:
            # In order of arrival: the first that was there and waits still has been there longest.
            overtaken = next((number for number in routine if begun[number] > begun[urgent]), urgent)
            latest = max(latest, study.arrival - day[overtaken].arrival)
    return latest


def main() -> None:
    """Print what a rush of each length does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rush-min", type=float, nargs="+", default=[15, 30, 60, 90, 180])
    parser.add_argument("--days", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = {}
    for minutes in asked.rush_min:
        rush = Rush(rush_min=minutes)
        drawn = days(rush, count=asked.days, seed=asked.seed)
        found[minutes] = [measure(rush, policy, drawn) for policy in POLICIES]
    Console(width=140).print(_table(found))
    if asked.json:
        told = {f"{minutes:g}": [asdict(each) for each in rows] for minutes, rows in found.items()}
        asked.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _table(found: dict[float, list[Waits]]) -> Table:
    rush = Rush(rush_min=0)
    table = Table(
        title=f"A rush of {rush.overload:g} times what {rush.readers} readers can read, minutes.  Targets: urgent "
        f"{TARGET_MIN:g}, STAT {STAT_MIN:g}; head start {HEAD_START_MIN:g}",
        title_justify="left",
    )
    table.add_column("rush")
    table.add_column("order")
    for column in ("urgent p99", "longest", "in target", "STAT p99", "routine p99", "overtaken by at most"):
        table.add_column(column, justify="right")
    for minutes, rows in found.items():
        for each in rows:
            table.add_row(
                f"{minutes:g}",
                each.policy,
                f"{each.urgent_p99:.1f}",
                f"{each.urgent_longest:.1f}",
                f"{100 * each.urgent_within:.1f} %",
                f"{each.stat_p99:.1f}",
                f"{each.routine_p99:.0f}",
                f"{each.overtaken_by:.0f}",
            )
        table.add_section()
    return table


if __name__ == "__main__":
    main()

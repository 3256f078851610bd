"""The way of a result in stages: from the first byte of its study to a reader's word on it.

A stage is the time since the stamp before it, in the order in which they happened: the stages add up to the time from
end to end, whatever was stamped and whatever was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Final

from storage.records import Outcome

if TYPE_CHECKING:
    from storage.catalog.timings import Open, Timed

STAGES: Final = (
    "received_first",
    "received_last",
    "complete",
    "claimed",
    "selected",
    "decoded",
    "gated",
    "predicted",
    "committed",
    "shown",
    "opened",
    "acknowledged",
)
"""The stamps in their usual order; of a provisional run some come earlier."""

FLAG_TARGETS_S: Final[Mapping[str, float]] = {"radiograph": 10.0, "volume": 20.0}
"""By the kind of a model's input: from the last image to the list, of 95 % of all runs."""
OBJECTIVE: Final = 0.95
BUDGET_DAYS: Final = 28

BUCKETS_S: Final = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    20.0,
    30.0,
    60.0,
    120.0,
    300.0,
    900.0,
    3600.0,
)
"""Upper ends of a histogram's buckets; what is above the last is in the whole count alone."""

_ASKED_AGAIN: Final = timedelta(minutes=1)
"""A job made so long after completion was asked for later: its images tell nothing of how fast it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A stamp, and the time since the one before it."""

    name: str
    at: datetime
    took: timedelta


def waterfall(stamps: Mapping[str, datetime]) -> tuple[Stage, ...]:
    """Put stamps into the order in which they happened; those at one moment in their usual order."""
    order = sorted(stamps, key=lambda name: (stamps[name], _usual(name)))
    before = [order[0], *order[:-1]] if order else []
    return tuple(
        Stage(name=name, at=stamps[name], took=stamps[name] - stamps[previous])
        for name, previous in zip(order, before, strict=True)
    )


def stamps_of(
    times: Mapping[str, float],
    *,
    shown: datetime | None = None,
    opened: datetime | None = None,
    acknowledged: datetime | None = None,
) -> dict[str, datetime]:
    """Return the stamps of a result: its own, POSIX seconds, and what came after it.

    Who opened the study before the result was there did not open it for the result.
    """
    stamps = {name: datetime.fromtimestamp(seconds, UTC) for name, seconds in times.items()}
    committed = stamps.get("committed")
    if opened is not None and committed is not None and opened < committed:
        opened = None
    later = {"shown": shown, "opened": opened, "acknowledged": acknowledged}
    return stamps | {name: at for name, at in later.items() if at is not None}


def to_flag(times: Mapping[str, float]) -> timedelta | None:
    """Return the time from the last image to the moment at which the list knew the result."""
    if "received_last" not in times or "committed" not in times:
        return None
    return timedelta(seconds=times["committed"] - times["received_last"])


def _usual(name: str) -> int:
    return STAGES.index(name) if name in STAGES else len(STAGES)


# ------------------------------------------------------------------------------------------------------- many runs
@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """How long something took, in seconds, over many runs."""

    count: int
    p50_s: float
    p95_s: float
    p99_s: float
    longest_s: float
    total_s: float
    buckets: tuple[int, ...]
    """How many took no longer than each of `BUCKETS_S`."""


def spread(seconds: Iterable[float]) -> Spread | None:
    """Return the spread of times, None of none."""
    ordered = sorted(seconds)
    if not ordered:
        return None
    return Spread(
        count=len(ordered),
        p50_s=quantile(ordered, 0.5),
        p95_s=quantile(ordered, 0.95),
        p99_s=quantile(ordered, 0.99),
        longest_s=ordered[-1],
        total_s=sum(ordered),
        buckets=tuple(sum(1 for one in ordered if one <= bound) for bound in BUCKETS_S),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the values that at least `share` of them do not exceed (nearest rank)."""
    return ordered[max(0, ceil(share * len(ordered) - 1e-9) - 1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How many runs were late, and how much of what may be late that is.

    `late` counts those over the target, those that failed, and those that should have ended by now.
    """

    target_s: float
    objective: float
    runs: int
    late: int
    failed: int
    overdue: int

    @property
    def kept(self) -> float | None:
        """The share of runs in time; None of none."""
        return 1 - self.late / self.runs if self.runs else None

    @property
    def used(self) -> float | None:
        """The share of the error budget that is used: above 1 the objective is missed; None of none."""
        return self.late / (self.runs * (1 - self.objective)) if self.runs else None


def budget(ended: Iterable[Timed], still_open: Iterable[Open], *, target_s: float, now: datetime) -> Budget:
    """Hold runs of one model against a target; those that were asked for later than their images came do not count."""
    target = timedelta(seconds=target_s)
    counted = [run for run in ended if is_prompt(run.asked_at, _completed(run))]
    took = [to_flag(run.times) for run in counted]
    failed = sum(run.outcome is Outcome.FAILED for run in counted)
    slow = sum(
        run.outcome is not Outcome.FAILED and span is not None and span > target
        for run, span in zip(counted, took, strict=True)
    )
    overdue = sum(now - job.received_last > target for job in still_open if is_prompt(job.created_at, job.completed_at))
    return Budget(
        target_s=target_s,
        objective=OBJECTIVE,
        runs=len(counted) + overdue,
        late=failed + slow + overdue,
        failed=failed,
        overdue=overdue,
    )


def is_prompt(asked_at: datetime, completed_at: datetime | None) -> bool:
    """Tell whether a job was made when its study was complete, or before."""
    return completed_at is None or asked_at - completed_at <= _ASKED_AGAIN


def _completed(run: Timed) -> datetime | None:
    return datetime.fromtimestamp(run.times["complete"], UTC) if "complete" in run.times else None

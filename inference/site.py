"""A reading room in figures, and what is answered about flags there: words for who asks and for who reckons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from storage.catalog.flow import Ready

HOURS_A_WEEK: Final = 168


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """What a site says of itself.

    `readers` is how many read at a time, `reading_min` the minutes they take for a study, `hourly` the mean arrivals
    in each of the 168 hours of a week from Monday 00:00, of everything that is read at this desk.  `eligible` is the
    share of them that the model looks at, `prevalence` the share of these that has the finding.  `head_start_min` is
    how much earlier a flagged study is due.
    """

    readers: int
    reading_min: float
    hourly: tuple[float, ...]
    eligible: float
    prevalence: float
    head_start_min: float
    ai_min: float = 0.5

    @property
    def traffic(self) -> float:
        """The share of the readers' time that is asked for; at 1 and above the list only grows."""
        return sum(self.hourly) / HOURS_A_WEEK / 60 * self.reading_min / self.readers


def hourly_means(ready: Iterable[Ready], *, since: datetime, until: datetime, zone: tzinfo) -> tuple[float, ...]:
    """Give the mean arrivals in each hour of a week, Monday 00:00 first, of the time between two moments."""
    counts = [0] * HOURS_A_WEEK
    for study in ready:
        local = study.at.astimezone(zone)
        counts[local.weekday() * 24 + local.hour] += 1
    weeks = (until - since).total_seconds() / (7 * 24 * 3600)
    return tuple(count / weeks for count in counts) if weeks > 0 else (0.0,) * HOURS_A_WEEK


@dataclass(frozen=True, kw_only=True, slots=True)
class Waits:
    """Mean waits in minutes: without the AI, and with it for what is flagged, not flagged, diseased and not."""

    without_diseased: float
    without_other: float
    flagged: float
    unflagged: float
    diseased: float
    other: float

    @property
    def gained(self) -> float:
        """Minutes that the diseased wait less."""
        return self.without_diseased - self.diseased

    @property
    def lost(self) -> float:
        """Minutes that the others wait longer."""
        return self.other - self.without_other


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """Minutes that one group waits, by arrival and by due date; `change_interval` is 95 % of their mean difference."""

    group: str
    share: float
    fifo_mean: float
    fifo_p95: float
    mean: float
    p95: float
    longest: float
    change: float
    change_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """What is to be expected; rates in 0..1, times in minutes."""

    traffic: float
    studies_a_week: float
    ppv: float
    npv: float
    flags_a_week: float
    false_flags_a_week: float
    missed_a_week: float
    steady: Waits | None
    """Flagged first at a steady load of the same size, in closed form; None where the load has none."""
    lines: tuple[Line, ...]

"""Reading rooms played through, study by study: what an order of reading does to waiting times on real days.

The same arrivals and the same reading times are read under one `Policy` after the other, so that differences are those
of the order alone.  Where `inference.queueing` has a closed form, the two agree; what has none is played here: several
readers with different reading times, day and night, late AI results, orders that look at the clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush
from typing import Final

import numpy as np
import numpy.typing as npt

from inference.queueing import Desk, Detector

_MINUTES_A_WEEK: Final = 7 * 24 * 60.0


class Rank(IntEnum):
    """What a study is to the order of reading."""

    FIRST = 0
    """It comes first whatever an AI says."""
    FLAGGED = 1
    PLAIN = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A study to be read; times in minutes, arrivals in ascending order."""

    arrival: float
    reading: float
    diseased: bool
    rank: Rank
    ai_min: float = 0.0
    """From the arrival until the AI's flag is there; until then a flagged study is plain."""


Policy = Callable[[float, float, Rank], float]
"""(now, arrival, rank) -> what is smallest is read next; of one rank, always the study that came first."""


def fifo(_now: float, arrival: float, rank: Rank) -> float:
    """Read in order of arrival, but for what comes first anyway."""
    return _AHEAD + arrival if rank is Rank.FIRST else arrival


def flagged_first(_now: float, arrival: float, rank: Rank) -> float:
    """Read everything flagged before anything that is not."""
    return arrival + (_AHEAD, _AHEAD / 2, 0.0)[rank]


def due_date(head_start_min: float) -> Policy:
    """Read by due date: no study is overtaken by one that came more than `head_start_min` after it."""

    def key(_now: float, arrival: float, rank: Rank) -> float:
        return arrival + (_AHEAD, -head_start_min, 0.0)[rank]

    return key


def capped(cap_min: float) -> Policy:
    """Read flagged studies first, but what has waited `cap_min` before all."""

    def key(now: float, arrival: float, rank: Rank) -> float:
        if rank is not Rank.FIRST and now - arrival >= cap_min:
            return _AHEAD * 0.75 + arrival
        return flagged_first(now, arrival, rank)

    return key


def accumulating(ratio: float) -> Policy:
    """Read what has waited longest, where a minute of a flagged study counts `ratio` times."""

    def key(now: float, arrival: float, rank: Rank) -> float:
        return _AHEAD + arrival if rank is Rank.FIRST else -(now - arrival) * (ratio if rank is Rank.FLAGGED else 1)

    return key


_AHEAD: Final = -1e12
"""Further ahead than any arrival, in minutes."""


# --------------------------------------------------------------------------------------------------- what arrives
def steady_studies(desk: Desk, detector: Detector, *, count: int, seed: int, ai_min: float = 0.0) -> list[Study]:
    """Draw `count` studies of a steady load: the model of the closed forms."""
    p = detector.prevalence
    mean = desk.interrupting * desk.interrupting_min + (1 - desk.interrupting) * (
        p * desk.diseased_min + (1 - p) * desk.other_min
    )
    rate = desk.traffic * desk.readers / mean
    order = np.random.default_rng(seed)
    arrivals = np.cumsum(order.exponential(1 / rate, count))
    return _drawn(order, arrivals, desk, detector, ai_min)


def weekly_studies(
    hourly: Sequence[float], desk: Desk, detector: Detector, *, weeks: int, seed: int, ai_min: float = 0.0
) -> list[Study]:
    """Draw studies that arrive as on real weeks.

    Parameters
    ----------
    hourly
        Mean arrivals in each of the 168 hours of a week, from Monday 00:00 on.
    desk, detector
        Reading times and shares; `Desk.traffic` is not used, it follows from the arrivals.
    weeks
        How many.
    """
    if len(hourly) != 168 or min(hourly) < 0 or not sum(hourly):
        raise ValueError("a week is 168 hourly means of arrivals, none below 0 and not all 0")
    order = np.random.default_rng(seed)
    counts = order.poisson(np.tile(np.asarray(hourly, dtype=float), weeks))
    hours = np.repeat(np.arange(len(counts)), counts)
    arrivals = np.sort((hours + order.random(len(hours))) * 60)
    return _drawn(order, arrivals, desk, detector, ai_min)


def _drawn(
    order: np.random.Generator, arrivals: npt.NDArray[np.float64], desk: Desk, detector: Detector, ai_min: float
) -> list[Study]:
    count = len(arrivals)
    first = order.random(count) < desk.interrupting
    diseased = ~first & (order.random(count) < detector.prevalence)
    flagged = ~first & (order.random(count) < np.where(diseased, detector.sensitivity, 1 - detector.specificity))
    mean = np.where(first, desk.interrupting_min, np.where(diseased, desk.diseased_min, desk.other_min))
    reading = order.exponential(1.0, count) * mean
    rank = np.where(first, Rank.FIRST, np.where(flagged, Rank.FLAGGED, Rank.PLAIN))
    return [
        Study(arrival=one[0], reading=one[1], diseased=one[2], rank=Rank(one[3]), ai_min=ai_min)
        for one in zip(arrivals.tolist(), reading.tolist(), diseased.tolist(), rank.tolist(), strict=True)
    ]


# ------------------------------------------------------------------------------------------------------- a reading
def read_all(studies: Sequence[Study], policy: Policy, *, readers: int) -> npt.NDArray[np.float64]:
    """Read every study under a policy; return their waits until reading begins, minutes, in the order of `studies`.

    A reader finishes what is in hand.  A flag moves a study from the moment at which it is there.
    """
    waits = np.zeros(len(studies))
    lines: Mapping[Rank, deque[int]] = {rank: deque() for rank in Rank}
    free = [0.0] * readers
    """When each reader is free next."""
    coming = [(study.arrival, number, False) for number, study in enumerate(studies)]
    flags: list[tuple[float, int, bool]] = []
    begun: set[int] = set()
    position, left = 0, len(studies)
    while left:
        now = heappop(free)
        if not any(lines.values()):
            now = max(now, coming[position][0])
        while True:
            event = _next(coming, position, flags, now)
            if event is None:
                break
            _, number, is_flag = event
            if is_flag:
                heappop(flags)
                if number not in begun:
                    lines[Rank.PLAIN].remove(number)
                    _insert(lines[Rank.FLAGGED], number)
                continue
            position += 1
            study = studies[number]
            late = study.rank is Rank.FLAGGED and study.ai_min > 0
            lines[Rank.PLAIN if late else study.rank].append(number)
            if late:
                heappush(flags, (study.arrival + study.ai_min, number, True))
        rank = min(
            (rank for rank in Rank if lines[rank]), key=lambda rank: policy(now, studies[lines[rank][0]].arrival, rank)
        )
        number = lines[rank].popleft()
        begun.add(number)
        waits[number] = now - studies[number].arrival
        heappush(free, now + studies[number].reading)
        left -= 1
    return waits


def _next(
    coming: Sequence[tuple[float, int, bool]], position: int, flags: Sequence[tuple[float, int, bool]], now: float
) -> tuple[float, int, bool] | None:
    """Give the earliest arrival or flag that has happened by `now`."""
    there = [events[at] for events, at in ((coming, position), (flags, 0)) if at < len(events) and events[at][0] <= now]
    return min(there, default=None)


def _insert(line: deque[int], number: int) -> None:
    """Put a study where it belongs by arrival: a flag may come after that of a study which came later."""
    after = 0
    while after < len(line) and line[-1 - after] > number:
        after += 1
    line.insert(len(line) - after, number)

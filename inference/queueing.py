"""What an order of reading does to waiting times, in closed form: the arithmetic behind `roi triage expect`.

Studies arrive at random (Poisson), some readers take exponential times over them, and an AI moves what it flags to the
front.  The notation follows Thompson et al., Queueing Systems 108 (2024) 579-610, whose tool QuCAD (DIDSR, CC0) is the
yardstick of the tests.  Waiting is the time from a study's arrival to the end of its reading, less the reading itself:
where readers may be interrupted, interruptions count as waiting.

No number here knows anything of a hospital: what goes in must have been measured, and the answer holds for a steady
load.  `inference.simulation` takes days as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, lgamma, log
from typing import Final

import numpy as np
import numpy.typing as npt

from inference.site import Waits

_PHASES: Final = 60
"""Interrupting studies that the chain keeps count of; at the loads allowed, more are there less than once in 1e9."""

_MOST_TRAFFIC: Final = 0.99


@dataclass(frozen=True, kw_only=True, slots=True)
class Detector:
    """How well an AI finds one thing: prevalence among what it looks at, sensitivity and specificity, all in 0..1."""

    prevalence: float
    sensitivity: float
    specificity: float

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        for name in ("prevalence", "sensitivity", "specificity"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")

    @property
    def flagged(self) -> float:
        """The share that is flagged, rightly or not."""
        return self.prevalence * self.sensitivity + (1 - self.prevalence) * (1 - self.specificity)

    @property
    def ppv(self) -> float:
        """The share of flags that are right; not a number where nothing is flagged."""
        return self.prevalence * self.sensitivity / self.flagged if self.flagged else float("nan")

    @property
    def npv(self) -> float:
        """The share of unflagged studies that are free of the finding."""
        clear = 1 - self.flagged
        return (1 - self.prevalence) * self.specificity / clear if clear else float("nan")


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """A reading desk.

    `traffic` is the share of the readers' time that is asked for, below 1.  `interrupting` is the share of studies that
    come first whatever an AI says, and `interrupting_min` their reading time; `diseased_min` and `other_min` those of
    the rest, in minutes.  `preemptive` tells whether a reader drops the study in hand for a more urgent one: people do
    not, and the theory of QuCAD does.
    """

    traffic: float
    readers: int = 1
    diseased_min: float = 10.0
    other_min: float = 10.0
    interrupting: float = 0.0
    interrupting_min: float = 5.0
    preemptive: bool = False

    def __post_init__(self) -> None:
        """Refuse a desk that no formula fits."""
        if not 0 < self.traffic <= _MOST_TRAFFIC:
            raise ValueError(
                f"traffic is above 0 and at most {_MOST_TRAFFIC}, not {self.traffic}: else lists only grow"
            )
        if self.readers < 1:
            raise ValueError("a desk has one reader at least")
        if not 0 <= self.interrupting < 1:
            raise ValueError(f"the interrupting share is from 0 to below 1, not {self.interrupting}")
        if not all(isfinite(time) and time > 0 for time in (self.diseased_min, self.other_min, self.interrupting_min)):
            raise ValueError("reading times are minutes above 0")


class NoClosedForm(ValueError):
    """These settings have no closed form here; the simulation takes them."""


def expected_waits(desk: Desk, detector: Detector) -> Waits:
    """Give the mean waits of one AI that moves what it flags to the front.

    Exact for one reader with any reading times (M/G/1), for any number of readers with equal ones, and for several
    readers who are interrupted by studies of another reading time (`preemptive`).

    Raises
    ------
    NoClosedForm
        Several readers and reading times that differ between diseased and other studies, or interrupting studies at a
        desk where nobody is interrupted.
    """
    solve = _one_reader if desk.readers == 1 else _several_readers
    return solve(desk, detector)


def _mixed(detector: Detector, flagged: float, unflagged: float) -> tuple[float, float]:
    """Give the waits of diseased and of other studies from those of what is flagged and what is not."""
    hit, alarm = detector.sensitivity, 1 - detector.specificity
    return hit * flagged + (1 - hit) * unflagged, alarm * flagged + (1 - alarm) * unflagged


# ------------------------------------------------------------------------------------------- one reader, exactly
@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Studies of one rank: arrivals a minute, and the first two moments of their reading time."""

    rate: float
    mean: float
    square: float


def _one_reader(desk: Desk, detector: Detector) -> Waits:
    front, flagged, unflagged, everyone = _groups(desk, detector)
    with_ai = _ranked_waits([front, flagged, unflagged], preemptive=desk.preemptive)
    without = _ranked_waits([front, everyone], preemptive=desk.preemptive)
    if desk.preemptive:
        # A long reading is interrupted more often: the delay a minute of reading is that of its rank.
        return _stretched(desk, detector, front, flagged)
    diseased, other = _mixed(detector, with_ai[1], with_ai[2])
    return Waits(
        without_diseased=without[1],
        without_other=without[1],
        flagged=with_ai[1],
        unflagged=with_ai[2],
        diseased=diseased,
        other=other,
    )


def _groups(desk: Desk, detector: Detector) -> tuple[_Group, _Group, _Group, _Group]:
    """Give interrupting, flagged, unflagged, and flagged and unflagged together."""
    rate = _arrivals_a_minute(desk, detector)
    rest, p = rate * (1 - desk.interrupting), detector.prevalence
    hits, alarms = p * detector.sensitivity, (1 - p) * (1 - detector.specificity)
    parts = [(hits, alarms), (p - hits, 1 - p - alarms), (p, 1 - p)]
    flagged, unflagged, everyone = (_mixture(rest, diseased, other, desk) for diseased, other in parts)
    front = _exponential(rate * desk.interrupting, desk.interrupting_min)
    return front, flagged, unflagged, everyone


def _arrivals_a_minute(desk: Desk, detector: Detector) -> float:
    p = detector.prevalence
    mean = desk.interrupting * desk.interrupting_min + (1 - desk.interrupting) * (
        p * desk.diseased_min + (1 - p) * desk.other_min
    )
    return desk.traffic * desk.readers / mean


def _exponential(rate: float, mean: float) -> _Group:
    return _Group(rate=rate, mean=mean, square=2 * mean**2)


def _mixture(rate: float, diseased: float, other: float, desk: Desk) -> _Group:
    """Mix exponential reading times: the second moment is that of the mixture, not of one exponential like it."""
    share = diseased + other
    if not share:
        return _Group(rate=0.0, mean=0.0, square=0.0)
    mean = (diseased * desk.diseased_min + other * desk.other_min) / share
    square = 2 * (diseased * desk.diseased_min**2 + other * desk.other_min**2) / share
    return _Group(rate=rate * share, mean=mean, square=square)


def _ranked_waits(groups: Sequence[_Group], *, preemptive: bool) -> list[float]:
    """Give the mean wait of each rank at one reader, most urgent first (Cobham; Conway, Maxwell and Miller)."""
    waits: list[float] = []
    load = residual = 0.0
    everybody = sum(group.rate * group.square / 2 for group in groups)
    for group in groups:
        before = load
        load += group.rate * group.mean
        residual += group.rate * group.square / 2
        if preemptive:
            waits.append(group.mean * before / (1 - before) + residual / ((1 - before) * (1 - load)))
        else:
            waits.append(everybody / ((1 - before) * (1 - load)))
    return waits


def _stretched(desk: Desk, detector: Detector, front: _Group, flagged: _Group) -> Waits:
    """Give the waits of a reader who is interrupted, where diseased and other studies take different times.

    A study waits for what is before it, and is then stretched by the interruptions of higher ranks while it is read,
    in proportion to its own reading time.
    """
    _, _, unflagged, everyone = _groups(desk, detector)
    first, second = front.rate * front.mean, front.rate * front.mean + flagged.rate * flagged.mean
    half = [group.rate * group.square / 2 for group in (front, flagged, unflagged, everyone)]
    begin_flagged = (half[0] + half[1]) / ((1 - first) * (1 - second))
    begin_unflagged = (half[0] + half[1] + half[2]) / ((1 - second) * (1 - desk.traffic))
    begin_without = (half[0] + half[3]) / ((1 - first) * (1 - desk.traffic))

    def wait(begin: float, reading_min: float, load_before: float) -> float:
        return begin + reading_min * load_before / (1 - load_before)

    waits = {
        reading: (wait(begin_flagged, reading, first), wait(begin_unflagged, reading, second))
        for reading in (desk.diseased_min, desk.other_min)
    }
    diseased, _ = _mixed(detector, *waits[desk.diseased_min])
    _, other = _mixed(detector, *waits[desk.other_min])
    return Waits(
        without_diseased=wait(begin_without, desk.diseased_min, first),
        without_other=wait(begin_without, desk.other_min, first),
        flagged=wait(begin_flagged, flagged.mean, first),
        unflagged=wait(begin_unflagged, unflagged.mean, second),
        diseased=diseased,
        other=other,
    )


# --------------------------------------------------------------------------------------------- several readers
def _several_readers(desk: Desk, detector: Detector) -> Waits:
    if desk.diseased_min != desk.other_min:
        raise NoClosedForm("several readers, and reading times that depend on the finding")
    if desk.interrupting and not desk.preemptive:
        raise NoClosedForm("several readers, and interrupting studies that interrupt nobody")
    share, rate = detector.flagged, _arrivals_a_minute(desk, detector) * (1 - desk.interrupting)
    if desk.preemptive:
        without = _interrupted_wait(desk, detector, rate)
        flagged = _interrupted_wait(desk, detector, rate * share)
        # The same work is done in the same time whatever its order: what some gain, others lose.
        unflagged = (without - share * flagged) / (1 - share) if share < 1 else without
    else:
        queue = erlang_c(desk.readers, desk.traffic * desk.readers) * desk.other_min / desk.readers
        load = desk.traffic * share
        without = queue / (1 - desk.traffic)
        flagged, unflagged = queue / (1 - load), queue / ((1 - load) * (1 - desk.traffic))
    diseased, other = _mixed(detector, flagged, unflagged)
    return Waits(
        without_diseased=without,
        without_other=without,
        flagged=flagged,
        unflagged=unflagged,
        diseased=diseased,
        other=other,
    )


def erlang_c(readers: int, load: float) -> float:
    """Give the share of studies that find every reader busy; `load` in readers, below their number (Erlang 1917)."""
    if load == 0:
        return 0.0
    terms = sum(exp(n * log(load) - lgamma(n + 1)) for n in range(readers))
    last = exp(readers * log(load) - lgamma(readers + 1)) * readers / (readers - load)
    return last / (terms + last)


def _interrupted_wait(desk: Desk, detector: Detector, rate: float) -> float:
    """Give the mean wait of studies that arrive at `rate` and yield to the interrupting ones."""
    if not rate:
        return 0.0
    front = _arrivals_a_minute(desk, detector) * desk.interrupting
    if not front:
        load = rate * desk.other_min
        return erlang_c(desk.readers, load) * desk.other_min / (desk.readers - load)
    there = _mean_number(desk.readers, front, 1 / desk.interrupting_min, rate, 1 / desk.other_min)
    return there / rate - desk.other_min


def _mean_number(readers: int, front_rate: float, front_pace: float, rate: float, pace: float) -> float:
    """Give the mean number of yielding studies at a desk, read or waiting, from the two-class Markov chain.

    The level of the chain is their number, without limit; its phase is the number of interrupting ones, cut at
    `_PHASES`.  From `readers` on all levels are alike (Neuts 1981: matrix-geometric).
    """
    phases = np.arange(_PHASES + 1)
    free = np.maximum(readers - phases, 0)
    change = np.diag(np.full(_PHASES, front_rate), 1) + np.diag(np.minimum(phases[1:], readers) * front_pace, -1)
    change -= np.diag(change.sum(axis=1))
    up = rate * np.eye(_PHASES + 1)

    def down(level: int) -> npt.NDArray[np.float64]:
        return np.diag(np.minimum(free, level) * pace)

    def stay(level: int) -> npt.NDArray[np.float64]:
        return change - up - down(level)

    ratio = _rate_matrix(up, stay(readers), down(readers))
    size = _PHASES + 1
    # Balance of the levels 0..readers, the last of which stands for all above it too, and all shares add to one.
    balance = np.zeros(((readers + 1) * size, (readers + 1) * size))
    for level in range(readers + 1):
        here = slice(level * size, (level + 1) * size)
        balance[here, here] = stay(level) if level < readers else stay(level) + ratio @ down(level)
        if level:
            balance[here, (level - 1) * size : level * size] = down(level)
            balance[(level - 1) * size : level * size, here] = up
    above = np.linalg.inv(np.eye(size) - ratio)
    whole = np.concatenate([np.ones(readers * size), above.sum(axis=1)])
    balance[:, 0] = whole
    right = np.zeros(len(balance))
    right[0] = 1
    shares = np.linalg.solve(balance.T, right).reshape(readers + 1, size)
    below = sum(level * shares[level].sum() for level in range(readers))
    last = shares[readers] @ above
    return float(below + readers * last.sum() + (shares[readers] @ ratio @ above @ above).sum())


def _rate_matrix(
    up: npt.NDArray[np.float64], stay: npt.NDArray[np.float64], down: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Give R of a level-independent part, by logarithmic reduction (Latouche and Ramaswami 1993)."""
    inverse = np.linalg.inv(-stay)
    high, low = inverse @ up, inverse @ down
    first, rest = low.copy(), high.copy()
    for _ in range(64):
        both = high @ low + low @ high
        inverse = np.linalg.inv(np.eye(len(up)) - both)
        high, low = inverse @ high @ high, inverse @ low @ low
        first += rest @ low
        rest = rest @ high
        if np.abs(rest).max() < 1e-15:
            break
    return up @ np.linalg.inv(-(stay + up @ first))


# ----------------------------------------------------------------------------------- several AIs, one reader time
@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A finding with an AI of its own, that looks at `share` of all studies."""

    name: str
    share: float
    detector: Detector


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedWaits:
    """Mean waits in minutes, of each finding by name; `without` is everybody's where no AI looks."""

    without: float
    diseased: dict[str, float]
    untargeted: float
    """Of a finding that none of the AIs looks for, which one may flag by mistake."""


def ranked_waits(
    desk: Desk, targets: Sequence[Target], *, hierarchical: bool, untargeted_in: str | None = None
) -> RankedWaits:
    """Give the waits where several AIs each look at their own share of the studies; one reading time for all.

    Parameters
    ----------
    desk
        Readers who are interrupted (`preemptive`), without studies that always come first.
    targets
        Most urgent first; each study is looked at by one of them at most.
    hierarchical
        Whether flags rank among themselves in that order, or are one class.
    untargeted_in
        The target whose studies hold the untargeted finding; left out, it is in studies that no AI looks at.
    """
    if desk.interrupting or desk.diseased_min != desk.other_min or not desk.preemptive:
        raise NoClosedForm("several AIs, and not one reading time, interrupted, with nothing that always comes first")
    loads = [desk.traffic * target.share * target.detector.flagged for target in targets]
    without = _merged(desk, desk.traffic)
    steps = np.cumsum(loads).tolist() if hierarchical else [sum(loads)] * len(loads)
    flagged = [
        _of_rank(desk, step - load if hierarchical else 0.0, step) for step, load in zip(steps, loads, strict=True)
    ]
    unflagged = _of_rank(desk, sum(loads), desk.traffic)
    diseased = {
        target.name: _mixed(target.detector, wait, unflagged)[0] for target, wait in zip(targets, flagged, strict=True)
    }
    alarm = {
        target.name: _mixed(target.detector, wait, unflagged)[1] for target, wait in zip(targets, flagged, strict=True)
    }
    return RankedWaits(without=without, diseased=diseased, untargeted=alarm.get(untargeted_in or "", unflagged))


def _merged(desk: Desk, traffic: float) -> float:
    """Give the mean wait of the most urgent `traffic` of a desk taken as one class."""
    load = traffic * desk.readers
    return erlang_c(desk.readers, load) * desk.other_min / (desk.readers - load)


def _of_rank(desk: Desk, before: float, up_to: float) -> float:
    """Give the mean wait of the class between two loads: what is before it does not see it."""
    if up_to <= before:
        return _merged(desk, before)
    return (up_to * _merged(desk, up_to) - before * _merged(desk, before)) / (up_to - before)

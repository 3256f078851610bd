"""What a model's flags would do at a site: its flags, right and wrong, and the minutes gained and lost.

Shown before a model is enabled.  A flag helps those it finds and makes everybody else wait longer, above all the ill it
does not find; both sides are always given.  The minutes come from weeks that are drawn with the site's own arrivals and
read twice, by arrival and by due date; only the order differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from inference.errors import NothingToExpect
from inference.queueing import Desk, Detector, NoClosedForm, expected_waits
from inference.simulation import Rank, Study, due_date, fifo, read_all, weekly_studies
from inference.site import Expectation, Line, Site, Waits

RUNS: Final = 8
"""Runs of each order, with one seed each."""
STUDIES_A_RUN: Final = 6_000
_MOST_WEEKS: Final = 520
"""Where hardly anything arrives, ten years are drawn, however few studies that is."""
_FULL: Final = 0.99


def expect(site: Site, *, sensitivity: float, specificity: float, seed: int = 0) -> Expectation:
    """Work out what flags of this sensitivity and specificity do at a site.

    Raises
    ------
    NothingToExpect
        Nothing arrives, or more than the readers can read: no order helps, and no mean wait exists.
    """
    weekly = sum(site.hourly)
    if weekly <= 0:
        raise NothingToExpect("no study arrived in the time looked at: give the arrivals, or a traffic")
    if site.traffic > _FULL:
        wanted = (
            f"{weekly:.0f} studies of {site.reading_min:g} min a week want {site.traffic * site.readers:.1f} readers"
        )
        raise NothingToExpect(
            f"{wanted} day and night, and there are {site.readers}: the list only grows, whatever its order",
            reason="overload",
        )
    found = Detector(prevalence=site.prevalence, sensitivity=sensitivity, specificity=specificity)
    among_all = found_among_all(found, site.eligible)
    desk = Desk(traffic=site.traffic, readers=site.readers, diseased_min=site.reading_min, other_min=site.reading_min)
    looked_at = weekly * site.eligible
    return Expectation(
        traffic=site.traffic,
        studies_a_week=weekly,
        ppv=found.ppv,
        npv=found.npv,
        flags_a_week=looked_at * found.flagged,
        false_flags_a_week=looked_at * (1 - site.prevalence) * (1 - specificity),
        missed_a_week=looked_at * site.prevalence * (1 - sensitivity),
        steady=_steady(desk, among_all),
        lines=_played(site, desk, among_all, seed),
    )


def found_among_all(detector: Detector, eligible: float) -> Detector:
    """Give the detector as it looks to a desk, of whose studies it sees only a share."""
    prevalence = eligible * detector.prevalence
    alarms = eligible * (1 - detector.prevalence) * (1 - detector.specificity)
    specificity = 1 - alarms / (1 - prevalence) if prevalence < 1 else 1.0
    return Detector(prevalence=prevalence, sensitivity=detector.sensitivity, specificity=specificity)


def _steady(desk: Desk, detector: Detector) -> Waits | None:
    try:
        return expected_waits(desk, detector)
    except NoClosedForm:
        return None


def _played(site: Site, desk: Desk, detector: Detector, seed: int) -> tuple[Line, ...]:
    """Read drawn weeks by arrival and by due date, and tell each group apart."""
    weeks = min(_MOST_WEEKS, max(2, round(STUDIES_A_RUN / sum(site.hourly))))
    runs = []
    for number in range(RUNS):
        studies = weekly_studies(site.hourly, desk, detector, weeks=weeks, seed=seed + number, ai_min=site.ai_min)
        if studies:
            runs.append(_Run.of(studies, site))
    return tuple(line for name, chosen in GROUPS.items() if (line := _line(name, chosen, runs)) is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """The same studies read in both orders."""

    diseased: npt.NDArray[np.bool_]
    flagged: npt.NDArray[np.bool_]
    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]

    @classmethod
    def of(cls, studies: Sequence[Study], site: Site) -> _Run:
        """Read them."""
        return cls(
            diseased=np.array([study.diseased for study in studies]),
            flagged=np.array([study.rank is Rank.FLAGGED for study in studies]),
            before=read_all(studies, fifo, readers=site.readers),
            after=read_all(studies, due_date(site.head_start_min), readers=site.readers),
        )


GROUPS: Final[dict[str, Callable[[_Run], npt.NDArray[np.bool_]]]] = {
    "all": lambda run: np.ones(len(run.before), dtype=bool),
    "ill": lambda run: run.diseased,
    "ill and flagged": lambda run: run.diseased & run.flagged,
    "ill and missed": lambda run: run.diseased & ~run.flagged,
    "flagged by mistake": lambda run: ~run.diseased & run.flagged,
    "all others": lambda run: ~run.diseased & ~run.flagged,
}
"""Who waits, in the order in which the table tells of them."""


def _line(name: str, chosen: Callable[[_Run], npt.NDArray[np.bool_]], runs: Sequence[_Run]) -> Line | None:
    """Put the runs of one group together; None where nobody is in it."""
    waits = [(run.before[chosen(run)], run.after[chosen(run)]) for run in runs]
    waits = [(before, after) for before, after in waits if len(before)]
    if not waits:
        return None
    before, after = (np.concatenate(side) for side in zip(*waits, strict=True))
    changes = np.array([(late - early).mean() for early, late in waits])
    error = 1.96 * changes.std(ddof=1) / np.sqrt(len(changes)) if len(changes) > 1 else float("nan")
    return Line(
        group=name,
        share=len(before) / sum(len(run.before) for run in runs),
        fifo_mean=float(before.mean()),
        fifo_p95=float(np.quantile(before, 0.95)),
        mean=float(after.mean()),
        p95=float(np.quantile(after, 0.95)),
        longest=float(after.max()),
        change=float(changes.mean()),
        change_interval=(float(changes.mean() - error), float(changes.mean() + error)),
    )

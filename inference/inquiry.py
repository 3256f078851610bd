"""What a site asks before it enables a model, and the numbers that its archive has for an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final

from inference.errors import InquiryRejected, NothingToExpect
from inference.site import HOURS_A_WEEK, Site, hourly_means
from inference.targets import STANDARD, Targets
from storage.records import OrderPriority

if TYPE_CHECKING:
    from models.contract import FindingSpec, ModelCard
    from storage.catalog.flow import Ready

MOST_A_WEEK: Final = 30_000
"""Studies: more than any one reading room reads, and what bounds the time that an answer takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inquiry:
    """What is asked: minutes, shares in 0..1.

    Arrivals are `hourly` where given, else a steady load of `traffic`, else those of the archive's last `days`.
    `eligible` None stands for the share that the archive has seen, or for everything; `sensitivity` and `specificity`
    None for those of the model's card.
    """

    model: str
    prevalence: float
    finding: str | None = None
    readers: int = 1
    reading_min: float = 10.0
    ai_min: float = 0.5
    """From a study's completion to its flag."""
    days: int = 56
    traffic: float | None = None
    hourly: tuple[float, ...] | None = None
    eligible: float | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    seed: int = 0


def finding_of(card: ModelCard, code: str | None) -> FindingSpec:
    """Return the finding that is asked about: the model's first where none is named."""
    codes = [finding.code for finding in card.findings]
    if code is not None and code not in codes:
        raise InquiryRejected(f"{card.id} does not look for that finding: expected one of {', '.join(codes)}")
    return card.findings[codes.index(code) if code else 0]


def told(inquiry: Inquiry, finding: FindingSpec) -> tuple[float, float]:
    """Return sensitivity and specificity: those asked for, else those of the card's operating point.

    Raises
    ------
    InquiryRejected
        Nobody measured the model, and the inquiry does not say what to expect.
    """
    point = finding.operating_point
    sensitivity = point.sensitivity if inquiry.sensitivity is None else inquiry.sensitivity
    specificity = point.specificity if inquiry.specificity is None else inquiry.specificity
    if sensitivity is None or specificity is None:
        raise InquiryRejected(f"nobody measured {inquiry.model}: say which sensitivity and specificity to expect")
    return sensitivity, specificity


def site_of(
    inquiry: Inquiry,
    card: ModelCard,
    *,
    targets: Targets = STANDARD,
    arrivals: Callable[[datetime], Sequence[Ready]],
    now: datetime,
    zone: tzinfo,
) -> Site:
    """Return the site that an inquiry is about; `arrivals` is asked only where the inquiry tells of none.

    By the site's `targets` a flag makes a routine study due so much earlier.

    Raises
    ------
    InquiryRejected
        The model does not look for the finding, or the arrivals are none that a reading room has.
    NothingToExpect
        Nothing arrived here in the days looked at.
    """
    routine = targets.order[OrderPriority.ROUTINE]
    target = min(routine, targets.ai.get(finding_of(card, inquiry.finding).urgency, routine))
    hourly, eligible = _given(inquiry) or _seen(arrivals, card, days=inquiry.days, now=now, zone=zone)
    if sum(hourly) > MOST_A_WEEK:
        raise InquiryRejected(f"more than {MOST_A_WEEK} studies a week: ask for one reading room at a time")
    return Site(
        readers=inquiry.readers,
        reading_min=inquiry.reading_min,
        hourly=hourly,
        eligible=eligible if inquiry.eligible is None else inquiry.eligible,
        prevalence=inquiry.prevalence,
        head_start_min=(routine - target).total_seconds() / 60,
        ai_min=inquiry.ai_min,
    )


def _given(inquiry: Inquiry) -> tuple[tuple[float, ...], float] | None:
    """Return the arrivals of which the inquiry tells, of which the model looks at everything."""
    if inquiry.hourly is not None:
        if len(inquiry.hourly) != HOURS_A_WEEK:
            raise InquiryRejected(f"a week is {HOURS_A_WEEK} hourly means of arrivals, from Monday 00:00")
        return inquiry.hourly, 1.0
    if inquiry.traffic is not None:
        return (inquiry.traffic * inquiry.readers * 60 / inquiry.reading_min,) * HOURS_A_WEEK, 1.0
    return None


def _seen(
    arrivals: Callable[[datetime], Sequence[Ready]], card: ModelCard, *, days: int, now: datetime, zone: tzinfo
) -> tuple[tuple[float, ...], float]:
    """Return the archive's own arrivals, and the share of them that is of a modality that the model looks at."""
    since = now - timedelta(days=days)
    ready = arrivals(since)
    if not ready:
        raise NothingToExpect(
            f"no study became ready in the last {days} days: say --traffic, or more --days", reason="no_arrivals"
        )
    looked_at = sum(not set(card.input_rules.modalities).isdisjoint(study.modalities.split("\\")) for study in ready)
    began = max(since, ready[0].at)  # a young archive has fewer weeks than were asked for
    weeks = max((now - began).total_seconds(), 7 * 24 * 3600.0)
    hourly = hourly_means(ready, since=now - timedelta(seconds=weeks), until=now, zone=zone)
    return hourly, looked_at / len(ready)

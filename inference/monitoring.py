"""Whether a model still does here what it did: answers, flags and their worth by week and scanner, and drift.

Drift is told by the population stability index (PSI) of the last week against the 28 days before it: of the scores, all
of them and scanner by scanner, of how many images were looked at, and of where they came from.  An index above 0.2 is
an old rule of thumb that forgets how many cases it is made of; without any drift it is (1/n + 1/m) times a chi-squared
variable, so it must also pass that one's quantile for one false alarm in a thousand looks.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from inference.local_check import Share, ppv
from inference.local_check import of_verdicts as judged_by_readers

if TYPE_CHECKING:
    from models.contract import ModelCard
    from storage.catalog.cases import Case, Verdict

WINDOW: Final = timedelta(days=7)
BASE: Final = timedelta(days=28)
NOTABLE: Final = 0.2
FALSE_ALARMS: Final = 0.001
"""A look at a signal that has not drifted raises an alarm this often."""
FEWEST: Final = (50, 200)
"""Cases of the last week, and of the days before it, below which nothing is said."""
_BINS: Final = 10
_RARE: Final = 5
"""A kind met more seldom than this in the base counts among the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Week:
    """One week of one scanner; Monday 00:00 UTC first."""

    begins: datetime
    manufacturer: str
    station: str
    asked: int
    analysed: Share | None
    flagged: Share | None
    ppv: Mapping[str, Share | None]
    """By finding code, of the flags that readers gave their verdict on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """One signal of the last week against its base; `psi` None where there are too few cases to say."""

    signal: str
    cases: int
    base_cases: int
    psi: float | None
    limit: float | None
    alarm: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """How a model does at this site."""

    weeks: tuple[Week, ...]
    drift: tuple[Drift, ...]


def report(
    card: ModelCard, cases: Sequence[Case], verdicts: Sequence[Verdict], *, now: datetime, weeks: int = 8
) -> Report:
    """Return what a model did week by week, the newest first, and whether its scores or its input drifted."""
    by_week: dict[tuple[datetime, str, str], list[Case]] = defaultdict(list)
    for case in cases:
        if now - case.at < timedelta(weeks=weeks):
            by_week[monday(case.at), case.manufacturer, case.station].append(case)
    newest_first = sorted(by_week.items(), key=lambda item: (-item[0][0].timestamp(), *item[0][1:]))
    return Report(
        weeks=tuple(_week(card, *key, members, verdicts) for key, members in newest_first),
        drift=tuple(drift(card, cases, now=now)),
    )


def monday(at: datetime) -> datetime:
    """Return when the week of a moment began."""
    return (at - timedelta(days=at.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)


def _week(  # noqa: PLR0917 - the key of a week, then what is in it
    card: ModelCard, begins: datetime, manufacturer: str, station: str, cases: list[Case], verdicts: Sequence[Verdict]
) -> Week:
    answered = [case for case in cases if case.analysed]
    flags = sum(any(case.flagged.values()) for case in answered)
    return Week(
        begins=begins,
        manufacturer=manufacturer,
        station=station,
        asked=len(cases),
        analysed=Share.count(len(answered), len(cases)),
        flagged=Share.count(flags, len(answered)),
        ppv={spec.code: ppv(judged_by_readers(cases, verdicts, spec.code)) for spec in card.findings},
    )


# -------------------------------------------------------------------------------------------------------------- drift
def drift(card: ModelCard, cases: Sequence[Case], *, now: datetime) -> list[Drift]:
    """Hold each signal of the last week against the 28 days before it."""
    recent = [case for case in cases if now - WINDOW < case.at <= now]
    base = [case for case in cases if now - WINDOW - BASE < case.at <= now - WINDOW]
    answered = [case for case in recent if case.analysed]
    before = [case for case in base if case.analysed]
    found = [_scores(spec.code, answered, before) for spec in card.findings]
    stations = sorted({case.station for case in answered})
    if len(stations) > 1:  # what changes on one of them is lost among all
        found += [_scores(spec.code, answered, before, station) for spec in card.findings for station in stations]
    found.append(
        _numeric("images looked at", [float(case.images) for case in answered], [float(case.images) for case in before])
    )
    return found + [_kinds(name, *([kind(case) for case in each] for each in (recent, base))) for name, kind in KINDS]


KINDS: Final[tuple[tuple[str, Callable[[Case], Hashable]], ...]] = (
    ("manufacturer", lambda case: case.manufacturer),
    ("station", lambda case: case.station),
    ("answer", lambda case: "analysed" if case.analysed else case.reason or str(case.outcome)),
)
"""Where images come from and whether they get an answer: kinds, of which a drift is another mix."""


def _scores(code: str, recent: Sequence[Case], base: Sequence[Case], station: str | None = None) -> Drift:
    """Compare the scores of a finding, of one scanner or of all."""
    compared = (
        [case.scores[code] for case in each if code in case.scores and station in {None, case.station}]
        for each in (recent, base)
    )
    return _numeric(f"score of {code}" + (f" at {station}" if station is not None else ""), *compared)


def _numeric(signal: str, recent: Sequence[float], base: Sequence[float]) -> Drift:
    """Compare numbers in the tenths of the base."""
    ordered = sorted(base)
    edges = sorted({ordered[len(ordered) * tenth // _BINS] for tenth in range(1, _BINS)}) if ordered else []
    return _kinds(signal, [bisect_right(edges, value) for value in recent], [bisect_right(edges, v) for v in base])


def _kinds(signal: str, recent: Sequence[Hashable], base: Sequence[Hashable]) -> Drift:
    if len(recent) < FEWEST[0] or len(base) < FEWEST[1]:
        return Drift(signal=signal, cases=len(recent), base_cases=len(base), psi=None, limit=None, alarm=False)
    common = {kind for kind, count in Counter(base).items() if count >= _RARE}
    counts = [Counter(kind if kind in common else None for kind in each) for each in (recent, base)]
    kinds = set(counts[0]) | set(counts[1])
    index = stability_index(*([count[kind] for kind in kinds] for count in counts))
    limit = max(NOTABLE, chance_limit(len(recent), len(base), len(kinds)))
    return Drift(signal=signal, cases=len(recent), base_cases=len(base), psi=index, limit=limit, alarm=index > limit)


def stability_index(recent: Sequence[int], base: Sequence[int]) -> float:
    """Return the PSI of counts of the same kinds; half a case is added to each, so that none is nothing."""
    total = [sum(each) + len(each) / 2 for each in (recent, base)]
    shares = [((new + 0.5) / total[0], (old + 0.5) / total[1]) for new, old in zip(recent, base, strict=True)]
    return sum((new - old) * math.log(new / old) for new, old in shares)


def chance_limit(cases: int, base_cases: int, kinds: int) -> float:
    """Return what the PSI exceeds by chance once in a thousand looks (chi-squared after Wilson and Hilferty)."""
    if kinds < 2:
        return 0.0
    free = kinds - 1
    z = NormalDist().inv_cdf(1 - FALSE_ALARMS)
    quantile = free * (1 - 2 / (9 * free) + z * math.sqrt(2 / (9 * free))) ** 3
    return (1 / cases + 1 / base_cases) * quantile

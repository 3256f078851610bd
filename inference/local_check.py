"""How well a model does on a site's own studies, and which threshold the site may choose for itself.

Asked before a model may move the list.  Rates come with Wilson's 95 % intervals; where there are too few cases to know
them well enough, the answer is a refusal with the numbers, never a rate without its width.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from inference.errors import CheckRefused
from inference.priority import AI_TARGETS
from models.shares import needed, share_interval

if TYPE_CHECKING:
    from models.contract import FindingSpec, ModelCard
    from storage.catalog.cases import Case, Verdict
    from storage.catalog.operating_points import SitePoint

FEWEST_CASES: Final = 200
HALF_WIDTH: Final = 0.10
"""A rate counts as known where its interval reaches no farther than this to either side, in the mean of both."""
_BINS: Final = 10
_AGES: Final = ((15, "<15"), (40, "15-39"), (65, "40-64"), (200, "65+"))

Rule = Literal["sensitivity", "specificity"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A rate with what it was counted from, and its interval."""

    hits: int
    of: int
    value: float
    low: float
    high: float

    @classmethod
    def count(cls, hits: int, of: int) -> Share | None:
        """Return the share, None of nothing."""
        if not of:
            return None
        low, high = share_interval(hits, of)
        return cls(hits=hits, of=of, value=hits / of, low=low, high=high)

    @property
    def half_width(self) -> float:
        """Half the width of its interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """One case whose truth is known, scored and judged at the threshold in force."""

    case: Case
    score: float
    flagged: bool
    truth: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a check asks for.

    `cases` labelled cases at least, sensitivity and specificity known to `half_width`, and neither of them below what
    is claimed: an interval that lies wholly below the low end of the card's own contradicts the card.
    """

    cases: int = FEWEST_CASES
    half_width: float = HALF_WIDTH


# ------------------------------------------------------------------------------------------------------------- labels
def labelled(cases: Iterable[Case], truths: Mapping[str, bool], code: str, threshold: float) -> list[Labelled]:
    """Return the analysed cases whose truth is known by study, judged at a threshold."""
    return [
        Labelled(case=case, score=case.scores[code], flagged=case.scores[code] >= threshold, truth=truths[uid])
        for case in cases
        if case.analysed and code in case.scores and (uid := str(case.study_instance_uid)) in truths
    ]


def of_verdicts(
    cases: Iterable[Case], verdicts: Iterable[Verdict], code: str, threshold: float | None = None
) -> list[Labelled]:
    """Return the cases that readers gave their verdict on, judged at a threshold, or as they were shown.

    A reader agrees with what was shown, so the truth follows from the flag of then.
    """
    said = {verdict.result_id: verdict.agrees for verdict in verdicts if verdict.finding_code == code}
    return [
        Labelled(
            case=case,
            score=case.scores[code],
            flagged=case.flagged[code] if threshold is None else case.scores[code] >= threshold,
            truth=case.flagged[code] is said[case.result_id],
        )
        for case in cases
        if case.analysed and code in case.scores and case.result_id in said
    ]


# -------------------------------------------------------------------------------------------------------------- check
def check(
    card: ModelCard,
    cases: Sequence[Case],
    truths: Mapping[str, Mapping[str, bool]],
    verdicts: Sequence[Verdict],
    points: Mapping[str, SitePoint],
    *,
    wanted: Wanted = Wanted(),
) -> dict[str, Any]:
    """Return the figures of every finding that would move the list, and why the model is refused, if it is.

    `truths` is by finding code and study.  Sensitivity and specificity come from these alone: readers see flags, and
    verdicts that follow them would flatter the sensitivity.  The PPV counts both.
    """
    answered = sum(case.analysed for case in cases)
    found = {
        spec.code: _finding(
            spec, cases, truths.get(spec.code, {}), verdicts, point=points.get(spec.code), wanted=wanted
        )
        for spec in moving(card)
    }
    return {
        "share_analysed": _plain(Share.count(answered, len(cases))),
        "findings": found,
        "wanted": asdict(wanted),
        "refused": [f"{code}: {why}" for code, figures in found.items() for why in figures["refused"]],
    }


def moving(card: ModelCard) -> tuple[FindingSpec, ...]:
    """Return the findings whose flags move the list; all of them where none does."""
    return tuple(spec for spec in card.findings if spec.urgency in AI_TARGETS) or card.findings


def _finding(
    spec: FindingSpec,
    cases: Sequence[Case],
    truths: Mapping[str, bool],
    verdicts: Sequence[Verdict],
    *,
    point: SitePoint | None,
    wanted: Wanted,
) -> dict[str, Any]:
    threshold = spec.operating_point.threshold if point is None else point.threshold
    known = labelled(cases, truths, spec.code, threshold)
    seen = {one.case.result_id for one in known}
    flags = [one for one in of_verdicts(cases, verdicts, spec.code, threshold) if one.case.result_id not in seen]
    sensitivity, specificity = rates(known)
    return {
        "threshold": threshold,
        "operating_point": None if point is None else point.id,
        "labelled": len(known),
        "positives": sum(one.truth for one in known),
        "verdicts": len(flags),
        "sensitivity": _plain(sensitivity),
        "specificity": _plain(specificity),
        "ppv": _plain(ppv([*known, *flags])),
        "ece": calibration_error(known),
        "subgroups": [_subgroup(name, value, members) for name, value, members in subgroups(known)],
        "refused": list(_refusals(spec, known, own_point=point is not None, wanted=wanted)),
    }


def _refusals(spec: FindingSpec, known: Sequence[Labelled], *, own_point: bool, wanted: Wanted) -> Iterable[str]:
    if len(known) < wanted.cases:
        yield f"{len(known)} labelled cases with an answer, {wanted.cases} needed"
    named = zip(("sensitivity", "specificity"), ("positive", "negative"), rates(known), _claimed(spec), strict=True)
    for rate, of, share, claim in named:
        if share is None:
            yield f"no {of} case: the {rate} is not known"
        elif share.half_width > wanted.half_width:
            yield (
                f"{share.of} {of} cases give {rate} {_words(share)}; known to ± {wanted.half_width:.2f} it would be "
                f"with about {needed(share.value, wanted.half_width)}"
            )
        if share is not None and not own_point and share.high < claim:
            yield f"{rate} {_words(share)} is below what the card claims, {claim:.2f} at least"


def _claimed(spec: FindingSpec) -> tuple[float, float]:
    point = spec.operating_point
    return point.sensitivity_interval[0], point.specificity_interval[0]


def _words(share: Share) -> str:
    return f"{share.value:.2f} ({share.low:.2f} to {share.high:.2f})"


# ------------------------------------------------------------------------------------------------------------- figures
def rates(known: Sequence[Labelled]) -> tuple[Share | None, Share | None]:
    """Return sensitivity and specificity."""
    ill = [one.flagged for one in known if one.truth]
    well = [not one.flagged for one in known if not one.truth]
    return Share.count(sum(ill), len(ill)), Share.count(sum(well), len(well))


def ppv(known: Sequence[Labelled]) -> Share | None:
    """Return the share of flags that are right."""
    flags = [one.truth for one in known if one.flagged]
    return Share.count(sum(flags), len(flags))


def calibration_error(known: Sequence[Labelled]) -> float | None:
    """Return the expected calibration error: how far, in the mean, a score is from the share that it stands for."""
    if not known:
        return None
    bins: dict[int, list[Labelled]] = defaultdict(list)
    for one in known:
        bins[min(_BINS - 1, int(one.score * _BINS))].append(one)
    gaps = (abs(sum(one.score for one in each) - sum(one.truth for one in each)) for each in bins.values())
    return sum(gaps) / len(known)


def subgroups(known: Sequence[Labelled]) -> list[tuple[str, str, list[Labelled]]]:
    """Return the cases by sex, by band of age and by manufacturer."""
    found: dict[tuple[str, str], list[Labelled]] = defaultdict(list)
    for one in known:
        for name, value_of in _SUBGROUPS.items():
            found[name, value_of(one.case)].append(one)
    return [(name, value, members) for (name, value), members in sorted(found.items())]


def age_band(case: Case) -> str:
    """Return the band of the age at the study's date, empty where the header does not say."""
    try:
        born, at = (datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC) for day in (case.birth_date, case.study_date))
    except ValueError:
        return ""
    years = at.year - born.year - ((at.month, at.day) < (born.month, born.day))
    return next((name for below, name in _AGES if 0 <= years < below), "")


_SUBGROUPS: Final[Mapping[str, Callable[[Case], str]]] = {
    "age": age_band,
    "manufacturer": lambda case: case.manufacturer,
    "sex": lambda case: case.sex,
}


def _subgroup(name: str, value: str, members: Sequence[Labelled]) -> dict[str, Any]:
    sensitivity, specificity = rates(members)
    positives = sum(one.truth for one in members)
    told = {"sensitivity": _plain(sensitivity), "specificity": _plain(specificity)}
    return {"group": name, "value": value, "labelled": len(members), "positives": positives, **told}


def _plain(share: Share | None) -> dict[str, Any] | None:
    return None if share is None else asdict(share)


# ---------------------------------------------------------------------------------------------------- operating points
def choose_point(
    known: Sequence[Labelled], rule: Rule, target: float, *, half_width: float = HALF_WIDTH
) -> tuple[float, dict[str, Any]]:
    """Choose the threshold that reaches a sensitivity, or a specificity, on the site's labelled scores; tell the rates.

    For a sensitivity, the highest threshold at which at least that share of the ill is flagged; for a specificity, the
    lowest at which at least that share of the others is not.  Cases count as flagged at the threshold itself.

    Raises
    ------
    CheckRefused
        Too few cases to know the rate to `half_width` at this target.
    """
    if not 0 < target < 1:
        raise CheckRefused(f"a target of {target:g} is no rate to aim at: expected between 0 and 1")
    scores = sorted(one.score for one in known if one.truth is (rule == "sensitivity"))
    enough = needed(target, half_width)
    if len(scores) < enough:
        cases = "positive" if rule == "sensitivity" else "negative"
        raise CheckRefused(
            f"{len(scores)} {cases} cases: a {rule} of {target:.2f} is known to ± {half_width:.2f} with {enough}"
        )
    kept = math.ceil(target * len(scores) - 1e-9)
    threshold = scores[len(scores) - kept] if rule == "sensitivity" else math.nextafter(scores[kept - 1], math.inf)
    judged = [
        Labelled(case=one.case, score=one.score, flagged=one.score >= threshold, truth=one.truth) for one in known
    ]
    sensitivity, specificity = rates(judged)
    return threshold, {
        "rule": rule,
        "target": target,
        "sensitivity": _plain(sensitivity),
        "specificity": _plain(specificity),
        "labelled": len(known),
    }

"""How well a model does here: rates that are known well enough, or a refusal with the numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from statistics import NormalDist

import numpy as np
import pytest

from inference import local_check
from inference.errors import CheckRefused
from inference.local_check import Labelled, Share, choose_point
from models.shares import needed
from storage.catalog.cases import Case, Verdict
from storage.records import Outcome
from tests.builders import card

CARD = card()
CODE = "trial-finding"


def _case(number: int, score: float | None, **facts) -> Case:
    flagged = score is not None and score >= 0.5
    told = {
        "outcome": Outcome.NOT_SUITABLE if score is None else Outcome.FLAGGED if flagged else Outcome.NOT_FLAGGED,
        "scores": {} if score is None else {CODE: score},
        "flagged": {} if score is None else {CODE: flagged},
        "reason": "" if score is not None else "too_few_slices",
        "images": 32,
        "sex": "F",
        "birth_date": "19800101",
        "study_date": "20260301",
        "manufacturer": "ACME",
        "station": "CT1",
    }
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return Case(study_instance_uid=f"2.25.{number}", result_id=f"{number:032x}", at=at, **{**told, **facts})


def _site(positives: int, negatives: int, *, found: int, spared: int) -> tuple[list[Case], dict[str, bool]]:
    """Cases of which `found` of the positives are flagged and `spared` of the negatives are not."""
    scores = [0.9] * found + [0.1] * (positives - found) + [0.1] * spared + [0.9] * (negatives - spared)
    cases = [_case(number, score) for number, score in enumerate(scores)]
    return cases, {f"2.25.{number}": number < positives for number in range(len(scores))}


def _check(cases, truths, verdicts=(), points=None, of=CARD):
    return local_check.check(of, cases, {CODE: truths}, list(verdicts), points or {})


def test_enough_cases_that_bear_the_card_out_pass_with_their_intervals() -> None:
    found = _check(*_site(60, 240, found=54, spared=216))
    figures = found["findings"][CODE]
    assert found["refused"] == []
    assert (figures["labelled"], figures["positives"]) == (300, 60)
    assert figures["sensitivity"] == pytest.approx(
        {"hits": 54, "of": 60, "value": 0.9, "low": 0.7985, "high": 0.9534}, abs=1e-4
    )
    assert figures["ppv"]["value"] == pytest.approx(54 / 78)


def test_sixty_positives_at_ninety_per_cent_are_known_to_under_eight_points() -> None:
    share = Share.count(54, 60)
    assert share is not None
    assert share.half_width == pytest.approx(0.0775, abs=5e-4)


def test_too_few_cases_are_refused_with_the_numbers() -> None:
    (why,) = _check(*_site(60, 100, found=54, spared=95))["refused"]
    assert why == "trial-finding: 160 labelled cases with an answer, 200 needed"


def test_too_few_positives_are_refused_with_how_many_would_do() -> None:
    (why,) = _check(*_site(20, 280, found=18, spared=252))["refused"]
    assert "20 positive cases give sensitivity 0.90 (0.70 to 0.97)" in why
    assert f"with about {needed(0.9, 0.1)}" in why


def test_a_site_without_positives_is_refused_in_words() -> None:
    cases, truths = _site(0, 300, found=0, spared=270)
    assert "no positive case: the sensitivity is not known" in _check(cases, truths)["refused"][0]


def test_figures_that_contradict_the_card_are_refused() -> None:
    (why,) = _check(*_site(100, 200, found=60, spared=180))["refused"]
    assert "sensitivity 0.60 (0.50 to 0.69) is below what the card claims, 0.80 at least" in why


def test_a_study_without_an_answer_counts_in_the_share_analysed_and_nowhere_else() -> None:
    cases, truths = _site(60, 240, found=54, spared=216)
    silent = [_case(1000 + number, None) for number in range(100)]
    found = _check([*cases, *silent], truths | {str(case.study_instance_uid): True for case in silent})
    assert found["share_analysed"]["value"] == 0.75
    assert found["findings"][CODE]["labelled"] == 300


def test_verdicts_of_readers_count_for_the_flags_that_are_right_and_flatter_no_sensitivity() -> None:
    cases, truths = _site(60, 240, found=54, spared=216)
    shown = [_case(2000 + number, 0.9) for number in range(10)]
    verdicts = [Verdict(result_id=case.result_id, finding_code=CODE, agrees=n < 7) for n, case in enumerate(shown)]
    figures = _check([*cases, *shown], truths, verdicts)["findings"][CODE]
    assert figures["sensitivity"]["of"] == 60
    assert (figures["ppv"]["hits"], figures["ppv"]["of"], figures["verdicts"]) == (61, 88, 10)
    unflagged = [_case(3000, 0.1)]
    disagreed = [Verdict(result_id=unflagged[0].result_id, finding_code=CODE, agrees=False)]
    (missed,) = local_check.of_verdicts(unflagged, disagreed, CODE, 0.5)
    assert missed.truth


def test_subgroups_tell_sex_age_and_manufacturer_apart() -> None:
    cases, truths = _site(60, 240, found=54, spared=216)
    men = [replace(case, sex="M", birth_date="20150101", manufacturer="Zed") for case in cases[:30]]
    figures = _check([*men, *cases[30:]], truths)["findings"][CODE]
    told = {(each["group"], each["value"]): each["labelled"] for each in figures["subgroups"]}
    assert told == {
        ("age", "<15"): 30,
        ("age", "40-64"): 270,
        ("manufacturer", "ACME"): 270,
        ("manufacturer", "Zed"): 30,
        ("sex", "F"): 270,
        ("sex", "M"): 30,
    }


@pytest.mark.parametrize(
    ("born", "at", "band"),
    [
        ("20110302", "20260301", "<15"),
        ("20110301", "20260301", "15-39"),
        ("19610301", "20260301", "65+"),
        ("", "20260301", ""),
        ("2011", "20260301", ""),
        ("20270101", "20260301", ""),
    ],
)
def test_the_age_is_that_at_the_study(born: str, at: str, band: str) -> None:
    assert local_check.age_band(_case(1, 0.1, birth_date=born, study_date=at)) == band


def test_a_calibrated_score_has_no_error_and_a_boastful_one_has_its_excess() -> None:
    cases = [Labelled(case=_case(n, 0.75), score=0.75, flagged=True, truth=n % 4 != 0) for n in range(400)]
    assert local_check.calibration_error(cases) == pytest.approx(0.0)
    boastful = [replace(one, score=0.95) for one in cases]
    assert local_check.calibration_error(boastful) == pytest.approx(0.2)
    assert local_check.calibration_error([]) is None


# ---------------------------------------------------------------------------------------------------- operating points
def _drawn(rng: np.random.Generator, positives: int, negatives: int, gap: float) -> list[Labelled]:
    """Scores of two unit normals `gap` apart, squeezed into 0..1."""
    raw = np.concatenate([rng.standard_normal(positives) + gap, rng.standard_normal(negatives)])
    scores = 1 / (1 + np.exp(-raw))
    return [
        Labelled(case=_case(n, float(score)), score=float(score), flagged=bool(score >= 0.5), truth=n < positives)
        for n, score in enumerate(scores)
    ]


def test_the_threshold_for_a_sensitivity_is_the_highest_that_reaches_it() -> None:
    known = _drawn(np.random.default_rng(0), 100, 200, 1.5)
    threshold, figures = choose_point(known, "sensitivity", 0.9)
    assert figures["sensitivity"]["hits"] == 90
    above = min(one.score for one in known if one.score > threshold)
    assert sum(one.score >= above for one in known if one.truth) == 89


def test_the_threshold_for_a_specificity_is_the_lowest_that_reaches_it() -> None:
    known = _drawn(np.random.default_rng(0), 100, 200, 1.5)
    threshold, figures = choose_point(known, "specificity", 0.95)
    assert figures["specificity"]["hits"] == 190
    below = max(one.score for one in known if not one.truth and one.score < threshold)
    assert sum(one.score < below for one in known if not one.truth) == 189


@pytest.mark.parametrize("rule", ["sensitivity", "specificity"])
def test_a_threshold_on_too_few_cases_is_refused_with_the_number_that_would_do(rule: local_check.Rule) -> None:
    known = _drawn(np.random.default_rng(0), 20, 20, 1.5)
    with pytest.raises(CheckRefused, match=f"20 .* cases: a {rule} of 0.90 is known to ± 0.10 with {needed(0.9, 0.1)}"):
        choose_point(known, rule, 0.9)


@pytest.mark.slow
@pytest.mark.parametrize(("positives", "negatives"), [(40, 300), (80, 240)])
def test_the_intervals_cover_the_truth_about_95_times_in_100(positives: int, negatives: int) -> None:
    rng, normal, gap, runs = np.random.default_rng(7), NormalDist(), 1.8, 1500
    sensitivity = 1 - normal.cdf(-gap)
    covered = dict.fromkeys(("sensitivity", "specificity", "chosen", "beside"), 0)
    for _ in range(runs):
        known = _drawn(rng, positives, negatives, gap)
        found, spared = local_check.rates(known)
        covered["sensitivity"] += found.low <= sensitivity <= found.high
        covered["specificity"] += spared.low <= 0.5 <= spared.high
        threshold, figures = choose_point(known, "sensitivity", 0.9)
        raw = float(np.log(threshold / (1 - threshold)))
        chosen, beside = figures["sensitivity"], figures["specificity"]
        covered["chosen"] += chosen["low"] <= 1 - normal.cdf(raw - gap) <= chosen["high"]
        covered["beside"] += beside["low"] <= normal.cdf(raw) <= beside["high"]
    assert {name: 0.93 <= times / runs <= 0.98 for name, times in covered.items()} == dict.fromkeys(covered, True), {
        name: times / runs for name, times in covered.items()
    }

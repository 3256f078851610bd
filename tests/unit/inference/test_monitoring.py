"""What a model does week by week, and whether it drifts: seldom by chance, and soon where it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from inference import monitoring
from inference.monitoring import BASE, WINDOW, Drift
from storage.catalog.cases import Case, Verdict
from storage.records import Outcome
from tests.builders import card
from tests.unit.inference.test_local_check import CODE, _case

CARD = card()
NOW = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
STATIONS = ("CT1", "CT2")


def _draw(rng: np.random.Generator, start: datetime, days: int, a_day: int, *, prevalence: float = 0.1) -> list[Case]:
    """Studies of a steady site: two scanners, 28 to 36 images, scores of two overlapping normals, squeezed."""
    count = days * a_day
    ill = rng.random(count) < prevalence
    logits = np.where(ill, 1.5 + 1.2 * rng.standard_normal(count), -2 + rng.standard_normal(count))
    at = [start + timedelta(days=days) * float(part) for part in np.sort(rng.random(count))]
    return [
        replace(
            _case(int(rng.integers(1 << 60)), float(1 / (1 + np.exp(-logit)))),
            at=when,
            images=int(rng.integers(28, 37)),
            station=str(rng.choice(STATIONS)),
        )
        for logit, when in zip(logits, at, strict=True)
    ]


def _shifted(case: Case, by: float) -> Case:
    score = case.scores[CODE]
    moved = 1 / (1 + np.exp(-(np.log(score / (1 - score)) + by)))
    return replace(case, scores={CODE: float(moved)}, flagged={CODE: bool(moved >= 0.5)})


def _look(base: list[Case], recent: list[Case]) -> dict[str, Drift]:
    return {each.signal: each for each in monitoring.drift(CARD, [*base, *recent], now=NOW)}


def _site(rng: np.random.Generator, a_day: int = 30) -> tuple[list[Case], list[Case]]:
    return _draw(rng, NOW - WINDOW - BASE, 28, a_day), _draw(rng, NOW - WINDOW, 7, a_day)


# What a change does to what is seen: a sharper kernel moves every score, thinner slices are more images and noisier
# scores, a new scanner takes over half of the studies, a campaign brings more of the ill.
DRIFTS: dict[str, tuple[str, Callable[[np.random.Generator, list[Case]], list[Case]]]] = {
    "kernel": (f"score of {CODE}", lambda _, cases: [_shifted(case, 0.8) for case in cases]),
    "thickness": (
        "images looked at",
        lambda rng, cases: [
            _shifted(replace(case, images=case.images * 2), 0.3 * float(rng.standard_normal())) for case in cases
        ],
    ),
    "scanner": (
        "station",
        lambda rng, cases: [replace(case, station="CT9") if rng.random() < 0.5 else case for case in cases],
    ),
    "prevalence": (
        f"score of {CODE}",
        lambda rng, _: _draw(rng, NOW - WINDOW, 7, 30, prevalence=0.4),
    ),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_an_injected_drift_is_told_within_a_week(name: str) -> None:
    signal, change = DRIFTS[name]
    told = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        base, recent = _site(rng)
        told += _look(base, change(rng, recent))[signal].alarm
    assert told == 10


def test_a_site_that_does_not_drift_is_left_alone() -> None:
    for seed in range(10):
        assert [each.signal for each in _look(*_site(np.random.default_rng(seed))).values() if each.alarm] == []


@pytest.mark.slow
@pytest.mark.parametrize("a_day", [8, 30])
def test_false_alarms_are_as_rare_as_is_said(a_day: int) -> None:
    rng, looks = np.random.default_rng(5), 1000
    scores = {"chance": 0, "alarm": 0}
    for _ in range(looks):
        base, recent = (rng.standard_normal(count) for count in (28 * a_day, 7 * a_day))
        found = monitoring._numeric("score", list(recent), list(base))
        assert found.psi is not None
        scores["chance"] += found.psi > monitoring.chance_limit(len(recent), len(base), 10)
        scores["alarm"] += found.alarm
    assert scores["alarm"] <= scores["chance"] <= looks * monitoring.FALSE_ALARMS * 5, scores


@pytest.mark.slow
def test_a_drift_of_one_scanner_is_told_within_two_weeks() -> None:
    """Half of the studies drift from some day on; looks are weekly, and the base slides along."""
    delays = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        start = NOW - WINDOW - BASE
        stream = _draw(rng, start, 63, 30)
        moved = [
            _shifted(case, 1.2) if case.station == "CT1" and case.at > start + timedelta(days=28) else case
            for case in stream
        ]
        weeks = [
            week
            for week in range(1, 6)
            if any(each.alarm for each in monitoring.drift(CARD, moved, now=start + timedelta(days=28 + 7 * week)))
        ]
        delays.append(weeks[0] if weeks else 99)
    assert sorted(delays)[17] <= 2, delays  # nine of ten within two weeks


def test_too_few_cases_say_nothing() -> None:
    rng = np.random.default_rng(0)
    found = _look(_draw(rng, NOW - WINDOW - BASE, 28, 30), _draw(rng, NOW - WINDOW, 7, 5))
    assert {(each.psi, each.alarm) for each in found.values()} == {(None, False)}


def test_answers_that_stop_coming_are_a_drift() -> None:
    base, recent = _site(np.random.default_rng(0))
    silent = [
        replace(case, outcome=Outcome.NOT_SUITABLE, reason="slice_step", scores={}, flagged={}) if n % 3 == 0 else case
        for n, case in enumerate(recent)
    ]
    assert _look(base, silent)["answer"].alarm


def test_weeks_are_told_by_scanner_with_their_intervals() -> None:
    cases = [
        replace(_case(number, 0.9 if number < 10 else 0.1), at=NOW - timedelta(days=6), station="CT1")
        for number in range(40)
    ]
    cases += [replace(_case(100 + number, None), at=NOW - timedelta(days=6), station="CT1") for number in range(10)]
    cases += [replace(_case(200, 0.1), at=NOW - timedelta(days=9), station="CT2")]
    verdicts = [
        Verdict(result_id=case.result_id, finding_code=CODE, agrees=number < 6) for number, case in enumerate(cases[:8])
    ]
    newest, older = monitoring.report(CARD, cases, verdicts, now=NOW).weeks
    assert (newest.begins, newest.station, newest.asked) == (NOW - timedelta(days=7), "CT1", 50)
    assert (newest.analysed.value, newest.flagged.hits, newest.flagged.of) == (0.8, 10, 40)
    assert (newest.ppv[CODE].hits, newest.ppv[CODE].of, round(newest.ppv[CODE].low, 3)) == (6, 8, 0.409)
    assert (older.station, older.ppv[CODE]) == ("CT2", None)
    assert monitoring.report(CARD, cases, [], now=NOW, weeks=1).weeks == (replace(newest, ppv={CODE: None}),)

"""How the figures of `benchmarks.time_to_flag` are held against its goals."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.time_to_flag import CASES, FILM, HEAD, LARGE, Figures, judge

FIGURES = Figures(
    case="",
    rounds=1,
    threads=1,
    stages={},
    total=(1.0, 1.0),
    settling=(0.4, 0.5),
    forward=(0.01, 0.01),
    ours=(0.1, 0.14),
    ratio=1.2,
)


def test_every_case_has_a_goal_and_what_is_late_is_told() -> None:
    cases = {case.name: FIGURES for case in CASES}
    verdicts = judge(cases, {FILM: FIGURES, HEAD: FIGURES}, replace(FIGURES, case=LARGE.name))
    assert len(verdicts) == 2 * len(CASES) + 3
    assert all(each.met for each in verdicts)


def test_what_is_slower_under_load_or_for_a_large_network_does_not_pass() -> None:
    late = replace(FIGURES, ours=(0.2, 0.3), settling=(0.9, 1.1), ratio=1.3)
    verdicts = judge({FILM: late}, {}, None)
    assert [each.met for each in verdicts] == [False, False]
    assert [each.met for each in judge({HEAD: FIGURES}, {HEAD: late}, late)] == [True, True, False, False]

"""What the benchmark of provisional flags counts."""

from __future__ import annotations

from benchmarks.progressive import Course, figures_of


def _course(*, provisional: float | None = None, flagged: bool = True) -> Course:
    return Course(
        bleeds=True, last_slice=10.0, provisional=provisional, slices=12, final=12.0, flagged=flagged, run_s=0.5
    )


def test_only_what_the_whole_series_flags_counts_and_only_before_its_last_slice() -> None:
    courses = [
        *[_course(provisional=8.0)] * 4,
        _course(provisional=10.5),
        _course(),
        _course(provisional=8.0, flagged=False),
        _course(flagged=False),
    ]
    figures = figures_of(courses)
    assert (figures.positives, figures.before_the_last, figures.provisional, figures.retracted) == (6, 4, 6, 1)
    assert (figures.gained_s[0], round(figures.share, 2), figures.met) == (4.0, 0.67, False)


def test_without_a_positive_there_is_nothing_to_meet() -> None:
    assert not figures_of([_course(flagged=False)]).met

"""Stages add up to the whole, spreads are what sorting by hand says, and a budget counts everything that was late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.waterfall import BUCKETS_S, STAGES, Stage, budget, quantile, spread, stamps_of, to_flag, waterfall
from storage.catalog.timings import Open, Timed
from storage.records import JobState, Outcome, ResultId

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
moments = st.timedeltas(timedelta(0), timedelta(days=3650)).map(lambda later: NOON + later)


@given(stamps=st.dictionaries(st.sampled_from((*STAGES, "stage of another release")), moments))
def test_the_stages_add_up_to_the_time_from_end_to_end(stamps):
    stages = waterfall(stamps)
    whole = max(stamps.values()) - min(stamps.values()) if stamps else timedelta(0)
    assert sum((stage.took for stage in stages), timedelta(0)) == whole
    assert {stage.name: stage.at for stage in stages} == stamps
    assert all(stage.took >= timedelta(0) for stage in stages)


def test_stamps_of_one_moment_stand_in_their_usual_order():
    same = dict.fromkeys(reversed(STAGES), NOON)
    assert [stage.name for stage in waterfall(same)] == list(STAGES)


def test_a_provisional_run_has_its_stages_before_the_study_is_complete():
    stamps = {"received_first": NOON, "committed": NOON + timedelta(seconds=3), "complete": NOON + timedelta(seconds=5)}
    assert waterfall(stamps)[1:] == (
        Stage(name="committed", at=stamps["committed"], took=timedelta(seconds=3)),
        Stage(name="complete", at=stamps["complete"], took=timedelta(seconds=2)),
    )


def test_who_opened_the_study_before_the_result_did_not_open_it_for_that():
    times = {"committed": NOON.timestamp()}
    assert "opened" not in stamps_of(times, opened=NOON - timedelta(seconds=1))
    assert stamps_of(times, opened=NOON + timedelta(seconds=1))["opened"] == NOON + timedelta(seconds=1)


@given(seconds=st.lists(st.floats(0, 1e5), min_size=1), share=st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_the_smallest_value_that_the_share_does_not_exceed(seconds, share):
    found = quantile(sorted(seconds), share)
    not_above = [sum(one <= value for one in seconds) / len(seconds) >= share - 1e-9 for value in sorted(seconds)]
    assert found == sorted(seconds)[not_above.index(True)]


def test_a_spread_counts_what_took_no_longer_than_each_bound():
    told = spread([0.01, 0.02, 3.0, 4000.0])
    assert told is not None
    by_bound = dict(zip(BUCKETS_S, told.buckets, strict=True))
    assert (by_bound[0.01], by_bound[0.025], by_bound[2.5], by_bound[5.0], by_bound[3600.0]) == (1, 2, 2, 3, 3)
    assert (told.count, told.p50_s, told.longest_s, told.total_s) == (4, 0.02, 4000.0, pytest.approx(4003.03))
    assert spread([]) is None


def run(took_s: float, outcome: Outcome = Outcome.FLAGGED, *, asked_later_s: float = 0.0) -> Timed:
    last = NOON.timestamp()
    return Timed(
        result_id=ResultId("0" * 32),
        model_id="trial",
        outcome=outcome,
        created_at=NOON + timedelta(seconds=took_s),
        asked_at=NOON + timedelta(seconds=1 + asked_later_s),
        times={"received_last": last, "complete": last + 1, "committed": last + took_s},
        shown_at=None,
    )


def waiting(since_s: float) -> Open:
    last = NOON - timedelta(seconds=since_s)
    return Open(model_id="trial", state=JobState.WAITING, created_at=last, received_last=last, completed_at=last)


def test_an_error_budget_counts_late_failed_and_overdue_runs():
    ended = [run(5.0)] * 96 + [run(20.0), run(20.001), run(3.0, Outcome.FAILED)]
    found = budget(ended, [waiting(19), waiting(21)], target_s=20, now=NOON)
    assert (found.runs, found.late, found.failed, found.overdue) == (100, 3, 1, 1)
    assert (found.kept, found.used) == (pytest.approx(0.97), pytest.approx(0.6))


def test_a_run_that_was_asked_for_long_after_its_images_came_is_held_against_nothing():
    found = budget([run(90_000.0, asked_later_s=80_000)], [], target_s=20, now=NOON)
    assert (found.runs, found.late, found.kept, found.used) == (0, 0, None, None)


def test_the_time_to_flag_runs_from_the_last_image():
    assert to_flag(run(7.5).times) == timedelta(seconds=7.5)
    assert to_flag({"committed": 1.0}) is None

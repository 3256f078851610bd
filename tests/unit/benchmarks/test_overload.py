"""A rush of routine work: urgent studies keep their target, and nobody is overtaken by more than the head start."""

from __future__ import annotations

import pytest

from benchmarks.overload import HEAD_START_MIN, STAT_MIN, TARGET_MIN, Rush, days, latest_overtaking, measure
from inference.simulation import Rank, Study, due_date, read_all


@pytest.mark.parametrize("seed", range(3))
def test_in_an_hour_of_four_times_the_routine_work_urgent_studies_keep_their_target(seed: int) -> None:
    rush = Rush(rush_min=60, overload=4.0)
    drawn = days(rush, count=8, seed=seed)
    by_arrival, by_due_date = (measure(rush, policy, drawn) for policy in ("by arrival", "by due date"))
    assert by_due_date.urgent_p99 <= TARGET_MIN < by_arrival.urgent_p99
    assert by_due_date.stat_p99 <= STAT_MIN
    assert 0 < by_due_date.overtaken_by <= HEAD_START_MIN


@pytest.mark.parametrize("rush_min", [15, 90, 180])
def test_however_long_the_rush_routine_work_is_overtaken_by_the_head_start_at_most(rush_min: int) -> None:
    rush = Rush(rush_min=rush_min)
    drawn = days(rush, count=4, seed=1)
    assert measure(rush, "by due date", drawn).overtaken_by <= HEAD_START_MIN


def test_flags_that_always_go_first_overtake_by_more_in_a_long_rush() -> None:
    rush = Rush(rush_min=120)
    assert measure(rush, "flagged first", days(rush, count=4, seed=1)).overtaken_by > HEAD_START_MIN


def test_overtaking_is_measured_against_the_routine_study_that_waited_longest() -> None:
    def study(arrival: float, rank: Rank = Rank.PLAIN) -> Study:
        return Study(arrival=arrival, reading=30.0, diseased=False, rank=rank)

    day = [study(0), study(1), study(2), study(9, Rank.FLAGGED), study(40, Rank.FLAGGED)]
    waited = read_all(day, due_date(45), readers=1)
    assert waited.tolist() == [0, 89, 118, 21, 20]
    assert latest_overtaking(day, waited) == 39

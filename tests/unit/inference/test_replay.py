"""A day read again: nothing is gained that nobody loses, and the orders are those of the rule of the list."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import InquiryRejected
from inference.replay import Room, _by_arrival, _Case, _orders, day_of, replay
from inference.simulation import Rank, Study, due_date, fifo, read_all
from inference.targets import STANDARD
from storage.catalog.flow import Judged, Waited
from storage.records import OrderPriority, Outcome

MORNING = datetime(2026, 3, 2, 7, tzinfo=UTC)
DAY = {"since": MORNING, "until": MORNING + timedelta(days=1)}
ONE = Room(readers=1, reading_min=10)


def at(minute: float) -> datetime:
    return MORNING + timedelta(minutes=minute)


def waited(
    ready: float,
    *,
    flag: float | None = None,
    urgency: str = "critical",
    raises: bool = True,
    outcome: Outcome = Outcome.NOT_FLAGGED,
    began: float | None = None,
    order: OrderPriority | None = None,
    manual: OrderPriority | None = None,
) -> Waited:
    """A study ready at a minute, flagged at another one."""
    said = [] if outcome is Outcome.FAILED else [Judged(at=at(ready), outcome=outcome, urgency=None, raises=False)]
    if flag is not None:
        said = [Judged(at=at(flag), outcome=Outcome.FLAGGED, urgency=urgency, raises=raises)]
    without = at(ready) + {OrderPriority.STAT: timedelta(minutes=15)}.get(manual or order, timedelta(minutes=240))
    raised = flag is not None and raises
    return Waited(
        ready_at=at(ready),
        due_at=min(without, at(ready) + timedelta(minutes=20)) if raised else without,
        due_without_ai=without,
        order_priority=order,
        manual_priority=manual,
        began_at=None if began is None else at(began),
        judged=tuple(said),
    )


def waits(found, order: str) -> dict[str, float]:
    return {line.group: getattr(line, order).mean for line in found.lines}


def test_a_day_with_one_flag_by_hand():
    day = [waited(0), waited(1), waited(2, flag=3)]
    found = replay(day, **DAY, room=ONE)
    assert waits(found, "fifo") == {"all": 9.0, "flagged": 18.0, "not flagged": 4.5}
    assert waits(found, "listed") == {"all": 9.0, "flagged": 8.0, "not flagged": 9.5}
    assert {line.group: line.gained_by_ai for line in found.lines} == {"all": 0, "flagged": 10, "not flagged": -5}


def test_the_real_moments_are_given_to_the_oldest_where_it_is_read_by_arrival():
    day = [waited(0, began=30), waited(5, began=50), waited(10, flag=11, began=12), waited(60)]
    found = replay(day, **DAY, room=None)
    assert (found.studies, found.unread) == (3, 1)
    assert waits(found, "listed")["flagged"] == 2
    assert waits(found, "fifo") == {"all": pytest.approx(77 / 3), "flagged": 40, "not flagged": pytest.approx(37 / 2)}


def test_a_late_flag_helps_from_the_moment_at_which_it_is_there():
    day = [waited(0), waited(1), waited(2, flag=15), waited(3)]
    listed = _orders([_Case.of(study, shadow=False, targets=STANDARD) for study in day], ONE)["listed"]
    assert listed == [at(0), at(10), at(20), at(30)]
    prompt = [waited(0), waited(1), waited(2, flag=9), waited(3)]
    listed = _orders([_Case.of(study, shadow=False, targets=STANDARD) for study in prompt], ONE)["listed"]
    assert listed == [at(0), at(20), at(10), at(30)]


def test_a_stat_of_a_person_goes_first_in_every_order():
    day = [waited(0), waited(1), waited(2, flag=2), waited(3, manual=OrderPriority.STAT)]
    for begun in _orders([_Case.of(study, shadow=False, targets=STANDARD) for study in day], ONE).values():
        assert begun[3] == at(10)


def test_shadow_flags_move_nothing_unless_it_is_asked_what_they_would():
    day = [waited(0), waited(1), waited(2, flag=3, raises=False)]
    as_it_was = replay(day, **DAY, room=ONE)
    assert waits(as_it_was, "listed") == waits(as_it_was, "without_ai")
    enabled = replay(day, **DAY, room=ONE, shadow=True)
    assert {line.group: line.gained_by_ai for line in enabled.lines} == {"all": 0, "flagged": 10, "not flagged": -5}


def test_what_is_not_known_is_not_guessed():
    with pytest.raises(InquiryRejected, match="say readers"):
        replay([waited(0)], **DAY, room=None)
    with pytest.raises(InquiryRejected, match="shadow"):
        replay([waited(0, began=1)], **DAY, room=None, shadow=True)
    assert replay([], **DAY, room=None).lines == ()


studies = st.lists(
    st.builds(
        lambda ready, flag, began, manual, failed: waited(
            ready,
            flag=None if flag is None else ready + flag,
            began=ready + began,
            manual=manual,
            outcome=Outcome.FAILED if failed else Outcome.NOT_FLAGGED,
        ),
        ready=st.integers(0, 600),
        flag=st.none() | st.integers(0, 60),
        began=st.integers(0, 300),
        manual=st.sampled_from([None, None, None, OrderPriority.STAT]),
        failed=st.booleans(),
    ),
    min_size=1,
    max_size=40,
).map(lambda day: sorted(day, key=lambda study: study.ready_at))


@given(day=studies, readers=st.none() | st.integers(1, 4))
def test_what_one_group_gains_others_lose_to_the_second(day, readers):
    room = None if readers is None else Room(readers=readers, reading_min=7)
    cases = [_Case.of(study, shadow=False, targets=STANDARD) for study in day]
    orders = _orders(cases, room)
    assert len({tuple(sorted(begun)) for begun in orders.values()}) == 1  # the same moments, of other studies
    for begun in orders.values():
        assert all(moment >= case.ready_at for case, moment in zip(cases, begun, strict=True))
    lines = {line.group: line for line in replay(day, **DAY, room=room).lines}
    assert lines["all"].gained_over_fifo == pytest.approx(0, abs=1e-6)
    parts = [lines[name] for name in ("flagged", "not flagged", "not analysed") if name in lines]
    assert sum(line.studies for line in parts) == len(day)
    assert sum(line.studies * line.gained_by_ai for line in parts) == pytest.approx(0, abs=1e-6)


@given(day=studies)
def test_by_arrival_nobody_overtakes(day):
    cases = [_Case.of(study, shadow=False, targets=STANDARD) for study in day if study.manual_priority is None]
    begun = _orders(cases, None)["fifo"]
    assert begun == sorted(begun)


@given(
    gaps=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    data=st.data(),
    readers=st.integers(1, 3),
    reading=st.integers(1, 40),
)
def test_assumed_readers_read_as_the_simulation_does(gaps, data, readers, reading):
    """Another program for the same order: one reading time, flags that are there at once, no person's priority."""
    arrivals = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    flagged = data.draw(st.lists(st.booleans(), min_size=len(gaps), max_size=len(gaps)))
    day = [waited(ready, flag=ready if flag else None) for ready, flag in zip(arrivals, flagged, strict=True)]
    cases = [_Case.of(study, shadow=False, targets=STANDARD) for study in day]
    orders = _orders(cases, Room(readers=readers, reading_min=reading))
    simulated = [
        Study(arrival=ready, reading=reading, diseased=flag, rank=Rank.FLAGGED if flag else Rank.PLAIN)
        for ready, flag in zip(arrivals, flagged, strict=True)
    ]
    for name, policy in (("fifo", fifo), ("listed", due_date(219.5))):  # of equal due times the earlier study is first
        minutes = [
            (begun - study.ready_at).total_seconds() / 60 for begun, study in zip(orders[name], day, strict=True)
        ]
        assert sorted(minutes) == pytest.approx(sorted(read_all(simulated, policy, readers=readers)), abs=1e-6)


def test_a_day_is_the_site_s_own():
    since, until = day_of(date(2026, 3, 1), timezone(timedelta(hours=7)))
    assert (since, until - since) == (datetime(2026, 2, 28, 17, tzinfo=UTC), timedelta(days=1))
    assert _by_arrival(_Case.of(waited(0), shadow=False, targets=STANDARD), False) < _by_arrival(
        _Case.of(waited(1), shadow=False, targets=STANDARD), True
    )

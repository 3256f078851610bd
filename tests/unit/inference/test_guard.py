"""Where too many studies are flagged, a flag tells nothing, and AI moves nothing until it does again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from inference import guard, priority, reading
from roi.watching import Watcher
from storage import schema
from storage.archive import Archive
from storage.catalog import changes, studies, worklist
from storage.records import OrderPriority, StudyUid
from tests.builders import Clock, archive
from tests.unit.inference.test_priority import _judge, _list, _reason, _study


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Archive:
    return archive(tmp_path, clock)


def events(kept: Archive) -> list[tuple[str, Any]]:
    with kept.database.read() as tx:
        told = [(each.kind, dict(each.detail)) for each in changes.since(tx, 0) if each.kind.startswith("flag-rate")]
        lines = sa.select(schema.audit).where(schema.audit.c.action.like("flag-rate%"))
        audited = tx.execute(lines.order_by(schema.audit.c.seq))
        assert [(line.action, line.detail) for line in audited] == told
    return told


def report(kept: Archive, clock: Clock, *uids: StudyUid) -> None:
    with kept.database.write() as tx:
        for uid in uids:
            reading.report(tx, uid, by="BS. Lan", now=clock.now)


@pytest.mark.parametrize(
    ("waiting", "flagged", "was_on", "is_on"),
    [
        (9, 9, False, False),
        (10, 3, False, False),
        (10, 4, False, True),
        (1000, 300, False, False),
        (1000, 301, False, True),
        (1000, 301, True, True),
        (1000, 200, True, True),
        (1000, 199, True, False),
        (5, 5, True, True),
        (4, 4, True, False),
        (0, 0, True, False),
        (0, 0, False, False),
    ],
)
def test_it_goes_on_above_one_bound_and_off_below_another(
    waiting: int, flagged: int, was_on: bool, is_on: bool
) -> None:
    assert guard.wanted(waiting, flagged, was_on=was_on) is is_on


def test_a_list_full_of_flags_falls_back_to_the_order_without_ai(kept: Archive, clock: Clock) -> None:
    uids = [_study(kept, clock, number) for number in range(1, 11)]
    for uid in reversed(uids[6:9]):
        _judge(kept, clock, uid, urgency="critical")
    assert _list(kept)[:3] == uids[6:9]
    assert events(kept) == []
    _judge(kept, clock, uids[9], urgency="critical")
    assert _list(kept) == uids
    assert events(kept) == [("flag-rate-high", {"waiting": 10, "flagged": 4})]
    reason = _reason(kept, uids[9])
    assert reason.en.endswith("too many flags: AI does not move the list now")
    assert reason.vi.endswith("AI tạm không đổi thứ tự")
    with kept.database.read() as tx:
        entry = worklist.entry(tx, uids[9])
    assert (entry.due_at, entry.is_raised_by_ai) == (entry.study.due_without_ai, False)


def test_what_people_and_orders_ask_for_still_counts(kept: Archive, clock: Clock) -> None:
    uids = [_study(kept, clock, number) for number in range(1, 11)]
    ordered = _study(kept, clock, 11, order="HIGH")
    for uid in uids[:5]:
        _judge(kept, clock, uid, urgency="critical")
    with kept.database.write() as tx:
        studies.set_manual_priority(tx, uids[9], OrderPriority.STAT, by="BS. Lan")
        priority.refresh(tx, uids[9], now=clock.now, cause="manual")
    assert _list(kept)[:3] == [uids[9], ordered, uids[0]]


def test_reading_the_flagged_ends_it_with_one_event_and_flags_count_again(kept: Archive, clock: Clock) -> None:
    uids = [_study(kept, clock, number) for number in range(1, 13)]
    for uid in uids[8:]:
        _judge(kept, clock, uid, urgency="critical")
    report(kept, clock, uids[8], uids[9])
    assert len(events(kept)) == 1  # 2 of 10: between the two bounds
    report(kept, clock, uids[10])
    assert [kind for kind, _ in events(kept)] == ["flag-rate-high", "flag-rate-normal"]
    assert _list(kept)[0] == uids[11]


def test_while_it_is_on_a_flag_is_told_as_a_move_of_nothing(kept: Archive, clock: Clock) -> None:
    uids = [_study(kept, clock, number) for number in range(1, 12)]
    for uid in uids[:5]:
        _judge(kept, clock, uid, urgency="critical")
    with kept.database.read() as tx:
        moves = [each.detail for each in changes.since(tx, 0) if each.kind == "priority-changed"]
    assert [move["moved_s"] for move in moves] == [-220 * 60.0] * 4 + [0.0]


def test_time_alone_turns_it_off_once_nobody_chooses_from_those_studies(kept: Archive, clock: Clock) -> None:
    for number in range(1, 11):
        _judge(kept, clock, _study(kept, clock, number), urgency="critical")
    clock.go(timedelta(days=2).total_seconds())
    watcher = Watcher(kept.database, clock=clock)
    watcher.step()
    watcher.step()
    assert [kind for kind, _ in events(kept)] == ["flag-rate-high", "flag-rate-normal"]

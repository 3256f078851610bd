"""Who has a study open, who read it, and what that holds back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from inference import priority, reading
from inference.priority import TARGETS
from roi.watching import Watcher
from storage import schema
from storage.archive import Archive
from storage.catalog import changes, results, studies, worklist
from storage.errors import CatalogueUnknown, Rejected
from storage.records import OrderPriority, StudyRecord, StudyUid, Waiting
from tests.builders import Clock, archive, header, keep
from tests.unit.inference.test_priority import _judge, _study

LAN, HUY = "BS. Lan", "BS. Huy"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Archive:
    return archive(tmp_path, clock)


def opened(kept: Archive, clock: Clock, uid: StudyUid, by: str = LAN) -> None:
    with kept.database.write() as tx:
        reading.open_study(tx, uid, by=by, now=clock.now)


def closed(kept: Archive, clock: Clock, uid: StudyUid, by: str = LAN) -> bool:
    with kept.database.write() as tx:
        return reading.close_study(tx, uid, by=by, now=clock.now)


def reported(kept: Archive, clock: Clock, uid: StudyUid, revision: int | None = None) -> None:
    with kept.database.write() as tx:
        reading.report(tx, uid, by=LAN, now=clock.now, revision=revision)


def record(kept: Archive, uid: StudyUid) -> StudyRecord:
    with kept.database.read() as tx:
        return studies.get(tx, uid)


def listed(kept: Archive, of: Waiting = Waiting.WAITING) -> list[str]:
    with kept.database.read() as tx:
        found = worklist.page(tx, targets=TARGETS, limit=50, of=of)
        assert len(found) == worklist.count(tx, of)
        return [entry.study.study_instance_uid for entry in found]


def kinds(kept: Archive) -> list[str]:
    with kept.database.read() as tx:
        return [change.kind for change in changes.since(tx, 0) if change.kind != "instance-stored"]


def acts(kept: Archive) -> list[tuple[Any, ...]]:
    with kept.database.read() as tx:
        lines = sa.select(schema.audit.c.action, schema.audit.c.actor).order_by(schema.audit.c.seq)
        return [tuple(row) for row in tx.execute(lines)]


def late_image(kept: Archive, clock: Clock, uid: StudyUid) -> None:
    """Let an image come, and the study be complete again."""
    keep(kept, header(50, study_instance_uid=uid))
    with kept.database.write() as tx:
        studies.complete(tx, studies.get(tx, uid), reason="late", now=clock.go(60))
        priority.refresh(tx, uid, now=clock.now, cause="complete")


# ------------------------------------------------------------------------------------------------------ opened
def test_opening_is_one_act_and_saying_it_again_only_lengthens_it(kept: Archive, clock: Clock) -> None:
    uid = _study(kept, clock, 1)
    opened(kept, clock, uid)
    first = record(kept, uid)
    clock.go(300)
    opened(kept, clock, uid)
    again = record(kept, uid)
    assert (first.opened_by, again.opened_at) == (LAN, first.opened_at)
    assert again.open_until == clock.now + reading.LEASE
    assert acts(kept) == [("study-opened", LAN)]
    assert kinds(kept) == ["study-complete", "study-opened"]


def test_a_second_reader_is_told_and_may_close_what_nobody_reads(kept: Archive, clock: Clock) -> None:
    uid = _study(kept, clock, 1)
    opened(kept, clock, uid)
    with pytest.raises(Rejected, match="another reader"):
        opened(kept, clock, uid, HUY)
    assert record(kept, uid).opened_by == LAN
    assert closed(kept, clock, uid, HUY)
    assert not closed(kept, clock, uid, HUY)
    opened(kept, clock, uid, HUY)
    assert acts(kept) == [("study-opened", LAN), ("study-closed", HUY), ("study-opened", HUY)]


def test_a_closed_browser_holds_a_study_for_a_lease_and_no_longer(kept: Archive, clock: Clock) -> None:
    uid = _study(kept, clock, 1)
    opened(kept, clock, uid)
    watcher = Watcher(kept.database, clock=clock)
    clock.go(reading.LEASE.total_seconds() - 1)
    watcher.step()
    assert record(kept, uid).is_open(clock.now)
    clock.go(1)
    assert not record(kept, uid).is_open(clock.now)
    watcher.step()
    watcher.step()
    assert acts(kept) == [("study-opened", LAN), ("study-closed", "roi")]
    opened(kept, clock, uid, HUY)


def test_a_clock_that_is_set_back_holds_no_study_open(kept: Archive, clock: Clock) -> None:
    uid = _study(kept, clock, 1)
    clock.go(24 * 3600)
    opened(kept, clock, uid)
    clock.go(-24 * 3600)
    Watcher(kept.database, clock=clock).step()
    assert record(kept, uid).open_until is None


def test_a_study_that_is_not_here_cannot_be_opened(kept: Archive, clock: Clock) -> None:
    with pytest.raises(CatalogueUnknown):
        opened(kept, clock, StudyUid("2.25.404"))


# -------------------------------------------------------------------------------------------------- hysteresis
def test_while_a_study_is_open_a_new_result_does_not_lower_it(kept: Archive, clock: Clock) -> None:
    uid = _study(kept, clock, 1)
    _judge(kept, clock, uid, urgency="critical")
    raised = record(kept, uid)
    opened(kept, clock, uid)
    late_image(kept, clock, uid)
    _judge(kept, clock, uid, urgency=None, revision=2)
    held = record(kept, uid)
    assert (held.due_at, held.ai_urgency) == (raised.due_at, "critical")
    told = kinds(kept)
    closed(kept, clock, uid)
    after = record(kept, uid)
    assert (after.due_at, after.ai_urgency) == (after.due_without_ai, None)
    assert kinds(kept)[len(told) :] == ["study-closed", "priority-changed"]
    with kept.database.read() as tx:
        detail = changes.since(tx, 0)[-1].detail
    assert (detail["cause"], detail["by"], detail["moved_s"]) == ("closed", LAN, 220 * 60.0)


def test_a_lease_that_is_over_lets_happen_what_was_held_back(kept: Archive, clock: Clock) -> None:
    uid = _study(kept, clock, 1)
    _judge(kept, clock, uid, urgency="urgent")
    opened(kept, clock, uid)
    with kept.database.write() as tx:
        results.withdraw(tx, uid, revision=2, now=clock.now)
        priority.refresh(tx, uid, now=clock.now, cause="withdrawn")
    assert record(kept, uid).ai_urgency == "urgent"
    clock.go(reading.LEASE.total_seconds())
    Watcher(kept.database, clock=clock).step()
    assert record(kept, uid).ai_urgency is None


def test_while_a_study_is_open_a_new_result_may_raise_it_and_says_that_it_is_open(kept: Archive, clock: Clock) -> None:
    uid = _study(kept, clock, 1)
    _judge(kept, clock, uid, urgency="urgent")
    opened(kept, clock, uid)
    late_image(kept, clock, uid)
    _judge(kept, clock, uid, urgency="critical", revision=2)
    study = record(kept, uid)
    assert study.due_at == study.ready_at + timedelta(minutes=20)
    with kept.database.read() as tx:
        detail = changes.since(tx, 0)[-1].detail
    assert (detail["ai"], detail["open"]) == ("critical", True)


def test_what_a_person_takes_back_is_not_held(kept: Archive, clock: Clock) -> None:
    uid = _study(kept, clock, 1)
    for wanted in (OrderPriority.URGENT, None):
        with kept.database.write() as tx:
            studies.set_manual_priority(tx, uid, wanted, by=LAN)
            priority.refresh(tx, uid, now=clock.now, cause="manual", by=LAN)
        opened(kept, clock, uid)
    study = record(kept, uid)
    assert study.due_at == study.ready_at + TARGETS[OrderPriority.ROUTINE]


# ---------------------------------------------------------------------------------------------------- reported
def test_a_study_that_was_read_leaves_the_list_and_can_still_be_reached(kept: Archive, clock: Clock) -> None:
    first, second = (_study(kept, clock, number) for number in (1, 2))
    opened(kept, clock, first)
    reported(kept, clock, first)
    reported(kept, clock, first)
    assert (listed(kept), listed(kept, Waiting.REPORTED), listed(kept, Waiting.ALL)) == (
        [second],
        [first],
        [first, second],
    )
    study = record(kept, first)
    assert (study.reported_by, study.reported_revision, study.is_open(clock.now)) == (LAN, 1, False)
    assert acts(kept) == [("study-opened", LAN), ("study-reported", LAN), ("study-closed", LAN)]


def test_a_late_image_brings_a_read_study_back_with_its_reason(kept: Archive, clock: Clock) -> None:
    uid = _study(kept, clock, 1)
    reported(kept, clock, uid)
    keep(kept, header(50, study_instance_uid=uid))
    assert listed(kept) == [uid]
    with kept.database.read() as tx:
        reason = priority.place_reason(worklist.entry(tx, uid))
    assert reason.en.startswith("new images since revision 1 was read: to be read again; ")
    assert reason.vi.startswith("có ảnh mới sau lần đọc trước (lần nhận 1): cần đọc lại; ")
    reported(kept, clock, uid, revision=1)  # a page that was made before the image came
    assert listed(kept) == [uid]
    reported(kept, clock, uid)
    assert listed(kept) == []


def test_an_image_that_comes_while_a_study_is_still_receiving_brings_it_back(kept: Archive, clock: Clock) -> None:
    uid = StudyUid("2.25.1")
    keep(kept, header(1, study_instance_uid=uid))
    reported(kept, clock, uid)
    assert listed(kept) == []
    clock.go(1)
    keep(kept, header(2, study_instance_uid=uid))
    assert listed(kept) == [uid]
    reported(kept, clock, uid)
    assert listed(kept) == []


def test_what_was_read_by_mistake_waits_again_where_it_stood(kept: Archive, clock: Clock) -> None:
    first, second = (_study(kept, clock, number) for number in (1, 2))
    reported(kept, clock, first)
    with kept.database.write() as tx:
        reading.take_back(tx, first, by=HUY, now=clock.now)
        reading.take_back(tx, second, by=HUY, now=clock.now)
    assert listed(kept) == [first, second]
    assert acts(kept) == [("study-reported", LAN), ("study-returned", HUY)]


def test_a_revision_that_does_not_exist_was_not_read(kept: Archive, clock: Clock) -> None:
    uid = _study(kept, clock, 1)
    with pytest.raises(Rejected, match="no revision 2"):
        reported(kept, clock, uid, revision=2)
    assert listed(kept) == [uid]

"""Due dates: AI only raises, a person's STAT goes first, and nobody is overtaken by more than the head start."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import priority
from inference.priority import AI_TARGETS, TARGETS, due
from storage.archive import Archive
from storage.catalog import changes, jobs, results, studies, worklist
from storage.catalog.jobs import ModelRef
from storage.records import Finding, JobState, OrderPriority, Outcome, StudyRecord, StudyUid, TriageResult
from tests.builders import Clock, archive, header, keep

ROUTINE, URGENT, STAT = OrderPriority.ROUTINE, OrderPriority.URGENT, OrderPriority.STAT


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Archive:
    return archive(tmp_path, clock)


def _study(kept: Archive, clock: Clock, number: int, *, order: str | None = None) -> StudyUid:
    uid = StudyUid(f"2.25.{number}")
    keep(kept, header(number, study_instance_uid=uid, requested_procedure_priority=order))
    with kept.database.write() as tx:
        studies.complete(tx, studies.get(tx, uid), reason="test", now=clock.go(60))
        priority.refresh(tx, uid, now=clock.now, cause="complete")
    return uid


def _judge(kept: Archive, clock: Clock, uid: StudyUid, *, urgency: str | None, raises: bool = True, revision: int = 1):
    finding = Finding(
        code="f", name_en="bleed", name_vi="chảy máu", score=0.9, threshold=0.5, operating_point="balanced",
        positive=urgency is not None, urgency=urgency or "critical",
    )  # fmt: skip
    outcome = Outcome.FLAGGED if urgency else Outcome.NOT_FLAGGED
    with kept.database.write() as tx:
        jobs.create(tx, uid, revision, [ModelRef(id="m", version="1", digest="d")], due_at=clock.now, now=clock.now)
        job = jobs.claim(tx, owner="w", lease=timedelta(seconds=9), now=clock.now)
        assert job is not None
        jobs.end(tx, job.id, owner="w", state=JobState.DONE, reason=None, now=clock.now)
        results.add(
            tx, job, TriageResult(outcome=outcome, findings=(finding,), urgency=urgency, raises=raises), now=clock.now
        )
        priority.refresh(tx, uid, now=clock.now, cause="result")


def _list(kept: Archive) -> list[str]:
    with kept.database.read() as tx:
        return [entry.study.study_instance_uid for entry in worklist.page(tx, targets=TARGETS, limit=50)]


def _reason(kept: Archive, uid: StudyUid) -> priority.Reason:
    with kept.database.read() as tx:
        return priority.place_reason(worklist.entry(tx, uid))


def test_without_ai_the_list_is_order_then_arrival(kept: Archive, clock: Clock) -> None:
    first, urgent, third = (_study(kept, clock, n, order=o) for n, o in ((1, None), (2, "HIGH"), (3, "ROUTINE")))
    assert _list(kept) == [urgent, first, third]


def test_a_flag_raises_and_a_negative_moves_nothing(kept: Archive, clock: Clock) -> None:
    first, second, third = (_study(kept, clock, number) for number in (1, 2, 3))
    _judge(kept, clock, third, urgency="critical")
    _judge(kept, clock, first, urgency=None)
    assert _list(kept) == [third, first, second]
    assert "bleed 0.90" in _reason(kept, third).en
    assert "chảy máu 0,90" in _reason(kept, third).vi
    with kept.database.read() as tx:
        moved = [change for change in changes.since(tx, 0) if change.kind == "priority-changed"]
    assert [(change.study_instance_uid, change.detail["ai"]) for change in moved] == [(third, "critical")]


def test_a_shadow_result_never_moves_the_list(kept: Archive, clock: Clock) -> None:
    first, second = (_study(kept, clock, number) for number in (1, 2))
    _judge(kept, clock, second, urgency="critical", raises=False)
    assert _list(kept) == [first, second]


def test_a_persons_stat_goes_before_everything(kept: Archive, clock: Clock) -> None:
    flagged, plain = (_study(kept, clock, number) for number in (1, 2))
    _judge(kept, clock, flagged, urgency="critical")
    with kept.database.write() as tx:
        studies.set_manual_priority(tx, plain, STAT, by="bs. Lan")
        priority.refresh(tx, plain, now=clock.now, cause="person")
    assert _list(kept) == [plain, flagged]
    assert "person" in _reason(kept, plain).en


def test_a_flag_keeps_its_place_until_judged_again(kept: Archive, clock: Clock) -> None:
    uid = _study(kept, clock, 1)
    _judge(kept, clock, uid, urgency="critical")
    with kept.database.read() as tx:
        due_at = studies.get(tx, uid).due_at
    keep(kept, header(50, study_instance_uid=uid))
    with kept.database.write() as tx:
        studies.complete(tx, studies.get(tx, uid), reason="late", now=clock.go(60))
        priority.refresh(tx, uid, now=clock.now, cause="complete")
        assert studies.get(tx, uid).due_at == due_at
    _judge(kept, clock, uid, urgency=None, revision=2)
    with kept.database.read() as tx:
        study = studies.get(tx, uid)
    assert (study.ai_urgency, study.due_at) == (None, due_at - AI_TARGETS["critical"] + TARGETS[ROUTINE])


def test_a_study_that_never_completed_is_still_listed(kept: Archive, clock: Clock) -> None:
    keep(kept, header(7, study_instance_uid=StudyUid("2.25.7")))
    first = _study(kept, clock, 1)
    assert _list(kept) == ["2.25.7", first]
    assert _reason(kept, StudyUid("2.25.7")).en.startswith("still receiving")


_classes = st.tuples(
    st.integers(0, 10_000), st.sampled_from([None, *OrderPriority]), st.sampled_from([None, *AI_TARGETS])
)


@given(st.lists(_classes, min_size=2, max_size=12))
def test_nobody_is_overtaken_by_more_than_the_head_start(
    plans: list[tuple[int, OrderPriority | None, str | None]],
) -> None:
    listed = [(_at(minute, order), ai) for minute, order, ai in plans]
    dues = [due(study, ai) for study, ai in listed]
    for (study, ai), at in zip(listed, dues, strict=True):
        for (other, other_ai), other_at in zip(listed, dues, strict=True):
            if at < other_at:
                head_start = _target(other, other_ai) - _target(study, ai)
                assert study.ready_at - other.ready_at < head_start
        assert at <= due(study, None)


def _target(study: StudyRecord, ai: str | None) -> timedelta:
    return due(study, ai) - study.ready_at


def _at(minute: int, order: OrderPriority | None) -> StudyRecord:
    fields = dict.fromkeys(StudyRecord.__slots__)
    ready_at = Clock().now + timedelta(minutes=minute)
    return StudyRecord(**{**fields, "ready_at": ready_at, "order_priority": order})

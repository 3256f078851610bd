"""A study is complete on evidence: how its instances came, and whether they look whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from inference.completion import close_quiet
from inference.evidence import judge
from inference.silence import LONGEST_S, Situation, bucket_of
from storage import schema
from storage.archive import Archive
from storage.catalog import additions, changes, silences, studies
from storage.records import InstanceUid, SeriesUid, StudyState, StudyUid
from tests.builders import CT, Clock, archive, card, header, keep

STUDY = StudyUid("2.25.1")
SR = "1.2.840.10008.5.1.4.1.1.88.67"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Archive:
    return archive(tmp_path, clock)


def _look(kept: Archive, clock: Clock, *cards):
    return close_quiet(kept.database, cards, now=clock.now, seen={})


def _send(kept: Archive, clock: Clock, count: int, *, every_s: float) -> None:
    """Slices in one association."""
    for number in range(1, count + 1):
        keep(kept, header(number))
        clock.go(every_s)
    kept.release([STUDY])


def _state(kept: Archive):
    with kept.database.read() as tx:
        study = studies.get(tx, STUDY)
    return study.state, study.completion_reason


def test_an_even_stack_is_complete_shortly_after_its_association(kept: Archive, clock: Clock) -> None:
    _send(kept, clock, 8, every_s=0.01)
    assert _look(kept, clock) == []
    assert _state(kept) == (StudyState.RECEIVING, None)
    clock.go(0.41)
    _look(kept, clock)
    assert _state(kept) == (StudyState.TRIAGED, "released, geometry consistent")


def test_a_stack_with_a_hole_is_waited_for(kept: Archive, clock: Clock) -> None:
    for number in (1, 2, 3, 5, 6):
        keep(kept, header(number))
        clock.go(0.01)
    kept.release([STUDY])
    clock.go(2)
    _look(kept, clock)
    assert _state(kept)[0] is StudyState.RECEIVING
    clock.go(4)
    _look(kept, clock)
    assert _state(kept) == (StudyState.TRIAGED, "released, geometry incomplete")


def test_slices_in_associations_of_their_own_are_one_revision(kept: Archive, clock: Clock) -> None:
    for number in range(1, 33):
        keep(kept, header(number))
        kept.release([STUDY])
        for _ in range(4):
            clock.go(0.05)
            _look(kept, clock)
    clock.go(1)
    created = _look(kept, clock, card())
    with kept.database.read() as tx:
        study = studies.get(tx, STUDY)
    assert (study.revision, study.instance_count, len(created)) == (1, 32, 1)


def test_an_association_that_stays_open_ends_by_silence(kept: Archive, clock: Clock) -> None:
    keep(kept, header(1))
    clock.go(additions.OPEN_WAIT.total_seconds() - 1)
    _look(kept, clock)
    assert _state(kept)[0] is StudyState.RECEIVING
    clock.go(2)
    _look(kept, clock)
    assert _state(kept) == (StudyState.TRIAGED, "silence")


def test_a_radiograph_is_whole_by_itself(kept: Archive, clock: Clock) -> None:
    keep(kept, header(1, modality="DX"))
    kept.release([STUDY])
    clock.go(0.41)
    _look(kept, clock)
    assert _state(kept) == (StudyState.TRIAGED, "released, no stack to wait for")


def test_a_job_for_each_card_that_accepts_what_came(kept: Archive, clock: Clock) -> None:
    _send(kept, clock, 8, every_s=0.01)
    clock.go(1)
    created = _look(kept, clock, card("ct-a"), card("ct-b"), card("dx", kind="radiograph"))
    assert len(created) == 2
    assert _state(kept)[0] is StudyState.COMPLETE
    assert _look(kept, clock, card("ct-a"), card("ct-b")) == []


def test_a_late_dose_report_makes_no_job(kept: Archive, clock: Clock) -> None:
    _send(kept, clock, 8, every_s=0.01)
    clock.go(1)
    assert _look(kept, clock) == []
    report = header(99, sop_class_uid=SR, modality="SR", series_instance_uid=SeriesUid("2.25.1.9"))
    keep(kept, report)
    kept.release([STUDY])
    clock.go(1)
    assert _look(kept, clock, card()) == []
    with kept.database.read() as tx:
        study = studies.get(tx, STUDY)
    assert (study.revision, study.state) == (2, StudyState.TRIAGED)


def test_two_workers_complete_a_study_once(kept: Archive, clock: Clock) -> None:
    _send(kept, clock, 8, every_s=0.01)
    clock.go(1)
    with kept.database.read() as tx:
        seen_by_both = studies.receiving(tx, now=clock.now)
    assert len(seen_by_both) == 1
    assert len(_look(kept, clock, card())) == 1
    with kept.database.write() as tx:
        assert studies.complete(tx, seen_by_both[0], reason="late", now=clock.now) is None


def test_a_restart_between_arrival_and_completion_changes_nothing(tmp_path: Path, clock: Clock) -> None:
    before = archive(tmp_path, clock)
    _send(before, clock, 8, every_s=0.01)
    before.close()
    clock.go(600)
    after = archive(tmp_path, clock)
    _look(after, clock)
    assert _state(after) == (StudyState.TRIAGED, "silence")


def test_localizers_alone_are_no_stack(kept: Archive) -> None:
    keep(kept, header(1, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), sop_class_uid=CT))
    with kept.database.read() as tx:
        evidence = judge(studies.instances_of(tx, STUDY))
    assert (evidence.plausible, evidence.reason) == (False, "localizer only")


def test_a_clock_that_is_set_back_by_hours_delays_a_study_by_its_silence_alone(kept: Archive, clock: Clock) -> None:
    _send(kept, clock, 8, every_s=0.01)
    keep(kept, header(1, study_instance_uid=StudyUid("2.25.8"), sop_instance_uid=InstanceUid("2.25.8.1")))
    clock.go(-3 * 3600)
    _look(kept, clock)
    clock.go(1)
    _look(kept, clock)
    assert _state(kept) == (StudyState.TRIAGED, "released, geometry consistent")
    clock.go(additions.OPEN_WAIT.total_seconds())
    _look(kept, clock)
    with kept.database.read() as tx:
        assert studies.get(tx, StudyUid("2.25.8")).state is StudyState.TRIAGED


def test_clocks_that_differ_by_a_little_change_nothing(kept: Archive, clock: Clock) -> None:
    keep(kept, header(1))
    with kept.database.read() as tx:
        before = studies.get(tx, STUDY)
    clock.go(-4)
    _look(kept, clock)
    with kept.database.read() as tx:
        assert studies.get(tx, STUDY) == before


# --------------------------------------------------------------------------------------- what a sender's studies teach
SENDER = silences.Sender(name="dimse", modality="CT")


def _learned(kept: Archive) -> dict[str, dict[int, float]]:
    with kept.database.read() as tx:
        return silences.learned(tx, SENDER)


def _teach(kept: Archive, situation: Situation, *silences_s: float, times: int = 1) -> None:
    with kept.database.write() as tx:
        for silence_s in silences_s:
            for _ in range(times):
                silences.learn(tx, SENDER, {situation: bucket_of(silence_s)})


def test_a_study_is_complete_with_a_reason_and_a_probability(kept: Archive, clock: Clock) -> None:
    _send(kept, clock, 8, every_s=0.01)
    clock.go(0.41)
    _look(kept, clock)
    with kept.database.read() as tx:
        study = studies.get(tx, STUDY)
        told = next(change for change in changes.since(tx, 0) if change.kind == "study-complete")
    assert study.completion_probability == 0.996
    assert told.detail == {"reason": "released, geometry consistent", "probability": 0.996, "instances": 8}


def test_a_second_association_that_came_too_late_teaches_to_wait_for_the_next_one(kept: Archive, clock: Clock) -> None:
    _send(kept, clock, 8, every_s=0.01)
    clock.go(0.41)
    _look(kept, clock)
    clock.go(1.6)
    for number in (9, 10):
        keep(kept, header(number))
    kept.release([STUDY])
    clock.go(5.1)
    _look(kept, clock)
    assert _learned(kept)[Situation.WHOLE] == {0: 1.0, bucket_of(2.02): 1.0}
    for number in range(1, 9):
        told = {"study_instance_uid": StudyUid("2.25.2"), "series_instance_uid": SeriesUid("2.25.2.1")}
        keep(kept, header(number, sop_instance_uid=InstanceUid(f"2.25.2.1.{number}"), **told))
    kept.release([StudyUid("2.25.2")])
    clock.go(2.1)
    _look(kept, clock)
    with kept.database.read() as tx:
        assert studies.get(tx, StudyUid("2.25.2")).state is StudyState.RECEIVING
    clock.go(1.5)
    _look(kept, clock)
    with kept.database.read() as tx:
        assert studies.get(tx, StudyUid("2.25.2")).state is StudyState.TRIAGED


def test_a_pause_after_a_localizer_does_not_make_whole_stacks_wait(kept: Archive, clock: Clock) -> None:
    scout = ("ORIGINAL", "PRIMARY", "LOCALIZER")
    keep(kept, header(99, image_type=scout, series_instance_uid=SeriesUid("2.25.1.9")))
    kept.release([STUDY])
    clock.go(3.0)
    _look(kept, clock)
    assert _state(kept)[0] is StudyState.RECEIVING
    _send(kept, clock, 8, every_s=0.01)
    clock.go(12.1)
    _look(kept, clock)
    assert _learned(kept) == {
        Situation.WHOLE: {0: 1.0},
        Situation.DOUBTFUL: {bucket_of(3.0): 1.0},
        Situation.OPEN: {bucket_of(3.0): 1.0},
    }


def test_a_sender_that_is_known_well_is_not_held_to_the_pace_of_one_study(kept: Archive, clock: Clock) -> None:
    _teach(kept, Situation.WHOLE, 0.0, times=200)
    _send(kept, clock, 8, every_s=0.9)  # four times that would be 3.6 s
    clock.go(0.41)
    _look(kept, clock)
    assert _state(kept) == (StudyState.TRIAGED, "released, geometry consistent")


def test_a_known_sender_that_keeps_its_association_open_is_not_waited_for_to_the_end(
    kept: Archive, clock: Clock
) -> None:
    _teach(kept, Situation.OPEN, 0.5, times=1200)
    for number in range(1, 9):
        keep(kept, header(number))
    clock.go(1.9)
    _look(kept, clock)
    assert _state(kept)[0] is StudyState.RECEIVING
    clock.go(0.2)
    _look(kept, clock)
    assert _state(kept) == (StudyState.TRIAGED, "silent, geometry consistent")


def test_what_a_study_brings_days_later_teaches_nothing(kept: Archive, clock: Clock) -> None:
    _send(kept, clock, 8, every_s=0.01)
    clock.go(0.41)
    _look(kept, clock)
    clock.go(LONGEST_S + 1)
    _send(kept, clock, 9, every_s=0.01)
    clock.go(60)
    _look(kept, clock)
    assert _learned(kept)[Situation.WHOLE] == {0: 2.0}


def test_the_oldest_lessons_are_forgotten_by_halves(kept: Archive) -> None:
    with kept.database.write() as tx:
        silences.learn(tx, SENDER, {Situation.WHOLE: 0})
        tx.execute(sa.update(schema.silences).values(studies=4000.0))
        silences.learn(tx, SENDER, {Situation.WHOLE: 3})
    assert _learned(kept)[Situation.WHOLE] == {0: 2000.0, 3: 0.5}

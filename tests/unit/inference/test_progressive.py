"""Runs on a part of a series: made while it is worth it, a mark where they flag, nothing where they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from inference import deployment, progressive, triage
from inference.completion import Completer
from inference.dispatchers.child import ChildDispatcher
from inference.errors import RunFailed
from inference.partial import consecutive, rules_for_part
from inference.priority import AI_TARGETS, place_reason
from inference.progressive import Scout
from inference.triage import RunRequest
from inference.worker import Pace, Worker
from models import registry
from models.contract import KnownInputs, Prediction, Progressive, Radiograph, Volume
from storage import schema
from storage.archive import Archive
from storage.catalog import changes, jobs, studies, timings, workitems, worklist
from storage.catalog.deletions import Target
from storage.records import (
    Coverage,
    Finding,
    InstanceRecord,
    InstanceUid,
    Job,
    JobId,
    JobState,
    Outcome,
    SeriesUid,
    StudyState,
    StudyUid,
    TriageResult,
)
from storage.removal import remove
from tests.builders import Clock, TrialModel, archive, card, ct_slice, header, keep, keep_data_set
from tests.unit.inference.test_worker import ScriptedProcess

STUDY = StudyUid("2.25.1")
PLAN = Progressive(first_at_slices=6, step=4)
CARD = card(progressive=PLAN, slices=8)
RULES = CARD.input_rules


def _finding(*, positive: bool) -> Finding:
    return Finding(
        code="trial-finding",
        name_en="trial finding",
        name_vi="dấu hiệu thử",
        score=0.9 if positive else 0.1,
        threshold=0.5,
        operating_point="balanced",
        positive=positive,
        urgency="critical",
    )


FLAGGED = TriageResult(outcome=Outcome.FLAGGED, urgency="critical", raises=True, findings=(_finding(positive=True),))
NOT_FLAGGED = TriageResult(outcome=Outcome.NOT_FLAGGED, raises=True, findings=(_finding(positive=False),))
SHADOW = replace(FLAGGED, raises=False)
NOT_SUITABLE = TriageResult(outcome=Outcome.NOT_SUITABLE, reason="geometry_gap")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Iterator[Archive]:
    made = archive(tmp_path, clock)
    yield made
    made.close()


class Site:
    """An archive whose worker goes step by step."""

    def __init__(self, kept: Archive, clock: Clock, *answers: TriageResult | RunFailed, cards=(CARD,)) -> None:
        self.kept, self.clock = kept, clock
        self.process = ScriptedProcess(list(answers) or [NOT_FLAGGED])
        bell = ChildDispatcher()
        self.completer = Completer(database=kept.database, dispatcher=bell, cards=cards, clock=clock)
        self.worker = Worker(
            database=kept.database, dispatcher=bell, cards=cards, model=self.process, clock=clock, pace=Pace()
        )

    def receive(self, numbers: range, *, every_s: float = 0.05, look: bool = True) -> None:
        for number in numbers:
            keep(self.kept, header(number))
            self.clock.go(every_s)
            if look:
                self.completer.step()

    def complete(self) -> None:
        self.kept.release([STUDY])
        self.clock.go(1)
        self.completer.step()

    @property
    def jobs(self) -> list[tuple[int, str]]:
        with self.kept.database.read() as tx:
            table = schema.jobs
            rows = tx.execute(sa.select(table.c.provisional, table.c.state).order_by(table.c.created_at))
            return [(row.provisional, row.state) for row in rows]

    @property
    def entry(self):
        with self.kept.database.read() as tx:
            return worklist.entry(tx, STUDY)

    @property
    def told(self) -> list[tuple[str, dict]]:
        with self.kept.database.read() as tx:
            return [(each.kind, dict(each.detail)) for each in changes.since(tx, 0) if "provisional" in each.kind]


# ------------------------------------------------------------------------------------------------- what there is to see
def _stack(*numbers: float, series: str = "2.25.1.1", **fields: object) -> list[InstanceRecord]:
    return [_slice(number, series, **fields) for number in numbers]


def _slice(number: float, series: str, **fields: object) -> InstanceRecord:
    told = header(1, series_instance_uid=SeriesUid(series), image_position_patient=(0.0, 0.0, 5.0 * number))
    known = {name: getattr(told, name) for name in InstanceRecord.__slots__ if hasattr(told, name)}
    kept = {"object_key": "0" * 64, "size_bytes": 1, "meta_bytes": 0, "revision": 1}
    uid = InstanceUid(f"{series}.{number:g}")
    return InstanceRecord(**{**known, **kept, "sop_instance_uid": uid, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("instances", "positions"),
    [
        ([], []),
        (_stack(1), [1]),
        (_stack(3, 1, 2), [1, 2, 3]),
        (_stack(1, 2, 3, 5, 6, 7, 8), [5, 6, 7, 8]),
        (_stack(1, 2, 2, 3, 4, 5), [2, 3, 4, 5]),
        (_stack(2, 4, 6, 8), [2, 4, 6, 8]),
        (_stack(1, 2, 3) + _stack(1, 2, series="2.25.1.2"), [1, 2, 3]),
        (_stack(1, 2, 3, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")), []),
        (_stack(1, 2, 3, modality="MR"), []),
        (_stack(1, 2, 3, number_of_frames=8), []),
        (_stack(1, 2, 3, image_position_patient=None), []),
    ],
)
def test_the_longest_run_without_a_hole_is_what_a_model_may_see(
    instances: list[InstanceRecord], positions: list[int]
) -> None:
    found = consecutive(instances, RULES)
    assert [each.image_position_patient and each.image_position_patient[2] / 5 for each in found] == positions


@pytest.mark.parametrize(("slices", "reached"), [(0, 0), (5, 0), (6, 6), (9, 6), (10, 10), (33, 30)])
def test_a_card_says_at_how_many_slices_a_run_is_due(slices: int, reached: int) -> None:
    assert PLAN.reached(slices) == reached


def test_only_models_of_stacks_say_so_and_not_later_than_the_whole_is_enough() -> None:
    plans = {each.id: each for each in registry.cards() if each.progressive}
    assert set(plans) == {"head-ct-haemorrhage"}
    for each in plans.values():
        assert each.input_rules.kind == "volume"
        assert each.progressive is not None
        assert 1 < each.progressive.first_at_slices <= each.input_rules.min_slices


def test_a_part_may_cover_less_than_the_whole_must(kept: Archive, clock: Clock) -> None:
    rules = replace(RULES, coverage_mm=(90.0, 250.0))
    assert rules_for_part(rules, PLAN) == replace(rules, min_slices=6, coverage_mm=(0.0, 250.0))
    for number in (1, 2, 3, 4, 5, 6, 9):
        keep_data_set(kept, ct_slice(number))
    with kept.database.read() as tx:
        instances = tuple(studies.instances_of(tx, STUDY))
    model = TrialModel(replace(CARD, input_rules=rules))
    request = RunRequest(job=JobId("j"), model_id=CARD.id, instances=instances)
    whole = triage.run(request, model, kept.objects, runtime={})
    part = triage.run(replace(request, provisional=True), model, kept.objects, runtime={})
    assert (whole.outcome, whole.reason) == (Outcome.NOT_SUITABLE, "too_few_slices")
    assert (part.outcome, part.provenance["input_instances"]) == (Outcome.FLAGGED, 6)


class KnowingModel(TrialModel):
    """Lies so far from what it knows, whatever it is shown."""

    def __init__(self, distance: float) -> None:
        super().__init__(replace(CARD, known_inputs=KnownInputs(file="a", sha256="0", threshold=90.0, dataset="here")))
        self.distance = distance

    def predict(self, image: Volume | Radiograph) -> Prediction:
        return replace(super().predict(image), distance=self.distance)


@pytest.mark.parametrize(("distance", "outcome"), [(90.0, Outcome.FLAGGED), (90.1, Outcome.NOT_SUITABLE)])
def test_a_part_is_held_to_what_the_model_knows_like_the_whole(
    kept: Archive, distance: float, outcome: Outcome
) -> None:
    for number in range(1, 9):
        keep_data_set(kept, ct_slice(number))
    with kept.database.read() as tx:
        instances = tuple(studies.instances_of(tx, STUDY))
    request = RunRequest(job=JobId("j"), model_id=CARD.id, instances=instances)
    for provisional in (True, False):
        result = triage.run(replace(request, provisional=provisional), KnowingModel(distance), kept.objects, runtime={})
        assert (result.outcome, result.reason) == (outcome, "ood" if outcome is Outcome.NOT_SUITABLE else None)


def test_a_study_with_anything_that_no_phantom_drew_is_moved_by_no_part_of_it(kept: Archive) -> None:
    for number in range(1, 8):
        keep_data_set(kept, ct_slice(number, SOPInstanceUID=f"2.25.99.{number}" if number < 7 else "2.25.4"))
    with kept.database.read() as tx:
        instances = tuple(studies.instances_of(tx, STUDY))
    model = TrialModel(replace(CARD, raises_only_uid_root="2.25.99."))
    request = RunRequest(job=JobId("j"), model_id=CARD.id, instances=instances, provisional=True)
    assert triage.run(request, model, kept.objects, runtime={}).raises is False


# --------------------------------------------------------------------------------------------------- when one is made
def test_a_run_is_made_whenever_enough_slices_more_have_come(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock)
    for number in range(1, 16):
        site.receive(range(number, number + 1))
        site.worker.step()
    assert site.jobs == [(6, "DONE"), (10, "DONE"), (14, "DONE")]
    assert [(request.provisional, len(request.instances)) for request in site.process.asked] == [
        (True, 6),
        (True, 10),
        (True, 14),
    ]


def test_a_run_under_way_is_not_doubled(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock)
    site.receive(range(1, 16))
    assert site.jobs == [(6, "WAITING")]
    site.worker.step()
    assert [len(request.instances) for request in site.process.asked] == [15]  # it sees what is there when it starts


def test_two_workers_make_one_run(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock)
    site.receive(range(1, 7), look=False)
    scouts = [Scout(database=kept.database, cards=[CARD]) for _ in range(2)]
    assert [len(scout.look(clock.now)) for scout in scouts] == [1, 0]
    with kept.database.write() as tx:
        uids = [jobs.ModelRef(id=CARD.id, version=CARD.version, digest=CARD.digest)]
        assert jobs.create(tx, STUDY, 1, uids, due_at=clock.now, now=clock.now, provisional=6) == []
        assert len(jobs.create(tx, STUDY, 1, uids, due_at=clock.now, now=clock.now)) == 1  # the run on all of it


def test_the_catalogue_itself_refuses_a_second_job_of_the_same_kind(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock)
    site.receive(range(1, 7))
    with kept.database.write() as tx:
        row = tx.execute(sa.select(schema.jobs)).one()._mapping
        again = sa.insert(schema.jobs).values({**row, "id": "another"})
        with pytest.raises(IntegrityError):
            tx.execute(again)


def _too_fast(site: Site) -> None:
    site.receive(range(1, 15), every_s=0.005)


def _a_final_run_waits(site: Site) -> None:
    other = {"study_instance_uid": StudyUid("2.25.2"), "series_instance_uid": SeriesUid("2.25.2.1")}
    for number in range(1, 9):
        keep(site.kept, header(number, sop_instance_uid=InstanceUid(f"2.25.2.1.{number}"), **other))
    site.kept.release([other["study_instance_uid"]])
    site.clock.go(1)
    site.completer.step()
    site.receive(range(1, 15))


def _too_few_slices(site: Site) -> None:
    site.receive(range(1, 6))


def _holes(site: Site) -> None:
    for start in (1, 7, 13):
        site.receive(range(start, start + 5))


def _complete_before(site: Site) -> None:
    site.receive(range(1, 6))
    site.complete()
    site.worker.step()
    site.receive(range(6, 15))


@pytest.mark.parametrize("scene", [_too_fast, _a_final_run_waits, _too_few_slices, _holes, _complete_before])
def test_no_run_is_made(kept: Archive, clock: Clock, scene: Callable[[Site], None]) -> None:
    site = Site(kept, clock)
    scene(site)
    assert [provisional for provisional, _ in site.jobs if provisional] == []


def test_a_model_that_does_not_say_so_sees_no_part(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock, cards=(card(),))
    site.receive(range(1, 15))
    assert site.jobs == []


def test_one_that_has_flagged_is_not_asked_again_before_the_study_is_complete(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock, FLAGGED)
    for number in range(1, 25):
        site.receive(range(number, number + 1))
        site.worker.step()
    assert site.jobs == [(6, "DONE")]


def test_work_on_whole_series_is_claimed_first(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock)
    site.receive(range(1, 7))
    clock.go(5)
    _a_final_run_waits(site)
    site.worker.step()
    assert [request.provisional for request in site.process.asked] == [False, True]


# --------------------------------------------------------------------------------------------------- what it says
def test_a_flag_is_a_mark_that_raises_the_study_while_it_arrives(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock, FLAGGED)
    site.receive(range(1, 7))
    site.worker.step()
    entry = site.entry
    assert [(line.coverage, line.provisional) for line in entry.coverage] == [(Coverage.WAITING, 6)]
    assert [(record.provisional, record.superseded_by) for record in entry.results] == [(6, None)]
    assert (entry.study.state, entry.study.ready_at, entry.study.ai_urgency) == (StudyState.RECEIVING, None, "critical")
    assert entry.study.due_at == entry.study.received_first + AI_TARGETS["critical"]
    assert place_reason(entry).en == "provisional AI flag: trial finding 0.90; images still arriving"
    assert site.told == [("provisional-flagged", {"model": "trial", "slices": 6})]


@pytest.mark.parametrize("answer", [NOT_FLAGGED, NOT_SUITABLE, RunFailed("ValueError")])
def test_anything_but_a_flag_shows_nothing_and_lowers_nothing(
    kept: Archive, clock: Clock, answer: TriageResult | RunFailed
) -> None:
    site = Site(kept, clock, answer)
    site.receive(range(1, 7), look=False)
    before = site.entry
    site.completer.step()
    assert site.jobs == [(6, "WAITING")]
    for _ in range(3):
        site.worker.step()
    assert site.entry == before
    assert site.told == []
    assert len(site.process.asked) == 1, "no second try: the run on all of the series comes anyway"


def test_a_shadow_flag_is_shown_and_moves_nothing(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock, SHADOW)
    site.receive(range(1, 7))
    site.worker.step()
    assert [record.provisional for record in site.entry.results] == [6]
    assert (site.entry.study.due_at, site.entry.study.ai_urgency) == (None, None)


CONFIRMED = [("provisional-confirmed", {"model": "trial", "outcome": "FLAGGED"})]


def _retracted(outcome: str) -> list[tuple[str, dict]]:
    return [("provisional-retracted", {"model": "trial", "outcome": outcome, "findings": ["trial-finding"]})]


@pytest.mark.parametrize(
    ("part", "whole", "told", "urgency"),
    [
        (FLAGGED, FLAGGED, CONFIRMED, "critical"),
        (FLAGGED, NOT_FLAGGED, _retracted("NOT_FLAGGED"), None),
        (FLAGGED, NOT_SUITABLE, _retracted("NOT_SUITABLE"), None),
        (FLAGGED, RunFailed("ValueError"), _retracted("FAILED"), None),
        (NOT_FLAGGED, FLAGGED, [], "critical"),
        (NOT_FLAGGED, NOT_FLAGGED, [], None),
        (RunFailed("ValueError"), FLAGGED, [], "critical"),
    ],
)
def test_the_run_on_the_whole_series_decides(
    kept: Archive,
    clock: Clock,
    part: TriageResult | RunFailed,
    whole: TriageResult | RunFailed,
    told: list[tuple[str, dict]],
    urgency: str | None,
) -> None:
    site = Site(kept, clock, part, whole)
    site.receive(range(1, 10))
    site.worker.step()
    site.complete()
    for _ in range(jobs.MAX_ATTEMPTS):
        site.worker.step()
        clock.go(2)
    entry = site.entry
    assert [each for each in site.told if each[0] != "provisional-flagged"] == told
    assert (entry.study.state, entry.study.ai_urgency) == (StudyState.TRIAGED, urgency)
    standing = [record for record in entry.results if record.superseded_by is None]
    assert [(record.provisional, record.revision) for record in standing] == [(None, 1)]
    assert [line.provisional for line in entry.coverage] == [None]
    assert [len(request.instances) for request in site.process.asked][-1] == 9


def test_a_flag_that_stands_is_a_mark_on_the_line_that_waits_for_the_whole(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock, FLAGGED)
    site.receive(range(1, 10))
    site.worker.step()
    site.complete()
    assert [(line.coverage, line.provisional) for line in site.entry.coverage] == [(Coverage.WAITING, 6)]
    assert site.entry.study.ai_urgency == "critical"


# ------------------------------------------------------------------------------------------ what ends it before its end
def test_a_run_that_waits_is_dropped_when_the_study_completes(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock, FLAGGED)
    site.receive(range(1, 7))
    site.complete()
    assert site.jobs == [(0, "WAITING")]
    site.worker.step()
    assert [request.provisional for request in site.process.asked] == [False]


def test_a_run_that_ends_after_the_study_is_complete_says_nothing(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock, FLAGGED, NOT_FLAGGED)

    class Slow(ScriptedProcess):
        def run(self, request: RunRequest, *, limit_s: float, on_beat: Callable[[], bool]) -> TriageResult:
            if request.provisional:
                site.complete()
            return super().run(request, limit_s=limit_s, on_beat=on_beat)

    site.worker._lanes[0].model = Slow(site.process.answers)  # type: ignore[assignment]
    site.receive(range(1, 7))
    site.worker.step()
    assert site.told == []
    assert [(record.provisional, record.result.outcome) for record in site.entry.results] == [
        (None, Outcome.NOT_FLAGGED)
    ]


def test_a_flag_of_a_model_that_is_no_longer_there_is_retracted_when_the_study_completes(
    kept: Archive, clock: Clock
) -> None:
    site = Site(kept, clock, FLAGGED)
    site.receive(range(1, 7))
    site.worker.step()
    without = Site(kept, clock, cards=())
    without.complete()
    assert site.told[1:] == [("provisional-retracted", {"model": "trial", "outcome": None})]
    assert (site.entry.study.ai_urgency, site.entry.coverage[0].coverage) == (None, Coverage.NO_MODEL_APPLIES)


def test_a_provisional_run_is_none_that_could_be_late(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock, FLAGGED)
    site.receive(range(1, 7))
    with kept.database.read() as tx:
        assert timings.open_jobs(tx) == []
    site.worker.step()
    with kept.database.read() as tx:
        assert timings.ended_since(tx, clock.now - timedelta(days=1)) == []


def test_a_flag_of_a_model_that_nobody_enabled_moves_nothing(kept: Archive, clock: Clock) -> None:
    unknown = card(progressive=PLAN, slices=8, root=None)
    site = Site(kept, clock, FLAGGED, cards=(unknown,))
    site.receive(range(1, 7))
    site.worker.step()
    assert [record.result.raises for record in site.entry.results] == [False]
    assert site.entry.study.due_at is None


def test_the_flag_of_a_model_that_is_stopped_meanwhile_is_retracted_and_no_part_is_seen_again(
    kept: Archive, clock: Clock
) -> None:
    site = Site(kept, clock, FLAGGED)
    site.receive(range(1, 7))
    site.worker.step()
    with kept.database.write() as tx:
        deployment.stop(tx, CARD.id, by="BS. Lan", why="test", now=clock.now)
    site.receive(range(7, 13))
    assert len(site.jobs) == 1
    site.complete()
    assert [kind for kind, _ in site.told] == ["provisional-flagged", "provisional-retracted"]
    [line] = site.entry.coverage
    assert (line.coverage, line.provisional) == (Coverage.OPTED_OUT, None)


def test_a_flag_on_images_that_are_removed_does_not_stand(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock, FLAGGED)
    site.receive(range(1, 7))
    site.worker.step()
    remove(
        kept,
        Target(study=STUDY, instance=InstanceUid("2.25.1.1.3"), series=SeriesUid("2.25.1.1")),
        reason="wrong patient",
        actor="anna",
        clock=clock,
    )
    site.completer.step()
    assert [record.superseded_by for record in site.entry.results if record.provisional] == [1]
    assert site.entry.study.ai_urgency is None


def test_runs_on_a_part_are_nobodys_workitems(kept: Archive, clock: Clock) -> None:
    site = Site(kept, clock)
    site.receive(range(1, 7))
    with kept.database.read() as tx:
        assert workitems.search(tx, [], limit=10) == []
    site.complete()
    with kept.database.read() as tx:
        assert len(workitems.search(tx, [], limit=10)) == 1


# ----------------------------------------------------------------------------------------------- killed at any instant
def _until(site: Site, instants: int) -> None:
    """Live through a study's provisional run, its completion and its final run; be killed after so many instants."""
    database, clock, owner = site.kept.database, site.clock, "killed"
    left = count()

    def dead() -> bool:
        return next(left) >= instants

    def claimed() -> Job:
        with database.write() as tx:
            job = jobs.claim(tx, owner=owner, lease=jobs.RETRY_WAIT, now=clock.now)
        assert job is not None
        return job

    if dead():
        return
    site.receive(range(1, 7))
    if dead():
        return
    job = claimed()
    if dead():
        return
    with database.write() as tx:
        assert progressive.commit(tx, job, FLAGGED, owner=owner, state=JobState.DONE, now=clock.now)
    if dead():
        return
    site.receive(range(7, 10))
    site.complete()
    if dead():
        return
    claimed()


@pytest.mark.parametrize("instants", range(6))
def test_killed_at_any_instant_no_flag_stands_without_its_final_run(kept: Archive, clock: Clock, instants: int) -> None:
    _until(Site(kept, clock), instants)
    clock.go(60)
    after = Site(kept, clock, NOT_FLAGGED)
    if instants < 1:
        after.receive(range(1, 10))
    for _ in range(4):
        after.completer.step()
        after.worker.step()
        clock.go(60)
    standing = [record for record in after.entry.results if record.superseded_by is None]
    assert [(record.provisional, record.result.outcome) for record in standing] == [(None, Outcome.NOT_FLAGGED)]
    assert {state for _, state in after.jobs} == {"DONE"}
    assert (after.entry.study.state, after.entry.study.ai_urgency) == (StudyState.TRIAGED, None)
    assert [kind for kind, _ in after.told] == ["provisional-flagged", "provisional-retracted"] * (instants >= 3)

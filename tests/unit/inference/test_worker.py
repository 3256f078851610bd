"""The worker, with a model that answers, raises, hangs, dies or cannot be loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest
import sqlalchemy as sa

from inference import child
from inference.completion import close_quiet
from inference.dispatchers.child import ChildDispatcher
from inference.errors import ObjectsAway, RunDied, RunFailed, RunHung
from inference.pace import Pace
from inference.triage import RunRequest
from inference.worker import Worker
from storage import schema
from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.catalog import changes, jobs, landings, results, studies, worklist
from storage.catalog.deletions import Target
from storage.errors import ObjectStoreUnavailable
from storage.records import (
    Arrival,
    Coverage,
    JobId,
    ObjectKey,
    Origin,
    Outcome,
    StudyState,
    StudyUid,
    TriageResult,
)
from storage.removal import remove
from tests.builders import Clock, TrialModel, archive, card, header, keep

STUDY = StudyUid("2.25.1")
CARD = card()


@dataclass
class ScriptedProcess:
    """Stands where the model's process is: gives its answers one after the other, the last for ever."""

    answers: list[TriageResult | RunFailed | ObjectsAway]
    load_error: RunFailed | None = None
    asked: list[RunRequest] = field(default_factory=list)
    stopped: int = 0

    images_at_once: int = 1

    def warm(self, wanted: Sequence[str] = ()) -> None:
        pass

    def is_ready(self, wait_s: float = 0.0) -> bool:
        if self.load_error:
            raise self.load_error
        return True

    def run(self, request: RunRequest, *, limit_s: float, on_beat: Callable[[], bool]) -> TriageResult:
        self.asked.append(request)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, RunFailed | ObjectsAway):
            raise answer
        return answer

    def stop(self) -> None:
        self.stopped += 1


FLAGGED = TriageResult(outcome=Outcome.FLAGGED, urgency="critical", raises=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Archive:
    made = archive(tmp_path, clock)
    for number in range(1, 9):
        keep(made, header(number))
        clock.go(0.01)
    made.release([STUDY])
    clock.go(1)
    close_quiet(made.database, [CARD], now=clock.now, seen={})
    return made


def _worker(kept: Archive, clock: Clock, process: ScriptedProcess | None, *, here: str = "") -> Worker:
    return Worker(
        database=kept.database,
        dispatcher=ChildDispatcher(),
        cards=[CARD],
        model=process,
        clock=clock,
        here=here,
        pace=Pace(load_again_s=0.0),
    )


def _entry(kept: Archive):
    with kept.database.read() as tx:
        return worklist.entry(tx, STUDY)


def test_a_job_runs_once_and_its_result_is_committed_with_everything_it_changes(kept: Archive, clock: Clock) -> None:
    process = ScriptedProcess([FLAGGED])
    worker = _worker(kept, clock, process)
    worker.step()
    worker.step()
    entry = _entry(kept)
    assert len(process.asked) == 1
    assert len(process.asked[0].instances) == 8
    assert (entry.study.state, entry.study.ai_urgency) == (StudyState.TRIAGED, "critical")
    (line,) = entry.coverage
    assert (line.coverage, line.outcome, line.revision) == (Coverage.ANALYSED, Outcome.FLAGGED, 1)
    assert {"received_last", "complete", "claimed", "committed"} <= entry.results[0].result.times.keys()


def test_a_model_that_raises_is_tried_three_times_then_parked_visibly(kept: Archive, clock: Clock) -> None:
    process = ScriptedProcess([RunFailed("ValueError")])
    worker = _worker(kept, clock, process)
    for _ in range(5):
        worker.step()
        clock.go(2)
    entry = _entry(kept)
    assert len(process.asked) == jobs.MAX_ATTEMPTS
    assert [(line.coverage, line.reason) for line in entry.coverage] == [(Coverage.FAILED, "model_error")]
    assert (entry.study.state, entry.study.ai_urgency) == (StudyState.TRIAGED, None)
    with kept.database.read() as tx:
        assert [change.kind for change in changes.since(tx, 0)].count("job-failed") == 1


@pytest.mark.parametrize(("error", "reason"), [(RunHung(), "timeout"), (RunDied(), "process_died")])
def test_a_run_that_hangs_or_dies_gets_another_try(kept: Archive, clock: Clock, error: RunFailed, reason: str) -> None:
    worker = _worker(kept, clock, ScriptedProcess([error, FLAGGED]))
    worker.step()
    assert [(line.coverage, line.reason) for line in _entry(kept).coverage] == [(Coverage.WAITING, reason)]
    clock.go(2)
    worker.step()
    assert [(line.coverage, line.reason) for line in _entry(kept).coverage] == [(Coverage.ANALYSED, None)]


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        (None, "no torch on this worker"),
        (ScriptedProcess([FLAGGED], load_error=RunFailed(reason="weights")), "weights"),
    ],
)
def test_without_a_model_jobs_wait_and_say_why(
    kept: Archive, clock: Clock, process: ScriptedProcess | None, reason: str
) -> None:
    _worker(kept, clock, process).step()
    entry = _entry(kept)
    assert [(line.coverage, line.reason) for line in entry.coverage] == [(Coverage.WAITING, reason)]
    assert entry.study.ready_at is not None


def test_a_result_of_a_lost_lease_is_dropped(kept: Archive, clock: Clock) -> None:
    class Stolen(ScriptedProcess):
        def run(self, request: RunRequest, *, limit_s: float, on_beat: Callable[[], bool]) -> TriageResult:
            clock.go(60)
            with kept.database.write() as tx:
                jobs.release_expired(tx, now=clock.now)
                jobs.claim(tx, owner="another", lease=jobs.RETRY_WAIT, now=clock.now)
            return super().run(request, limit_s=limit_s, on_beat=on_beat)

    _worker(kept, clock, Stolen([FLAGGED])).step()
    with kept.database.read() as tx:
        assert results.of_studies(tx, [STUDY]) == {}
        assert studies.get(tx, STUDY).ai_urgency is None


def test_a_result_of_a_study_that_was_removed_is_dropped_and_what_comes_again_is_judged_anew(
    kept: Archive, clock: Clock
) -> None:  # D-26
    class Removing(ScriptedProcess):
        def run(self, request: RunRequest, *, limit_s: float, on_beat: Callable[[], bool]) -> TriageResult:
            remove(kept, Target(study=STUDY), reason="wrong patient", actor="anna", clock=clock)
            for number in (1, 2):  # arrives before the run has ended
                keep(kept, header(number))
            return super().run(request, limit_s=limit_s, on_beat=on_beat)

    _worker(kept, clock, Removing([FLAGGED])).step()
    assert _entry(kept).results == ()
    assert (_entry(kept).study.revision, _entry(kept).study.ai_urgency) == (1, None)
    clock.go(60)
    assert len(close_quiet(kept.database, [CARD], now=clock.now, seen={})) == 1
    assert close_quiet(kept.database, [CARD], now=clock.now, seen={}) == []
    process = ScriptedProcess([FLAGGED])
    _worker(kept, clock, process).step()
    assert [len(request.instances) for request in process.asked] == [2]
    assert [record.result.outcome for record in _entry(kept).results] == [Outcome.FLAGGED]


def test_a_job_whose_workers_died_is_parked_by_the_next_one(kept: Archive, clock: Clock) -> None:
    for _ in range(jobs.MAX_ATTEMPTS):
        with kept.database.write() as tx:
            jobs.release_expired(tx, now=clock.now)
            assert jobs.claim(tx, owner="dying", lease=jobs.RETRY_WAIT, now=clock.now) is not None
        clock.go(5)
    process = ScriptedProcess([FLAGGED])
    _worker(kept, clock, process).step()
    assert process.asked == []
    assert [(line.coverage, line.reason) for line in _entry(kept).coverage] == [(Coverage.FAILED, "process_died")]


def test_a_job_of_a_model_no_longer_installed_says_so(kept: Archive, clock: Clock) -> None:
    worker = Worker(
        database=kept.database, dispatcher=ChildDispatcher(), cards=[], model=ScriptedProcess([FLAGGED]), clock=clock
    )
    worker.step()
    assert [(line.coverage, line.reason) for line in _entry(kept).coverage] == [(Coverage.FAILED, "weights")]


def test_a_late_slice_gives_a_new_revision_whose_result_supersedes(kept: Archive, clock: Clock) -> None:
    process = ScriptedProcess([FLAGGED])
    worker = _worker(kept, clock, process)
    worker.step()
    keep(kept, header(9))
    kept.release([STUDY])
    clock.go(1)
    close_quiet(kept.database, [CARD], now=clock.now, seen={})
    worker.step()
    assert [len(request.instances) for request in process.asked] == [8, 9]
    assert [(record.revision, record.superseded_by) for record in _entry(kept).results] == [(2, None), (1, 2)]


# ------------------------------------------------------------------------------------- objects that cannot be read yet
def _on_its_way(kept: Archive, number: int, clock: Clock) -> None:
    """Enter an object of the study as lying in the landing zone of another host."""
    with kept.database.write() as tx:
        instance = studies.instances_of(tx, STUDY)[number]
        arrival = Arrival(
            key=instance.object_key,
            size_bytes=instance.size_bytes,
            meta_bytes=instance.meta_bytes,
            header=header(),
            origin=Origin(via="dimse"),
        )
        landings.enter(tx, [arrival], landings.Place(id="far", host="gateway-1"), now=clock.now)


def test_a_job_whose_objects_are_on_their_way_waits_says_so_and_burns_no_attempt(kept: Archive, clock: Clock) -> None:
    _on_its_way(kept, 3, clock)
    process = ScriptedProcess([FLAGGED])
    worker = _worker(kept, clock, process)
    for _ in range(5):
        worker.step()
        clock.go(20)
    assert process.asked == []
    assert [(line.coverage, line.reason) for line in _entry(kept).coverage] == [
        (Coverage.WAITING, "objects_on_their_way")
    ]
    with kept.database.write() as tx:
        landings.forget(tx, studies.instances_of(tx, STUDY)[3].object_key)
    worker.step()
    assert [(line.coverage, line.reason) for line in _entry(kept).coverage] == [(Coverage.ANALYSED, None)]
    assert _attempts(kept) == [1]


def test_a_worker_beside_the_landing_zone_does_not_wait(kept: Archive, clock: Clock) -> None:
    _on_its_way(kept, 3, clock)
    process = ScriptedProcess([FLAGGED])
    _worker(kept, clock, process, here="far").step()
    assert len(process.asked) == 1


def test_a_run_that_finds_the_object_store_away_is_not_counted(kept: Archive, clock: Clock) -> None:
    process = ScriptedProcess([*[ObjectsAway("ObjectStoreUnavailable")] * 5, FLAGGED])
    worker = _worker(kept, clock, process)
    for asked in range(1, 6):
        worker.step()
        worker.step()
        assert len(process.asked) == asked  # it rests before it asks again
        clock.go(10)
    assert [(line.coverage, line.reason) for line in _entry(kept).coverage] == [(Coverage.WAITING, "objects_away")]
    assert _attempts(kept) == [0]
    worker.step()
    assert [(line.coverage, line.reason) for line in _entry(kept).coverage] == [(Coverage.ANALYSED, None)]


def test_an_object_store_that_is_away_is_told_apart_from_a_model_that_fails(kept: Archive) -> None:
    class Away(MemoryStore):
        def open(self, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> BinaryIO:
            raise ObjectStoreUnavailable

    with kept.database.read() as tx:
        instances = tuple(studies.instances_of(tx, STUDY))
    request = RunRequest(job=JobId("j"), model_id=CARD.id, instances=instances)
    answer = child._answer(request, {CARD.id: TrialModel(CARD)}, Away(), {})
    assert (answer.reason, answer.message) == ("objects_away", "ObjectStoreUnavailable")  # type: ignore[union-attr]


def _attempts(kept: Archive) -> list[int]:
    with kept.database.read() as tx:
        return list(tx.execute(sa.select(schema.jobs.c.attempts)).scalars())

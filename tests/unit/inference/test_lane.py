"""Lanes: small jobs overtake large ones, a process is there when it is needed, and a hung run has its deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import pytest

from inference import sizes
from inference.child import Failure
from inference.dispatchers.child import ChildDispatcher
from inference.errors import OutOfMemory, RunDied, RunFailed
from inference.lane import Lane, limit_s
from inference.pace import Pace
from inference.triage import RunRequest
from inference.worker import Worker
from storage.archive import Archive, utc_now
from storage.catalog import jobs, results, studies, worklist
from storage.database import Transaction
from storage.records import (
    InstanceUid,
    Job,
    JobId,
    JobSize,
    OrderPriority,
    Outcome,
    ResultId,
    SeriesUid,
    StudyUid,
    TriageResult,
)
from tests.builders import DX, Clock, archive, card, header, keep

CARD = card("films", kind="radiograph")
FLAGGED = TriageResult(outcome=Outcome.FLAGGED, urgency="critical", raises=True)
SOON_S = 30.0


@dataclass
class Process:
    """Stands where a model process is: answers FLAGGED, or what `act` does; keeps who was asked for in one pass."""

    images_at_once: int = 1
    act: Callable[[Sequence[RunRequest]], None] = lambda _: None
    asked: list[list[StudyUid]] = field(default_factory=list)
    warmed: list[list[str]] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    poisoned: str = ""
    stopped: int = 0

    def warm(self, wanted: Sequence[str] = ()) -> None:
        self.warmed.append(list(wanted))

    def is_ready(self, wait_s: float = 0.0) -> bool:
        return True

    def run(self, request: RunRequest, *, limit_s: float, on_beat: Callable[[], bool]) -> TriageResult:
        (answer,) = self.run_together([request], limit_s=limit_s, on_beat=on_beat)
        if isinstance(answer, Failure):
            raise RunFailed(answer.message, reason=answer.reason)
        return answer

    def run_together(
        self, requests: Sequence[RunRequest], *, limit_s: float, on_beat: Callable[[], bool]
    ) -> tuple[TriageResult | Failure, ...]:
        names = [request.instances[0].study_instance_uid for request in requests]
        self.asked.append(names)
        self.limits.append(limit_s)
        self.act(requests)
        broken = Failure(reason="model_error", message="ValueError")
        return tuple(broken if name == self.poisoned else FLAGGED for name in names)

    def stop(self) -> None:
        self.stopped += 1


def _film(number: int, **fields):
    study = StudyUid(f"2.25.{number}")
    told = {
        "sop_class_uid": DX,
        "modality": "DX",
        "study_instance_uid": study,
        "series_instance_uid": SeriesUid(f"{study}.1"),
        "sop_instance_uid": InstanceUid(f"{study}.1.1"),
        "image_position_patient": None,
    }
    return header(1, **{**told, **fields})


def _make(kept: Archive, *studies_and_sizes: tuple[int, JobSize]) -> None:
    """Keep a film for each study, complete it, and give it a job of this size."""
    for number, _ in studies_and_sizes:
        keep(kept, _film(number))
    with kept.database.write() as tx:
        for at, (number, size) in enumerate(studies_and_sizes):
            uid = StudyUid(f"2.25.{number}")
            studies.complete(tx, studies.get(tx, uid), reason="test", now=utc_now())
            ref = jobs.ModelRef(id=CARD.id, version=CARD.version, digest=CARD.digest)
            jobs.create(tx, uid, 1, [ref], due_at=Clock().go(at), now=utc_now(), sizes={ref.digest: size})


def _worker(kept: Archive, process: Process, **more) -> Worker:
    return Worker(
        database=kept.database, dispatcher=ChildDispatcher(), cards=[CARD], model=process, clock=utc_now, **more
    )


def _outcomes(kept: Archive, *numbers: int) -> list[str | None]:
    with kept.database.read() as tx:
        entries = [worklist.entry(tx, StudyUid(f"2.25.{number}")) for number in numbers]
    return [line.outcome or line.reason for entry in entries for line in entry.coverage]


@pytest.fixture
def kept(tmp_path: Path) -> Archive:
    return archive(tmp_path)


# -------------------------------------------------------------------------------------------------------- sizes
def test_small_jobs_overtake_a_large_one_that_runs_and_large_ones_run_one_at_a_time(kept: Archive) -> None:
    _make(kept, (1, JobSize.LARGE), (2, JobSize.LARGE), (3, JobSize.SMALL), (4, JobSize.SMALL))
    small_done, large_runs = threading.Event(), threading.Event()

    def hold(_: Sequence[RunRequest]) -> None:
        large_runs.set()
        assert small_done.wait(SOON_S)

    def note(_: Sequence[RunRequest]) -> None:
        assert large_runs.wait(SOON_S)
        if len(small.asked) == 2:
            small_done.set()

    small, large = Process(act=note), Process(act=hold)
    worker = _worker(kept, small, large_model=large)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        for _ in range(int(SOON_S * 20)):
            if _outcomes(kept, 1, 2, 3, 4) == [Outcome.FLAGGED] * 4:
                break
            threading.Event().wait(0.05)
    finally:
        worker.stop()
        thread.join()
    assert small.asked == [["2.25.3"], ["2.25.4"]]
    assert large.asked == [["2.25.1"], ["2.25.2"]]
    assert (small.stopped, large.stopped) == (1, 1)


@pytest.mark.parametrize(("size", "left"), [(JobSize.SMALL, "2.25.1"), (JobSize.LARGE, "2.25.2")])
def test_a_worker_told_one_size_leaves_the_other_to_others(kept: Archive, size: JobSize, left: str) -> None:
    _make(kept, (1, JobSize.LARGE), (2, JobSize.SMALL))
    process = Process()
    _worker(kept, process, sizes=[size]).step()
    assert len(process.asked) == 1
    assert [left] not in process.asked


def test_one_lane_for_all_sizes_takes_what_is_due_first(kept: Archive) -> None:
    _make(kept, (1, JobSize.SMALL), (2, JobSize.LARGE), (3, JobSize.SMALL))
    process = Process()
    _worker(kept, process).step()
    assert process.asked == [["2.25.1"], ["2.25.2"], ["2.25.3"]]


def test_the_process_for_large_jobs_starts_on_need_and_rests_when_there_was_none_for_long(kept: Archive) -> None:
    process = Process()
    lane = Lane(
        model=process,
        sizes=frozenset({JobSize.LARGE}),
        database=kept.database,
        clock=utc_now,
        pace=Pace(rest_s=0.0),
    )
    keep(kept, _film(1))
    assert not lane.is_ready()
    assert (process.warmed, process.stopped) == ([], 1)
    for number in range(2, sizes.MOST_IMAGES + 2):  # on its way: more instances than a small job has
        keep(kept, _film(1, sop_instance_uid=InstanceUid(f"2.25.1.1.{number}")))
    assert lane.is_ready()
    assert (process.warmed, process.stopped) == ([[]], 1)


# ------------------------------------------------------------------------------------------------------ deadline
@pytest.mark.parametrize(
    ("expected_s", "megabytes", "most_s", "limit"),
    [
        (1.0, 0, 120.0, 20.0),
        (3.0, 0, 120.0, 45.0),
        (3.0, 160, 120.0, 85.0),
        (60.0, 0, 120.0, 120.0),
        (3.0, 0, 1.0, 1.0),
    ],
)
def test_a_deadline_follows_what_the_card_expects_and_what_is_read_and_is_bounded(
    kept: Archive, expected_s: float, megabytes: int, most_s: float, limit: float
) -> None:
    keep(kept, _film(1))
    with kept.database.read() as tx:
        [instance] = studies.instances_of(tx, StudyUid("2.25.1"))
    request = RunRequest(job=JobId("j"), model_id=CARD.id, instances=(replace(instance, size_bytes=megabytes << 20),))
    assert limit_s(replace(CARD, expected_seconds=expected_s), request, most_s=most_s) == limit


# ------------------------------------------------------------------------------------------------------- batches
def _due_and_small(count: int) -> list[tuple[int, JobSize]]:
    return [(number, JobSize.SMALL) for number in range(1, count + 1)]


def test_on_a_gpu_radiographs_that_wait_share_a_pass_at_most_thirty_two(kept: Archive) -> None:
    _make(kept, *_due_and_small(35))
    process = Process(images_at_once=32)
    _worker(kept, process).step()
    assert [len(asked) for asked in process.asked] == [32, 3]
    assert _outcomes(kept, *range(1, 36)) == [Outcome.FLAGGED] * 35


def test_on_a_cpu_each_radiograph_runs_alone_and_waits_for_no_other(kept: Archive) -> None:
    _make(kept, *_due_and_small(3))
    process = Process()
    _worker(kept, process).step()
    assert process.asked == [["2.25.1"], ["2.25.2"], ["2.25.3"]]


def test_a_stat_study_waits_for_no_other_to_share_its_pass(kept: Archive) -> None:
    _make(kept, (1, JobSize.SMALL))
    with kept.database.write() as tx:
        studies.set_manual_priority(tx, StudyUid("2.25.1"), OrderPriority.STAT, by="anna")
    process = Process(images_at_once=32)
    worker = _worker(kept, process, pace=Pace(gather_s=3600.0))
    worker.step()  # would take an hour
    assert process.asked == [["2.25.1"]]


def test_who_gets_no_answer_in_company_is_run_alone_and_fails_alone(kept: Archive) -> None:
    _make(kept, *_due_and_small(3))
    process = Process(images_at_once=32, poisoned="2.25.2")
    _worker(kept, process).step()
    assert process.asked == [["2.25.1", "2.25.2", "2.25.3"], ["2.25.2"]]
    assert _outcomes(kept, 1, 2, 3) == [Outcome.FLAGGED, "model_error", Outcome.FLAGGED]


def test_results_of_a_batch_are_written_together_and_one_that_cannot_be_written_fails_alone(
    kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    added, add = [], results.add

    def refuse_the_third(tx: Transaction, job: Job, result: TriageResult, *, now: datetime) -> ResultId:
        added.append((id(tx), job.study_instance_uid))
        if job.study_instance_uid == "2.25.3":
            raise ValueError("cannot be written")
        return add(tx, job, result, now=now)

    monkeypatch.setattr(results, "add", refuse_the_third)
    _make(kept, *_due_and_small(3))
    process = Process(images_at_once=32)
    with pytest.raises(ValueError, match="cannot be written"):
        _worker(kept, process).step()
    assert process.asked == [["2.25.1", "2.25.2", "2.25.3"], ["2.25.1"], ["2.25.2"], ["2.25.3"]]
    together = {tx for tx, _ in added[:3]}
    assert len(together) == 1
    assert _outcomes(kept, 1, 2) == [Outcome.FLAGGED, Outcome.FLAGGED]


@pytest.mark.parametrize("error", [RunDied(), OutOfMemory()])
def test_a_pass_that_takes_the_process_down_is_tried_image_by_image(kept: Archive, error: RunFailed) -> None:
    def die_in_company(requests: Sequence[RunRequest]) -> None:
        if len(requests) > 1:
            raise error

    _make(kept, *_due_and_small(3))
    process = Process(images_at_once=32, act=die_in_company)
    _worker(kept, process).step()
    assert process.asked == [["2.25.1", "2.25.2", "2.25.3"], ["2.25.1"], ["2.25.2"], ["2.25.3"]]
    assert _outcomes(kept, 1, 2, 3) == [Outcome.FLAGGED] * 3

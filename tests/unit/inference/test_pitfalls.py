"""What goes wrong elsewhere with queues, pools and networks, and not here; `docs/operations.md` lists them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from inference.child import ModelProcess
from inference.dispatchers.celery_queue import CeleryDispatcher
from inference.dispatchers.child import ChildDispatcher
from inference.pace import Pace
from inference.triage import RunRequest
from inference.worker import Worker
from roi import compose
from storage.archive import Archive, utc_now
from storage.catalog import changes, jobs
from storage.records import JobId, JobSize, Outcome
from tests.builders import archive
from tests.unit.inference.test_lane import CARD, Process, _make, _outcomes
from tests.unit.inference.trial_models import setup

_CONSUMER_OF_RINGS = "redis://127.0.0.1:1/0"
"""Nobody listens there, and nobody need: what is asked of it is how it is set up."""


@pytest.fixture
def kept(tmp_path: Path) -> Archive:
    return archive(tmp_path)


# ------------------------------------------------------------------------------------------------- forks, threads
def test_no_torch_is_imported_where_processes_are_started_from() -> None:
    code = (
        "import sys, roi.roles, roi.serve, inference.worker, inference.child, inference.dispatchers.celery_queue;"
        "from models import registry; registry.cards();"
        "print([name for name in ('torch', 'monai') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_model_process_is_spawned_not_forked() -> None:
    process = ModelProcess(setup(["a-steady"], {}))
    process.warm()
    try:
        assert process.is_ready(wait_s=30)
        assert process.pid is not None
        assert any("spawn_main" in word for word in psutil.Process(process.pid).cmdline())
    finally:
        process.stop()


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
def test_both_model_processes_together_have_no_more_threads_than_there_are_cores(cores: int) -> None:
    assert 2 * compose._threads_of_a_lane(cores) <= max(2, cores)


# --------------------------------------------------------------------------------------------------------- queue
def test_a_celery_worker_on_our_queue_would_acknowledge_late_take_one_at_a_time_and_keep_no_result() -> None:
    conf = CeleryDispatcher(_CONSUMER_OF_RINGS)._app.conf
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost, conf.worker_prefetch_multiplier) == (True, True, 1)
    assert (conf.result_backend, conf.task_ignore_result) == (None, True)
    assert conf.accept_content == ["json"]


def test_a_message_is_visible_again_only_long_after_every_run_has_ended() -> None:
    options = CeleryDispatcher(_CONSUMER_OF_RINGS)._app.conf.broker_transport_options
    assert options["visibility_timeout"] > 2 * jobs.MAX_ATTEMPTS * Pace().run_limit_s


def test_no_priority_is_given_to_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher = CeleryDispatcher(_CONSUMER_OF_RINGS)
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(dispatcher._app, "send_task", lambda name, **how: sent.append({"name": name, **how}))
    dispatcher.wake(JobId("j"))
    assert sent == [{"name": "roi.wake", "args": ("j",), "queue": "roi.triage"}]
    conf = dispatcher._app.conf
    assert (conf.task_default_priority, conf.task_queue_max_priority) == (None, None)
    assert "queue_order_strategy" not in conf.broker_transport_options


def test_ten_rings_at_every_step_of_a_job_give_one_run_and_one_result(kept: Archive) -> None:
    _make(kept, (1, JobSize.SMALL))
    dispatcher = ChildDispatcher()

    def ring_ten_times(_: Sequence[RunRequest] = ()) -> None:
        for _ in range(10):
            dispatcher.wake(JobId("whichever"))

    process = Process(act=ring_ten_times)
    workers = [
        Worker(database=kept.database, dispatcher=dispatcher, cards=[CARD], model=process, clock=utc_now)
        for _ in range(3)
    ]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    ring_ten_times()
    try:
        deadline = time.monotonic() + 30
        while _outcomes(kept, 1) != [Outcome.FLAGGED] and time.monotonic() < deadline:
            time.sleep(0.01)
        ring_ten_times()
        time.sleep(0.5)
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join()
    assert process.asked == [["2.25.1"]]
    with kept.database.read() as tx:
        assert [change.kind for change in changes.since(tx, 0)].count("study-triaged") == 1


def test_a_job_whose_ring_was_lost_is_found_in_the_table(kept: Archive) -> None:
    _make(kept, (1, JobSize.SMALL))
    dispatcher = ChildDispatcher()
    dispatcher.wake(JobId("nobody hears this"))
    process = Process()
    Worker(database=kept.database, dispatcher=dispatcher, cards=[CARD], model=process, clock=utc_now).step()
    assert process.asked == [["2.25.1"]]

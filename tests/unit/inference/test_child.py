"""The model's own process, a real one, with models that are hungry, hang, die, or cannot be loaded."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from inference import child, voxels
from inference.child import Failure, ModelProcess
from inference.errors import OutOfMemory, RunDied, RunFailed, RunHung
from inference.lane import Lane
from inference.pace import Pace
from inference.triage import RunRequest
from inference.voxels import Floats, VoxelMemory
from models.contract import Prediction, Radiograph, Volume
from storage.catalog import jobs, studies
from storage.records import InstanceRecord, JobId, Outcome, StudyUid
from storage.whole import read_whole
from tests.builders import Clock, TrialModel, archive, ct_slice, keep_data_set, radiograph
from tests.unit.inference import trial_models
from tests.unit.inference.trial_models import CARDS, Together

pytestmark = pytest.mark.timeout(120)

SOON_S = 20.0
WHITE = np.full((16, 16), 4000, np.uint16)
WHITE[0, 0] = 0


@pytest.fixture
def kept(tmp_path: Path):
    """A head CT of four slices, and three radiographs of which the last is white all over."""
    made = archive(tmp_path)
    for number in range(1, 5):
        keep_data_set(made, ct_slice(number))
    for number, pixels in enumerate((None, None, WHITE), start=1):
        uid = f"2.25.2.{number}"
        keep_data_set(
            made, radiograph(pixels, StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1")
        )
    return made


def _instances(kept, study: str) -> tuple[InstanceRecord, ...]:
    with kept.database.read() as tx:
        return tuple(studies.instances_of(tx, StudyUid(study)))


def _request(kept, model: str, study: str = "2.25.1") -> RunRequest:
    return RunRequest(job=JobId(f"{model} {study}"), model_id=model, instances=_instances(kept, study))


@contextmanager
def _process(kept, *names: str) -> Iterator[ModelProcess]:
    every = [each for study in ("2.25.1", "2.25.2.1", "2.25.2.2", "2.25.2.3") for each in _instances(kept, study)]
    content = {each.object_key: read_whole(kept.objects, each) for each in every}
    process = ModelProcess(trial_models.setup(names, content))
    try:
        yield process
    finally:
        process.stop()


def _make_ready(process: ModelProcess, *wanted: str) -> None:
    deadline = time.monotonic() + SOON_S
    process.warm(wanted)
    while not process.is_ready(wait_s=0.2):
        assert time.monotonic() < deadline
        process.warm(wanted)


def _run(process: ModelProcess, request: RunRequest, *, limit_s: float = SOON_S):
    return process.run(request, limit_s=limit_s, on_beat=lambda: True)


def _lane(process: ModelProcess, kept) -> Lane:
    return Lane(model=process, sizes=jobs.EVERY_SIZE, database=kept.database, clock=Clock(), pace=Pace())


# ------------------------------------------------------------------------------------------------------- memory
def test_a_run_beyond_its_memory_fails_for_that_reason_and_the_process_serves_on(kept) -> None:
    with _process(kept, "a-steady", "f-always-hungry") as process:
        _make_ready(process)
        pid = process.pid
        with pytest.raises(OutOfMemory):
            _run(process, _request(kept, "f-always-hungry"))
        assert _run(process, _request(kept, "a-steady")).outcome is Outcome.FLAGGED
        assert process.pid == pid


@pytest.mark.parametrize("model", ["e-hungry", "g-killed"])
def test_where_memory_is_short_half_the_batch_is_tried_and_the_result_says_so(kept, model: str) -> None:
    with _process(kept, model) as process:
        _make_ready(process)
        result = _lane(process, kept).run(CARDS[model], _request(kept, model), on_beat=lambda: True)
    assert result.outcome is Outcome.FLAGGED
    assert result.provenance["batch"] == {"images": 1, "items_at_once": 16}


def test_where_half_the_batch_is_too_much_as_well_the_reason_is_memory(kept) -> None:
    with _process(kept, "f-always-hungry") as process:
        _make_ready(process)
        with pytest.raises(OutOfMemory) as told:
            _lane(process, kept).run(CARDS["f-always-hungry"], _request(kept, "f-always-hungry"), on_beat=lambda: True)
    assert told.value.reason == "memory"


def test_a_process_that_dies_with_little_in_use_did_not_die_of_memory(kept) -> None:
    with _process(kept, "i-crashes") as process:
        _make_ready(process)
        with pytest.raises(RunDied):
            _run(process, _request(kept, "i-crashes"))


# --------------------------------------------------------------------------------------------- watchdog, warm cache
def test_a_model_that_hangs_is_killed_at_its_deadline_and_the_next_job_runs_within_seconds(kept) -> None:
    with _process(kept, "a-steady", "h-hangs") as process:
        _make_ready(process)
        with pytest.raises(RunHung):
            _run(process, _request(kept, "h-hangs"), limit_s=0.5)
        began = time.monotonic()
        result = _lane(process, kept).run(CARDS["a-steady"], _request(kept, "a-steady"), on_beat=lambda: True)
        assert result.outcome is Outcome.FLAGGED
        assert time.monotonic() - began < SOON_S


def test_the_wanted_model_is_loaded_first_and_each_model_once(kept) -> None:
    said: list[str | None] = []
    shelf = child.Shelf(list(CARDS.values()), lambda card: Failure(reason="weights", message=card.id), said.append)
    assert shelf["h-hangs"] is shelf["h-hangs"]
    assert said == ["h-hangs", None]
    with _process(kept, "a-steady", "d-hangs-at-load") as process:
        _make_ready(process, "a-steady")  # ready, although the other one never is


def test_a_model_that_raises_whatever_at_load_fails_its_own_runs_alone(kept) -> None:
    with _process(kept, "a-steady", "b-raises-at-load") as process:
        _make_ready(process, "b-raises-at-load", "a-steady")
        with pytest.raises(RunFailed) as told:
            _run(process, _request(kept, "b-raises-at-load"))
        assert told.value.reason == "weights"
        assert _run(process, _request(kept, "a-steady")).outcome is Outcome.FLAGGED


def test_a_model_that_takes_the_process_down_at_load_is_put_last_and_the_others_serve(kept) -> None:
    with _process(kept, "a-steady", "c-dies-at-load") as process:
        _make_ready(process, "c-dies-at-load", "a-steady")
        assert _run(process, _request(kept, "a-steady")).outcome is Outcome.FLAGGED
        with pytest.raises(RunDied):
            _run(process, _request(kept, "c-dies-at-load"))


def test_a_model_that_hangs_at_load_is_put_last_and_the_others_serve(kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_LOAD_LIMIT_S", 0.5)
    with _process(kept, "a-steady", "d-hangs-at-load") as process:
        _make_ready(process, "d-hangs-at-load", "a-steady")
        assert _run(process, _request(kept, "a-steady")).outcome is Outcome.FLAGGED
        with pytest.raises(RunHung):
            _run(process, _request(kept, "d-hangs-at-load"))


def test_a_long_request_to_a_process_that_hangs_at_a_model_has_its_deadline(
    kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_LOAD_LIMIT_S", 0.5)
    request = _request(kept, "a-steady")
    slices = tuple(replace(request.instances[0], instance_number=number) for number in range(20_000))
    long = replace(request, instances=slices)
    with _process(kept, "a-steady", "d-hangs-at-load") as process:
        _make_ready(process, "a-steady")
        while process._loading is None:  # it goes on to the other model
            process._receive(0.1)
        with pytest.raises(RunHung):
            _run(process, long)
        assert _lane(process, kept).run(CARDS["a-steady"], request, on_beat=lambda: True).outcome is Outcome.FLAGGED


# ------------------------------------------------------------------------------------------------------- together
def test_runs_that_share_a_pass_say_so_and_one_that_is_refused_is_not_waited_for(kept) -> None:
    requests = [_request(kept, "j-together", study) for study in ("2.25.2.1", "2.25.1", "2.25.2.2")]
    with _process(kept, "j-together") as process:
        _make_ready(process)
        answers = process.run_together(requests, limit_s=SOON_S, on_beat=lambda: True)
    assert [answer.outcome for answer in answers] == [Outcome.FLAGGED, Outcome.NOT_SUITABLE, Outcome.FLAGGED]
    assert [answer.provenance.get("batch") for answer in answers] == [
        {"images": 2, "items_at_once": 32},
        None,
        {"images": 2, "items_at_once": 32},
    ]


def test_one_poisoned_input_does_not_fail_those_that_share_its_pass(kept) -> None:
    requests = [_request(kept, "j-together", f"2.25.2.{number}") for number in (1, 2, 3)]
    with _process(kept, "j-together") as process:
        _make_ready(process)
        first, second, poisoned = process.run_together(requests, limit_s=SOON_S, on_beat=lambda: True)
    assert [answer.outcome for answer in (first, second)] == [Outcome.FLAGGED] * 2
    assert first.provenance["batch"] == {"images": 1, "items_at_once": 32}
    assert poisoned == Failure(reason="model_error", message="ValueError")


@pytest.mark.parametrize("quiet", [True, False], ids=["nobody asks", "asked at once"])
def test_memory_kept_for_the_next_stack_goes_back_while_nobody_asks(
    quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, (ours, theirs) = VoxelMemory(), Pipe()
    monkeypatch.setattr(child, "_IDLE_S", 0.05)
    monkeypatch.setattr(voxels, "MEMORY", kept)
    kept.lend((4, 8, 8))
    asking = Timer(0.5 if quiet else 0.0, ours.send, [None])
    asking.start()
    if not quiet:
        asking.join()
    child._await_request(theirs)
    assert bool(kept._kept) is not quiet


class Raises(TrialModel):
    def predict(self, image: Volume | Radiograph) -> Prediction:
        raise ValueError(f"{type(image).__name__} refused")


@pytest.mark.parametrize("model", [TrialModel, Together, Raises])
@pytest.mark.parametrize("runs", [1, 2])
def test_nothing_keeps_a_stack_after_its_run(
    kept, model: type[TrialModel], runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = VoxelMemory()
    monkeypatch.setattr("inference.volume.MEMORY", memory)
    monkeypatch.setattr(child.logger, "exception", lambda *_, **__: None)  # pytest keeps what is logged with its frames
    lent: list[weakref.ref[Floats]] = []
    monkeypatch.setattr(memory, "lend", lambda shape: lent.append(weakref.ref(array := np.empty(shape))) or array)
    requests = [_request(kept, "a-steady")] * runs
    gc.disable()  # what a cycle holds stays until somebody looks for it: with few objects made, many stacks later
    try:
        answers = child._answer_all(requests, {"a-steady": model(CARDS["a-steady"])}, kept.objects, {})
        assert all(isinstance(answer, Failure) is (model is Raises) for answer in answers)
        assert len(lent) == runs
        assert not any(one() is not None for one in lent)
    finally:
        gc.enable()

"""A model's own process: torch is loaded there and nowhere else, and there it may crash, hang or be killed.

The worker speaks with it over a pipe: one request, one answer, and word of each model that is being loaded.  It dies
with the worker.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from inference import memory, triage, voxels
from inference.batching import Batch, Seat
from inference.errors import ObjectsAway, OutOfMemory, RunDied, RunFailed, RunHung
from models import golden, registry, runtime
from storage.errors import Damaged, Unavailable

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from inference.triage import RunRequest
    from models.contract import ModelCard, TriageModel
    from storage.ports import ObjectStore
    from storage.records import TriageResult

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.2
"""Between two looks at a run: at its lease, its deadline and its memory."""
_START_LIMIT_S = 180.0
"""For torch and what belongs to it; the files may come from a slow disk."""
_LOAD_LIMIT_S = 60.0
"""For one model."""
_IDLE_S: Final = 60.0
"""Without a request for so long, the process gives back the memory it keeps for the next one."""
_MUCH: Final = 0.5
"""Of what the process may take: one that is killed with more than that in use is taken to have had too much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loading:
    """The process begins to load a model; None: it has ended, one way or the other."""

    model_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """The process has loaded the models that are wanted now."""

    seconds: float
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class Listening:
    """The process reads: a request of any length may follow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A run, or the start, gave no answer; `reason` is a stable code, `message` names the error's class alone."""

    reason: str
    message: str

    def as_error(self) -> RunFailed | ObjectsAway:
        """Return the error that it stands for."""
        if self.reason == ObjectsAway.reason:
            return ObjectsAway(self.message)
        if self.reason == OutOfMemory.reason:
            return OutOfMemory(self.message)
        return RunFailed(self.message, reason=self.reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildSetup:
    """What the process needs, all of it picklable: how to open the objects, how to log, how many threads and bytes.

    `imported` is the folder of the site's imported models.
    """

    open_objects: Callable[[], ObjectStore]
    configure: Callable[[], None]
    threads: int = 1
    memory_bytes: int = memory.LEAST_BYTES
    imported: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What to load: the models that are wanted now before the process says it is ready, the others when it is idle.

    `suspects` took an earlier process down while they were loaded: they are loaded only for a run that asks for them.
    """

    wanted: tuple[str, ...] = ()
    suspects: frozenset[str] = frozenset()


class ModelProcess:
    """The worker's side: starts the process, asks it, kills it.  Used by one thread."""

    def __init__(self, setup: ChildSetup) -> None:
        self._setup = setup
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._ready: Ready | None = None
        self._loading: str | None = None
        self._patience_ends = 0.0
        self._suspects: set[str] = set()
        self._peak_bytes = 0

    @property
    def pid(self) -> int | None:
        """The process's id, while it lives."""
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    @property
    def images_at_once(self) -> int:
        """How many images of several studies are worth one forward pass: more than one on a GPU alone."""
        return triage.ITEMS_AT_ONCE if self._ready is not None and self._ready.device != "cpu" else 1

    def warm(self, wanted: Sequence[str] = ()) -> None:
        """Start the process unless it lives, these models first; returns at once, loading goes on there."""
        if self.pid is not None:
            return
        self.stop()
        context = multiprocessing.get_context("spawn")
        order = Order(wanted=tuple(wanted), suspects=frozenset(self._suspects))
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self._setup, order), name="roi-model", daemon=True)
        self._process.start()
        theirs.close()
        self._patience_ends = time.monotonic() + _START_LIMIT_S

    def is_ready(self, wait_s: float = 0.0) -> bool:
        """Tell whether the wanted models are loaded.

        A model that takes the process down, or hangs, while it is loaded is put last: the others serve.

        Raises
        ------
        RunFailed
            Nothing can be loaded, or the process died before it came to any model.
        """
        if self._ready is not None:
            return True
        suspects = len(self._suspects)
        try:
            answer = self._receive(wait_s)
        except RunFailed:
            if len(self._suspects) > suspects:
                return False
            raise
        if isinstance(answer, Failure):
            self.stop()
            raise RunFailed(answer.message, reason=answer.reason)
        if answer is not None:
            self._ready = answer
            logger.info("models loaded", extra={"action": "models-loaded", "seconds": round(answer.seconds, 3)})
        elif time.monotonic() > self._patience_ends:
            at_a_model = self._loading is not None
            self.stop()
            if not at_a_model:
                raise RunFailed("the model's process does not start", reason=RunHung.reason)
        return self._ready is not None

    def run(self, request: RunRequest, *, limit_s: float, on_beat: Callable[[], bool]) -> TriageResult:
        """Return the run's result; `on_beat` is called several times a second and ends the run by returning False.

        Raises
        ------
        RunHung
            No answer within `limit_s`, or the beat said stop: the process was killed.
        RunDied
            The process died.
        OutOfMemory
            The run needs more memory than it may take, or the process was killed when it had taken much.
        RunFailed
            The model raised an error.
        ObjectsAway
            The objects could not be read for now.
        """
        [answer] = self.run_together([request], limit_s=limit_s, on_beat=on_beat)
        if isinstance(answer, Failure):
            raise answer.as_error()
        return answer

    def run_together(
        self, requests: Sequence[RunRequest], *, limit_s: float, on_beat: Callable[[], bool]
    ) -> tuple[TriageResult | Failure, ...]:
        """Return what came of several runs of one model, in their order; where the process ends, none has an answer.

        Raises as `run`, but what one run alone failed of is told in its place.
        """
        assert self._pipe is not None, "warm() comes first"  # noqa: S101 - a bug of ours, not an input
        self._send(None)  # what may be long is sent to a process that reads: one that loads a model may hang at it
        self._wait(limit_s, on_beat)
        self._send(tuple(requests))
        return self._wait(limit_s, on_beat)  # type: ignore[no-any-return]

    def _wait(self, limit_s: float, on_beat: Callable[[], bool]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as _receive
        deadline = time.monotonic() + limit_s
        while (answer := self._receive(_LOOK_S)) is None:
            now = time.monotonic()
            if self._loading is not None:  # its own patience, and the run's begins after it
                deadline = now + limit_s
            if now > (self._patience_ends if self._loading is not None else deadline) or not on_beat():
                self.stop()
                raise RunHung(f"no answer within {limit_s:g} s")
        return answer

    def stop(self) -> None:
        """Kill the process, if it lives."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._hear_what_was_said(self._pipe)
            self._pipe.close()
        if self._loading is not None:
            logger.warning("model put last", extra={"action": "model-suspected", "model": self._loading})
            self._suspects.add(self._loading)
        self._process, self._pipe, self._ready, self._loading, self._peak_bytes = None, None, None, None, 0

    def _hear_what_was_said(self, pipe: Connection) -> None:
        with suppress(EOFError, OSError):
            while pipe.poll():
                if isinstance(message := pipe.recv(), Loading):
                    self._note(message)

    def _note(self, message: Loading) -> None:
        if message.model_id is None and self._loading is not None:
            self._suspects.discard(self._loading)
        self._loading = message.model_id
        self._patience_ends = time.monotonic() + _LOAD_LIMIT_S

    def _send(self, message: tuple[RunRequest, ...] | None) -> None:
        assert self._pipe is not None  # noqa: S101 - see run
        try:
            self._pipe.send(message)
        except OSError as error:
            self.stop()
            raise RunDied from error

    def _receive(self, wait_s: float):  # type: ignore[no-untyped-def]  # noqa: ANN202 - Ready, Failure, answers or None
        assert self._pipe is not None  # noqa: S101 - see run
        until = time.monotonic() + wait_s
        try:
            while self._pipe.poll(max(0.0, until - time.monotonic())):
                message = self._pipe.recv()
                if not isinstance(message, Loading):
                    return message
                self._note(message)
        except (EOFError, OSError) as error:
            raise self._buried() from error
        if self.pid is not None:
            self._peak_bytes = max(self._peak_bytes, memory.peak_bytes(self.pid))
        return None

    def _buried(self) -> RunDied | OutOfMemory:
        """End what is left of a process that died, and return why it did, as far as that can be told."""
        code, peak_bytes = None, self._peak_bytes
        if self._process is not None:
            self._process.join(_LOOK_S)
            code = self._process.exitcode
        self.stop()
        if code == -signal.SIGKILL and peak_bytes >= _MUCH * self._setup.memory_bytes:
            return OutOfMemory(f"the model's process was killed with {peak_bytes >> 20} MiB in use")
        return RunDied(f"the model's process ended ({code})")


# ----------------------------------------------------------------------------------------------- their side
def serve(pipe: Connection, setup: ChildSetup, order: Order) -> None:
    """Load the models that are wanted, say so, then answer requests until the pipe closes, loading the others between.

    A model is loaded once, when it is wanted first.
    """
    _die_with_parent()
    setup.configure()
    memory.go_first()
    started = time.monotonic()
    try:
        runtime.use_threads(setup.threads)
        device = registry.device()
        facts = {"device": device, "threads": setup.threads, **runtime.versions()}
        shelf = Shelf(
            registry.cards(setup.imported),
            partial(_load, device=device, imported=setup.imported),
            partial(_say_loading, pipe),
        )
        objects = setup.open_objects()
        if device == "cpu":
            memory.limit_data(setup.memory_bytes)
    except Exception as error:
        logger.exception("models cannot be loaded", extra={"action": "models-failed"})
        pipe.send(Failure(reason=_reason_of(error), message=f"models cannot be loaded: {type(error).__name__}"))
        return
    trusted = [model_id for model_id in shelf if model_id not in order.suspects]
    for model_id in order.wanted:
        if model_id in trusted:
            shelf[model_id]
    later = [model_id for model_id in trusted if model_id not in order.wanted]
    pipe.send(Ready(seconds=time.monotonic() - started, device=device))
    while True:
        while later and not pipe.poll():
            shelf[later.pop(0)]
        try:
            _await_request(pipe)
            pipe.send(Listening())
            requests: tuple[RunRequest, ...] = pipe.recv()
        except EOFError:
            return
        answers = _answer_all(requests, shelf, objects, facts)
        if any(isinstance(each, Failure) and each.reason == OutOfMemory.reason for each in answers):
            voxels.MEMORY.forget()
        pipe.send(answers)


def _await_request(pipe: Connection) -> None:
    """Wait until somebody has a request; while nobody has, memory goes back.  `EOFError` where nobody will."""
    if not pipe.poll(_IDLE_S):
        voxels.MEMORY.forget()
    pipe.recv()


class Shelf(Mapping[str, "TriageModel | Failure"]):
    """The models by id, each loaded when it is first asked for; `say` hears which one, and None at its end."""

    def __init__(
        self,
        cards: Sequence[ModelCard],
        load: Callable[[ModelCard], TriageModel | Failure],
        say: Callable[[str | None], None],
    ) -> None:
        self._cards = {card.id: card for card in cards}
        self._load, self._say = load, say
        self._loaded: dict[str, TriageModel | Failure] = {}

    def __getitem__(self, model_id: str) -> TriageModel | Failure:
        """Return a model, or why there is none."""
        if model_id not in self._loaded:
            self._say(model_id)
            self._loaded[model_id] = self._load(self._cards[model_id])
            self._say(None)
        return self._loaded[model_id]

    def __iter__(self) -> Iterator[str]:
        """Go through the ids."""
        return iter(self._cards)

    def __len__(self) -> int:
        """Count the cards."""
        return len(self._cards)

    def __contains__(self, model_id: object) -> bool:
        """Tell whether there is such a card; loads nothing."""
        return model_id in self._cards


def _say_loading(pipe: Connection, model_id: str | None) -> None:
    pipe.send(Loading(model_id=model_id))


def _load(card: ModelCard, device: str, imported: Path | None = None) -> TriageModel | Failure:
    """Load one model and ask it its golden vectors; one that fails, whatever it raises, leaves the others at work."""
    try:
        model = registry.load(card, device, imported)
        golden.replay(model, registry.golden_of(card, imported))
    except Exception as error:
        logger.exception("model cannot be loaded", extra={"action": "model-failed", "model": card.id})
        return Failure(reason="weights", message=f"{card.id} cannot be loaded: {type(error).__name__}")
    return model


def _answer_all(
    requests: Sequence[RunRequest],
    models: Mapping[str, TriageModel | Failure],
    objects: ObjectStore,
    facts: Mapping[str, object],
) -> tuple[TriageResult | Failure, ...]:
    """Answer runs of one model, whose images share a forward pass where they are several."""
    first, count = requests[0], len(requests)
    model = models[first.model_id]
    if isinstance(model, Failure):
        return (model,) * count
    batch = Batch(model, runs=count, items_at_once=first.items_at_once)

    def one(request: RunRequest) -> TriageResult | Failure:
        with Seat(batch) as seat:
            answer = _answer(request, {request.model_id: seat}, objects, facts)
        if isinstance(answer, Failure) or not seat.shape:
            return answer
        return replace(answer, provenance={**answer.provenance, "batch": seat.shape})

    if count == 1:
        return (one(first),)
    with ThreadPoolExecutor(count) as pool:
        return tuple(pool.map(one, requests))


def _answer(
    request: RunRequest,
    models: Mapping[str, TriageModel | Failure],
    objects: ObjectStore,
    facts: Mapping[str, object],
) -> TriageResult | Failure:
    model = models[request.model_id]
    if isinstance(model, Failure):
        return model
    extra = {"action": "prediction-made", "job": request.job, "model": request.model_id}
    try:
        result = triage.run(request, model, objects, runtime=facts)
    except Unavailable as error:
        logger.warning("objects away", extra={**extra, "action": "objects-away", "error": type(error).__name__})
        return Failure(reason=ObjectsAway.reason, message=type(error).__name__)
    except Damaged as error:
        logger.exception("run failed", extra={**extra, "action": "run-failed"})
        return Failure(reason="object_damaged", message=str(error))
    except Exception as error:
        logger.exception("run failed", extra={**extra, "action": "run-failed"})
        failed = OutOfMemory if runtime.is_out_of_memory(error) else RunFailed
        return Failure(reason=failed.reason, message=type(error).__name__)
    logger.info("prediction made", extra=extra)
    return result


def _reason_of(error: Exception) -> str:
    return str(getattr(error, "reason", "")) or "weights"


def _die_with_parent() -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)

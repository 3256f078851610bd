"""A model's own process: torch is loaded there and nowhere else, and there it may crash, hang or be killed.

The worker speaks with it over a pipe: one request, one answer.  It dies with the worker.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from inference import triage
from inference.errors import ObjectsAway, RunDied, RunFailed, RunHung
from models import golden, registry, runtime
from models.errors import ModelError
from storage.errors import Damaged, Unavailable

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from inference.triage import RunRequest
    from models.contract import ModelCard, TriageModel
    from storage.ports import ObjectStore
    from storage.records import TriageResult

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_BEAT_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """The process has loaded its models."""

    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A run, or the start, gave no answer; `reason` is a stable code, `message` names the error's class alone."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildSetup:
    """What the process needs, all of it picklable: how to open the objects, how to log, how many threads.

    `imported` is the folder of the site's imported models.
    """

    open_objects: Callable[[], ObjectStore]
    configure: Callable[[], None]
    threads: int = 1
    imported: Path | None = None


class ModelProcess:
    """The worker's side: starts the process, asks it, kills it.  Used by one thread."""

    def __init__(self, setup: ChildSetup) -> None:
        self._setup = setup
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._ready = False

    @property
    def pid(self) -> int | None:
        """The process's id, while it lives."""
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    def warm(self) -> None:
        """Start the process unless it lives; returns at once, loading goes on there."""
        if self.pid is not None:
            return
        self.stop()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self._setup), name="roi-model", daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False

    def is_ready(self, wait_s: float = 0.0) -> bool:
        """Tell whether the models are loaded.

        Raises
        ------
        RunFailed
            They cannot be loaded, or the process died while loading.
        """
        if self._ready:
            return True
        answer = self._receive(wait_s)
        if isinstance(answer, Failure):
            self.stop()
            raise RunFailed(answer.message, reason=answer.reason)
        if answer is not None:
            self._ready = True
            logger.info("models loaded", extra={"action": "models-loaded", "seconds": round(answer.seconds, 3)})
        return self._ready

    def run(self, request: RunRequest, *, limit_s: float, on_beat: Callable[[], bool]) -> TriageResult:
        """Return the run's result; `on_beat` is called about every second and ends the run by returning False.

        Raises
        ------
        RunHung
            No answer within `limit_s`, or the beat said stop: the process was killed.
        RunDied
            The process died.
        RunFailed
            The model raised an error.
        ObjectsAway
            The objects could not be read for now.
        """
        assert self._pipe is not None, "warm() comes first"  # noqa: S101 - a bug of ours, not an input
        deadline = time.monotonic() + limit_s
        self._send(request)
        while (answer := self._receive(_BEAT_S)) is None:
            if time.monotonic() > deadline or not on_beat():
                self.stop()
                raise RunHung(f"no answer within {limit_s:g} s")
        if isinstance(answer, Failure):
            if answer.reason == ObjectsAway.reason:
                raise ObjectsAway(answer.message)
            raise RunFailed(answer.message, reason=answer.reason)
        return answer  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Kill the process, if it lives."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process, self._pipe, self._ready = None, None, False

    def _send(self, request: RunRequest) -> None:
        assert self._pipe is not None  # noqa: S101 - see run
        try:
            self._pipe.send(request)
        except OSError as error:
            self.stop()
            raise RunDied from error

    def _receive(self, wait_s: float):  # type: ignore[no-untyped-def]  # noqa: ANN202 - Ready, Failure, TriageResult or None
        assert self._pipe is not None  # noqa: S101 - see run
        try:
            return self._pipe.recv() if self._pipe.poll(wait_s) else None
        except (EOFError, OSError) as error:
            code = self._process.exitcode if self._process is not None else None
            self.stop()
            raise RunDied(f"the model's process ended ({code})") from error


# ----------------------------------------------------------------------------------------------- their side
def serve(pipe: Connection, setup: ChildSetup) -> None:
    """Load every model, say so, then answer requests until the pipe closes."""
    _die_with_parent()
    setup.configure()
    started = time.monotonic()
    try:
        runtime.use_threads(setup.threads)
        device = registry.device()
        models = {card.id: _load(card, device, setup.imported) for card in registry.cards(setup.imported)}
        facts = {"device": device, "threads": setup.threads, **runtime.versions()}
        objects = setup.open_objects()
    except Exception as error:
        logger.exception("models cannot be loaded", extra={"action": "models-failed"})
        pipe.send(Failure(reason=_reason_of(error), message=f"models cannot be loaded: {type(error).__name__}"))
        return
    pipe.send(Ready(seconds=time.monotonic() - started))
    while True:
        try:
            request: RunRequest = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(request, models, objects, facts))


def _load(card: ModelCard, device: str, imported: Path | None = None) -> TriageModel | Failure:
    """Load one model and ask it its golden vectors; one that fails either leaves the others at work."""
    try:
        model = registry.load(card, device, imported)
        golden.replay(model, registry.golden_of(card, imported))
    except (ModelError, OSError, RuntimeError, ValueError) as error:
        logger.exception("model cannot be loaded", extra={"action": "model-failed", "model": card.id})
        return Failure(reason="weights", message=f"{card.id} cannot be loaded: {type(error).__name__}")
    return model


def _answer(
    request: RunRequest, models: dict[str, TriageModel | Failure], objects: ObjectStore, facts: dict[str, object]
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
    except MemoryError:
        logger.exception("run failed", extra={**extra, "action": "run-failed"})
        return Failure(reason="memory", message="MemoryError")
    except Exception as error:
        logger.exception("run failed", extra={**extra, "action": "run-failed"})
        return Failure(reason=RunFailed.reason, message=type(error).__name__)
    logger.info("prediction made", extra=extra)
    return result


def _reason_of(error: Exception) -> str:
    return str(getattr(error, "reason", "")) or "weights"


def _die_with_parent() -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)

"""The worker: claims the job that is due first, has it run in the model's own process, commits what comes back."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from inference import deployment, priority, progressive
from inference.completion import Completer
from inference.errors import ObjectsAway, RunFailed
from inference.loop import Loop
from inference.triage import RunRequest
from storage.catalog import jobs, landings, results, studies
from storage.records import JobState, Outcome, TriageResult

if TYPE_CHECKING:
    from inference.child import ModelProcess
    from inference.ports import Dispatcher
    from models.contract import ModelCard
    from storage.database import Database, Transaction
    from storage.records import Job, JobId

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often a worker looks, and how long it waits, in seconds."""

    complete_s: float = 0.05
    """Between two looks for studies that may be complete."""
    jobs_s: float = 1.0
    """Between two looks for jobs where no ring comes: a lost ring costs no more."""
    lease_s: float = 15.0
    beat_s: float = 3.0
    """Between two heartbeats of a running job."""
    run_limit_s: float = 120.0
    """A run that takes longer is killed."""
    load_again_s: float = 30.0
    """Before models that could not be loaded are tried again."""


class Worker:
    """One worker process: a loop that completes studies and a loop that runs jobs.

    Any number of workers may share a catalogue: the claim decides who runs a job, and a run whose lease was lost
    commits nothing.  `here` is the id of the landing zone that this process can read, where there is one: a job whose
    objects are on their way from another one waits.  Without a model process (no torch here) studies still complete
    and jobs wait, visibly.
    """

    def __init__(
        self,
        *,
        database: Database,
        dispatcher: Dispatcher,
        cards: Sequence[ModelCard],
        model: ModelProcess | None,
        clock: Callable[[], datetime],
        here: str = "",
        pace: Pace = Pace(),
    ) -> None:
        self._database = database
        self._here = here
        self._dispatcher = dispatcher
        self._cards = {card.id: card for card in cards}
        self._model = model
        self._clock = clock
        self._pace = pace
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._load_again_at = 0.0
        completer = Completer(database=database, dispatcher=dispatcher, cards=cards, clock=clock)
        self._completing = Loop("completion", completer.step, every_s=pace.complete_s)
        self._working = Loop("jobs", self.step, every_s=pace.jobs_s)

    def run(self) -> None:
        """Work until `stop` is called."""
        completing = threading.Thread(target=self._completing.run, name="completion")
        completing.start()
        try:
            with self._dispatcher.listen(self._heard):
                self._working.run()
        finally:
            self._completing.stop()
            completing.join()
            if self._model is not None:
                self._model.stop()

    def stop(self) -> None:
        """Let both loops end; a job that runs is given back by its lease."""
        self._completing.stop()
        self._working.stop()

    def step(self) -> None:
        """Give back what dead workers held, then run jobs until none waits."""
        self._sweep()
        while not self._working.stopped and self._model_is_ready() and (job := self._claim()):
            self._run(job)

    def _heard(self, _job: JobId) -> None:
        self._working.ring()

    # ------------------------------------------------------------------------------------------------ claiming
    def _sweep(self) -> None:
        now, lease = self._clock(), timedelta(seconds=self._pace.lease_s)
        with self._database.write() as tx:
            jobs.pull_back(tx, lease=lease, now=now)
            jobs.release_expired(tx, now=now)
            spent = jobs.take_over_spent(tx, owner=self._owner, lease=lease, now=now)
            landings.note_jobs(tx, here=self._here)
        for job in spent:
            self._park(job, reason="process_died", detail="the worker died with it, again and again")

    def _claim(self) -> Job | None:
        with self._database.write() as tx:
            lease = timedelta(seconds=self._pace.lease_s)
            return jobs.claim(tx, owner=self._owner, lease=lease, now=self._clock(), here=self._here)

    def _model_is_ready(self) -> bool:
        """Have the models loaded once something may need them; False while they load, or cannot."""
        if not self._wanted():
            return False
        if self._model is None:
            self._say_why_waiting("no torch on this worker")
            return False
        if time.monotonic() < self._load_again_at:
            return False
        self._model.warm()
        try:
            return self._model.is_ready(wait_s=self._pace.jobs_s)
        except RunFailed as error:
            self._load_again_at = time.monotonic() + self._pace.load_again_s
            logger.warning("models not loaded", extra={"action": "models-failed", "reason": error.reason})
            self._say_why_waiting(error.reason)
            return False

    def _wanted(self) -> bool:
        with self._database.read() as tx:
            return bool(jobs.waiting(tx, now=self._clock(), limit=1)) or studies.anything_receiving(tx)

    def _say_why_waiting(self, reason: str) -> None:
        with self._database.write() as tx:
            jobs.note_waiting(tx, reason=reason)

    # ------------------------------------------------------------------------------------------------- running
    def _run(self, job: Job) -> None:
        claimed = self._clock()
        card = self._cards.get(job.model_id)
        with self._database.write() as tx:
            if self._may_not(tx, job):
                return
        if card is None or card.digest != job.model_digest:
            self._park(job, reason="weights", detail="this model version is no longer installed")
            return
        with self._database.read() as tx:
            study = studies.get(tx, job.study_instance_uid)
            present = studies.instances_of(tx, job.study_instance_uid)
        request = RunRequest(
            job=job.id,
            model_id=job.model_id,
            instances=tuple(each for each in present if each.revision <= job.revision and not each.made_here),
            provisional=bool(job.provisional),
        )
        logger.info("run starts", extra={"action": "run-starts", **job.log_context()})
        try:
            result = self._ask(request, _Beat(self._database, job, self._owner, self._clock, self._pace))
        except ObjectsAway as error:
            self._postpone(job, error)
            return
        except RunFailed as error:
            self._failed(job, error)
            return
        arrived = {"received_first": study.received_first, "received_last": study.received_last}
        stages = {**arrived, "complete": study.completed_at or claimed, "claimed": claimed}
        times = {stage: at.timestamp() for stage, at in stages.items()} | dict(result.times)
        self._commit(job, replace(result, times=times), state=JobState.DONE)

    def _ask(self, request: RunRequest, beat: _Beat) -> TriageResult:
        if self._model is None:
            raise RunFailed("no model process")
        return self._model.run(request, limit_s=self._pace.run_limit_s, on_beat=beat)

    def _postpone(self, job: Job, error: ObjectsAway) -> None:
        logger.warning("run postponed", extra={"action": "run-postponed", "reason": str(error), **job.log_context()})
        with self._database.write() as tx:
            jobs.postpone(tx, job.id, owner=self._owner, reason=error.reason, now=self._clock())

    def _may_not(self, tx: Transaction, job: Job) -> bool:
        """End a job that may be run no more: its model was stopped or retired, or the person opted out."""
        declined = jobs.decline(tx, job, owner=self._owner, now=self._clock())
        if declined:
            studies.settle(tx, job.study_instance_uid, now=self._clock())
            logger.info("run declined", extra={"action": "run-declined", **job.log_context()})
        return declined

    def _failed(self, job: Job, error: RunFailed) -> None:
        logger.warning("run failed", extra={"action": "run-failed", "reason": error.reason, **job.log_context()})
        with self._database.write() as tx:
            again = not job.provisional and jobs.retry(
                tx, job.id, owner=self._owner, reason=error.reason, now=self._clock()
            )
        if not again:
            self._park(job, reason=error.reason, detail=str(error))

    def _park(self, job: Job, *, reason: str, detail: str) -> None:
        """End a job as FAILED, with a result that says so wherever results are shown."""
        self._commit(job, TriageResult(outcome=Outcome.FAILED, reason=reason, detail=detail), state=JobState.FAILED)

    def _commit(self, job: Job, result: TriageResult, *, state: JobState) -> None:
        """Write result, priority and study state in one transaction, unless the lease was lost meanwhile."""
        now = self._clock()
        uid = job.study_instance_uid
        result = replace(result, times={**result.times, "committed": now.timestamp()})
        if job.provisional:
            self._commit_provisional(job, result, state=state, now=now)
            return
        with self._database.write() as tx:
            if self._may_not(tx, job):
                return
            if (card := self._cards.get(job.model_id)) is not None:
                result = deployment.judged_here(tx, card, result, now=now)
            if not jobs.end(tx, job.id, owner=self._owner, state=state, reason=result.reason, now=now):
                logger.warning("lease lost, result dropped", extra={"action": "lease-lost", **job.log_context()})
                return
            results.add(tx, job, result, now=now)
            if state is JobState.FAILED:
                jobs.note_failed(tx, job, reason=result.reason or "", now=now)
            priority.refresh(tx, uid, now=now, cause=f"result of {job.model_id}")
            studies.settle(tx, uid, now=now)
        logger.info(
            "result committed", extra={"action": "result-committed", "outcome": result.outcome, **job.log_context()}
        )

    def _commit_provisional(self, job: Job, result: TriageResult, *, state: JobState, now: datetime) -> None:
        with self._database.write() as tx:
            if self._may_not(tx, job):
                return
            if (card := self._cards.get(job.model_id)) is not None:
                result = deployment.judged_here(tx, card, result, now=now)
            held = progressive.commit(tx, job, result, owner=self._owner, state=state, now=now)
        outcome = result.outcome if held else "study complete"
        logger.info(
            "provisional run ended", extra={"action": "provisional-ended", "outcome": outcome, **job.log_context()}
        )


class _Beat:
    """Prolongs a running job's lease now and then; False once the lease is lost."""

    def __init__(self, database: Database, job: Job, owner: str, clock: Callable[[], datetime], pace: Pace) -> None:
        self._database, self._job, self._owner, self._clock, self._pace = database, job, owner, clock, pace
        self._next = time.monotonic() + pace.beat_s

    def __call__(self) -> bool:
        if time.monotonic() < self._next:
            return True
        self._next = time.monotonic() + self._pace.beat_s
        lease = timedelta(seconds=self._pace.lease_s)
        with self._database.write() as tx:
            return jobs.heartbeat(tx, self._job.id, owner=self._owner, lease=lease, now=self._clock())

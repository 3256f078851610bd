"""The worker: claims the job that is due first, has it run in a model's own process, commits what comes back."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from inference import deployment, priority, progressive
from inference.completion import Completer
from inference.errors import ObjectsAway, RunFailed
from inference.lane import Lane
from inference.loop import Loop
from inference.pace import USUAL, Pace
from inference.triage import RunRequest
from storage.catalog import jobs, landings, results, studies
from storage.records import JobSize, JobState, OrderPriority, Outcome, TriageResult

if TYPE_CHECKING:
    from inference.child import ModelProcess
    from inference.ports import Dispatcher
    from models.contract import ModelCard
    from storage.database import Database, Transaction
    from storage.records import Job, JobId, StudyRecord

logger = logging.getLogger(__name__)

_GATHER_LOOK_S = 0.005


class Worker:
    """One worker process: a loop that completes studies and a loop for each lane that runs jobs.

    Any number of workers may share a catalogue: the claim decides who runs a job, and a run whose lease was lost
    commits nothing.  `here` is the id of the landing zone that this process can read, where there is one: a job whose
    objects are on their way from another one waits.  Without a model process (no torch here) studies still complete
    and jobs wait, visibly.  With `large_model`, jobs of size LARGE run there, and all others in `model`; without, all
    of these `sizes` in `model`, one after the other.
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
        pace: Pace = USUAL,
        sizes: Collection[JobSize] = jobs.EVERY_SIZE,
        large_model: ModelProcess | None = None,
    ) -> None:
        self._database = database
        self._here = here
        self._dispatcher = dispatcher
        self._cards = {card.id: card for card in cards}
        self._clock = clock
        self._pace = pace
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        completer = Completer(database=database, dispatcher=dispatcher, cards=cards, clock=clock)
        self._completing = Loop("completion", completer.step, every_s=pace.complete_s)
        lane = partial(Lane, database=database, clock=clock, pace=pace)
        self._lanes = [lane(model=model, sizes=frozenset(sizes))]
        if large_model is not None:
            small = lane(model=model, sizes=frozenset(sizes) - {JobSize.LARGE})
            self._lanes = [small, lane(model=large_model, sizes=frozenset({JobSize.LARGE}))]
        self._working = [
            Loop(f"jobs, {'and '.join(sorted(each.sizes))}", partial(self._turn, each), every_s=pace.jobs_s)
            for each in self._lanes
        ]
        self._stopped = False
        self._sweep_at = 0.0

    def run(self) -> None:
        """Work until `stop` is called."""
        beside = [threading.Thread(target=loop.run, name=loop.name) for loop in (self._completing, *self._working[1:])]
        for thread in beside:
            thread.start()
        try:
            with self._dispatcher.listen(self._heard):
                self._working[0].run()
        finally:
            self.stop()
            for thread in beside:
                thread.join()
            for lane in self._lanes:
                lane.stop()

    def stop(self) -> None:
        """Let the loops end; a job that runs is given back by its lease."""
        self._stopped = True
        for loop in (self._completing, *self._working):
            loop.stop()

    def step(self) -> None:
        """Give back what dead workers held, then run jobs until none waits, lane after lane."""
        self._sweep_at = 0.0
        for lane in self._lanes:
            self._turn(lane)

    def _turn(self, lane: Lane) -> None:
        """Run jobs until none waits; what dead workers held is looked for now and then, not for every ring."""
        while not self._stopped:
            if lane is self._lanes[0] and time.monotonic() >= self._sweep_at:
                self._sweep()
                self._sweep_at = time.monotonic() + self._pace.jobs_s
            if not lane.is_ready() or not (claimed := self._claim(lane)):
                return
            self._run_batch(lane, [*claimed, *self._mates(lane, claimed[0])])

    def _heard(self, _job: JobId) -> None:
        for loop in self._working:
            loop.ring()

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

    def _claim(self, lane: Lane, *, most: int = 1, like: Job | None = None) -> list[Job]:
        """Claim waiting jobs in one transaction, those due first; with `like`, of its model alone."""
        claimed: list[Job] = []
        with self._database.write() as tx:
            while len(claimed) < most and (
                job := jobs.claim(
                    tx,
                    owner=self._owner,
                    lease=timedelta(seconds=self._pace.lease_s),
                    now=self._clock(),
                    here=self._here,
                    sizes=lane.sizes,
                    like=like,
                )
            ):
                claimed.append(job)
        return claimed

    def _mates(self, lane: Lane, job: Job) -> list[Job]:
        """Claim what may share a forward pass with a job: other radiographs that wait for the same model.

        Where the device gains by it a job waits a moment for others, unless one of them is STAT.
        """
        card = self._cards.get(job.model_id)
        if lane.images_at_once == 1 or card is None or card.input_rules.kind != "radiograph":
            return []
        together, until = [job], time.monotonic() + self._pace.gather_s
        while (room := lane.images_at_once - len(together)) > 0:
            if mates := self._claim(lane, most=room, like=job):
                together += mates
            elif self._any_stat(together) or time.monotonic() > until:
                break
            else:
                time.sleep(_GATHER_LOOK_S)
        return together[1:]

    def _any_stat(self, together: Sequence[Job]) -> bool:
        with self._database.read() as tx:
            found = [studies.get(tx, job.study_instance_uid) for job in together]
        return any(OrderPriority.STAT in {study.order_priority, study.manual_priority} for study in found)

    # ------------------------------------------------------------------------------------------------- running
    def _run_batch(self, lane: Lane, batch: Sequence[Job]) -> None:
        """Run jobs of one model together; whichever gets no result in company is run alone."""
        claimed, alone = self._clock(), deque(batch)
        card = self._cards.get(batch[0].model_id)
        if len(batch) > 1 and card is not None and card.digest == batch[0].model_digest:
            beat = _Beat(self._database, batch, self._owner, self._clock, self._pace)
            asked = [self._ask_for(job) for job in batch]
            came = lane.run_together(card, [request for request, _ in asked], on_beat=beat)
            ended = [
                _Ended(job=job, result=self._timed(result, study, claimed=claimed), state=JobState.DONE)
                for job, (_, study), result in zip(batch, asked, came, strict=True)
                if result is not None
            ]
            try:
                self._commit(*ended)
            except Exception:
                extra = {"action": "batch-failed", "model": card.id, "images": len(ended)}
                logger.exception("results of a batch cannot be written together, trying each job alone", extra=extra)
            else:
                for each in ended:
                    alone.remove(each.job)
        while alone:
            self._run(lane, alone.popleft(), waiting=tuple(alone), claimed=claimed)

    def _ask_for(self, job: Job) -> tuple[RunRequest, StudyRecord]:
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
        return request, study

    def _run(self, lane: Lane, job: Job, *, waiting: Sequence[Job], claimed: datetime) -> None:
        """Run one job; the leases of those that wait for it are held with its own."""
        card = self._cards.get(job.model_id)
        with self._database.write() as tx:
            if self._may_not(tx, job):
                return
        if card is None or card.digest != job.model_digest:
            self._park(job, reason="weights", detail="this model version is no longer installed")
            return
        request, study = self._ask_for(job)
        try:
            beat = _Beat(self._database, [job, *waiting], self._owner, self._clock, self._pace)
            result = lane.run(card, request, on_beat=beat)
        except ObjectsAway as error:
            self._postpone(job, error)
            return
        except RunFailed as error:
            self._failed(job, error)
            return
        self._commit(_Ended(job=job, result=self._timed(result, study, claimed=claimed), state=JobState.DONE))

    def _timed(self, result: TriageResult, study: StudyRecord, *, claimed: datetime) -> TriageResult:
        """Add to a result's times those of the stages before its run."""
        arrived = {"received_first": study.received_first, "received_last": study.received_last}
        stages = {**arrived, "complete": study.completed_at or claimed, "claimed": claimed}
        return replace(result, times={stage: at.timestamp() for stage, at in stages.items()} | dict(result.times))

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
        result = TriageResult(outcome=Outcome.FAILED, reason=reason, detail=detail)
        self._commit(_Ended(job=job, result=result, state=JobState.FAILED))

    def _commit(self, *ended: _Ended) -> None:
        """Write results, priorities and study states in one transaction, but for those whose lease was lost meanwhile.

        Studies come in the order of their UIDs, so that no two workers wait for each other's.
        """
        lines: list[_Line] = []
        with self._database.write() as tx:
            for each in sorted(ended, key=lambda one: one.job.study_instance_uid):
                now = self._clock()
                result = replace(each.result, times={**each.result.times, "committed": now.timestamp()})
                if self._may_not(tx, each.job):
                    continue
                if (card := self._cards.get(each.job.model_id)) is not None:
                    result = deployment.judged_here(tx, card, result, now=now)
                write = self._write_provisional if each.job.provisional else self._write
                lines.append(write(tx, replace(each, result=result), now))
        for level, message, extra in lines:
            logger.log(level, message, extra=extra)

    def _write(self, tx: Transaction, ended: _Ended, now: datetime) -> _Line:
        job, result = ended.job, ended.result
        uid = job.study_instance_uid
        if not jobs.end(tx, job.id, owner=self._owner, state=ended.state, reason=result.reason, now=now):
            return logging.WARNING, "lease lost, result dropped", {"action": "lease-lost", **job.log_context()}
        results.add(tx, job, result, now=now)
        if ended.state is JobState.FAILED:
            jobs.note_failed(tx, job, reason=result.reason or "", now=now)
        priority.refresh(tx, uid, now=now, cause=f"result of {job.model_id}")
        studies.settle(tx, uid, now=now)
        told = {"action": "result-committed", "outcome": result.outcome, **job.log_context()}
        return logging.INFO, "result committed", told

    def _write_provisional(self, tx: Transaction, ended: _Ended, now: datetime) -> _Line:
        job, result = ended.job, ended.result
        held = progressive.commit(tx, job, result, owner=self._owner, state=ended.state, now=now)
        outcome = result.outcome if held else "study complete"
        told = {"action": "provisional-ended", "outcome": outcome, **job.log_context()}
        return logging.INFO, "provisional run ended", told


_Line = tuple[int, str, dict[str, object]]
"""Level, message and fields of a log line, to be written once what it tells is durable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ended:
    """A job that came to its end, and as what."""

    job: Job
    result: TriageResult
    state: JobState


class _Beat:
    """Prolongs the leases of running jobs now and then; False once that of the first is lost."""

    def __init__(
        self, database: Database, held: Sequence[Job], owner: str, clock: Callable[[], datetime], pace: Pace
    ) -> None:
        self._database, self._held, self._owner, self._clock, self._pace = database, held, owner, clock, pace
        self._next = time.monotonic() + pace.beat_s

    def __call__(self) -> bool:
        if time.monotonic() < self._next:
            return True
        self._next = time.monotonic() + self._pace.beat_s
        lease = timedelta(seconds=self._pace.lease_s)
        with self._database.write() as tx:
            still = [
                jobs.heartbeat(tx, job.id, owner=self._owner, lease=lease, now=self._clock()) for job in self._held
            ]
        return still[0]

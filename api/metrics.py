"""What to watch, for Prometheus: counts, times and queues; no patient, no study, and labels from short lists alone.

Gauges are read from the catalogue.  Counters begin at 0 with the process and follow the catalogue from there, whichever
process did the work: with several API processes, watch one.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from api.context import ApiContext, Context
from api.coverage import count
from api.exposition import MEDIA_TYPE, Family, written
from api.times import budgets_of
from inference.waterfall import BUCKETS_S, STAGES, stamps_of, to_flag, waterfall
from storage.catalog import changes, coverage, landings, timings
from storage.records import Coverage, JobState, Outcome, StudyState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from storage.catalog.timings import Timed
    from storage.database import Transaction

router = APIRouter(tags=["health"])

OTHER: Final = "other"
"""The label of every model that is not installed."""
_OVERLAP: Final = timedelta(minutes=5)
"""A result may become visible so long after the time that it bears: its transaction took so long, or clocks differ."""
_DAY: Final = 1.0
_MOST: Final = 5_000
"""Studies of a day that are counted by model and state; `roi_coverage_studies` tells how many these are."""
_SLOW_EVERY: Final = timedelta(minutes=1)
_PIPELINE: Final = STAGES[: STAGES.index("committed") + 1]


@router.api_route("/metrics", methods=["GET", "HEAD"], response_class=PlainTextResponse)
def metrics(context: Context, request: Request) -> Response:
    """Return the figures of this moment; those that take long to count are of the last minute."""
    followed: Followed = request.app.state.followed
    return Response(written(followed.families(context)), media_type=MEDIA_TYPE)


class Followed:
    """Counts what has happened since the first look; one look at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cursor: int | None = None
        self._began: datetime | None = None
        self._looked: datetime | None = None
        self._counted: dict[str, datetime] = {}
        """Results that are counted and may be met again: their ids, and when they were made."""
        self._slow_at: datetime | None = None
        self._slow_families: list[Family] = []
        self._kinds: Counter[str] = Counter(dict.fromkeys(changes.KINDS, 0))
        self._outcomes: Counter[tuple[str, Outcome]] = Counter()
        self._stages: defaultdict[tuple[str, str], _Histogram] = defaultdict(_Histogram)
        self._flags: defaultdict[str, _Histogram] = defaultdict(_Histogram)

    def families(self, context: ApiContext) -> list[Family]:
        """Look, and return everything there is to tell."""
        with self._lock:
            self._look(context)
            return [*self._counters(context), *_queues(context), *self._slow(context)]

    def _slow(self, context: ApiContext) -> list[Family]:
        """Return what looks at days of results, counted once a minute at most."""
        now = context.clock()
        if self._slow_at is None or not timedelta(0) <= now - self._slow_at < _SLOW_EVERY:
            self._slow_families, self._slow_at = [*_coverage(context), *_budgets(context)], now
        return self._slow_families

    def _look(self, context: ApiContext) -> None:
        now = context.clock()
        with context.archive.database.read() as tx:
            last = changes.last_seq(tx)
            if self._cursor is None or self._looked is None:
                self._cursor, self._began, self._looked = last, now, now
            self._kinds.update(changes.counts(tx, after=self._cursor, until=last))
            self._follow(tx, [card.id for card in context.cards], self._looked - _OVERLAP)
        self._cursor, self._looked = last, now

    def _follow(self, tx: Transaction, installed: list[str], since: datetime) -> None:
        """Count the results that came since the last look, each of them once."""
        for run in timings.ended_since(tx, since):
            if run.result_id not in self._counted:
                self._counted[run.result_id] = run.created_at
                if self._began is not None and run.created_at > self._began:
                    self._count(run, run.model_id if run.model_id in installed else OTHER)
        self._counted = {result: at for result, at in self._counted.items() if at >= since}

    def _count(self, run: Timed, model: str) -> None:
        self._outcomes[model, run.outcome] += 1
        for stage in waterfall(stamps_of(run.times))[1:]:
            if stage.name in _PIPELINE:
                self._stages[model, stage.name].note(stage.took.total_seconds())
        if (span := to_flag(run.times)) is not None:
            self._flags[model].note(span.total_seconds())

    def _counters(self, context: ApiContext) -> Iterator[Family]:
        info = Family(name="roi_info", kind="gauge", help="This release.")
        info.add(1, version=context.server_version)
        facts = Family(
            name="roi_changes_total", kind="counter", help="Facts of the change feed, instance-stored among them."
        )
        for kind in changes.KINDS:
            facts.add(self._kinds[kind], kind=kind)
        outcomes = Family(name="roi_results_total", kind="counter", help="Runs of models that ended, by outcome.")
        stages = Family(name="roi_stage_seconds", kind="histogram", help="Time of each stage of a run.")
        flags = Family(name="roi_flag_seconds", kind="histogram", help="From a study's last image to the list.")
        for model in (*(card.id for card in context.cards), OTHER):
            for outcome in Outcome:
                outcomes.add(self._outcomes[model, outcome], model=model, outcome=outcome)
            self._flags[model].tell(flags, model=model)
            for stage in _PIPELINE[1:]:
                self._stages[model, stage].tell(stages, model=model, stage=stage)
        yield from (info, facts, outcomes, stages, flags)


class _Histogram:
    """How often something took how long."""

    def __init__(self) -> None:
        self._below = [0] * len(BUCKETS_S)
        self._count, self._total = 0, 0.0

    def note(self, seconds: float) -> None:
        self._count += 1
        self._total += seconds
        for number, bound in enumerate(BUCKETS_S):
            self._below[number] += seconds <= bound

    def tell(self, family: Family, **labels: str) -> None:
        if self._count:
            family.add_histogram(
                list(zip(BUCKETS_S, self._below, strict=True)), count=self._count, total=self._total, **labels
            )


# ---------------------------------------------------------------------------------------------- as it stands now
def _queues(context: ApiContext) -> Iterator[Family]:
    now, installed = context.clock(), [card.id for card in context.cards]
    with context.archive.database.read() as tx:
        waiting = timings.queued(tx)
        of_day = timings.queued(tx, made_since=now - timedelta(days=_DAY))
        unsettled = timings.unsettled(tx)
        landed = landings.backlogs(tx)
    jobs = Family(name="roi_jobs", kind="gauge", help="Jobs that have not ended.")
    made = Family(name="roi_jobs_of_day", kind="gauge", help="Jobs made in the last 24 h, by where they stand.")
    age = Family(name="roi_queue_age_seconds", kind="gauge", help="How long the oldest waiting job has waited.")
    for model in (*installed, OTHER):
        mine = [each for each in waiting if _label(each.model_id, installed) == model]
        today = [each for each in of_day if _label(each.model_id, installed) == model]
        for state in (JobState.WAITING, JobState.RUNNING):
            jobs.add(sum(each.jobs for each in mine if each.state is state), model=model, state=state)
        for state in JobState:
            made.add(sum(each.jobs for each in today if each.state is state), model=model, state=state)
        oldest = min((each.oldest for each in mine if each.state is JobState.WAITING), default=now)
        age.add(max(0.0, (now - oldest).total_seconds()), model=model)
    studies = Family(name="roi_studies", kind="gauge", help="Studies that are not triaged yet.")
    for standing in (StudyState.RECEIVING, StudyState.COMPLETE):
        studies.add(unsettled.get(standing, 0), state=standing)
    landing = Family(name="roi_landing_bytes", kind="gauge", help="What waits in landing zones for the object store.")
    landing.add(sum(each.size_bytes for each in landed))
    yield from (jobs, made, age, studies, landing)


def _label(model: str, installed: list[str]) -> str:
    return model if model in installed else OTHER


def _coverage(context: ApiContext) -> Iterator[Family]:
    counted = count(context, days=_DAY, most=_MOST)
    studies = Family(name="roi_coverage_studies", kind="gauge", help="Studies of the last 24 h that are looked at.")
    studies.add(counted.studies)
    states = Family(
        name="roi_coverage", kind="gauge", help="Studies of the last 24 h by model and state; they add up to those."
    )
    marks = Family(name="roi_coverage_marks", kind="gauge", help="Results among them, by what is to be said of them.")
    flagged = Family(name="roi_flagged", kind="gauge", help="Studies among them that the model flagged.")
    for model, tally in counted.models.items():
        for state in Coverage:
            states.add(tally.states[state], model=model, state=state)
        for mark in coverage.MARKS:
            marks.add(tally.marks[mark], model=model, mark=mark)
        flagged.add(tally.outcomes[Outcome.FLAGGED], model=model)
    yield from (studies, states, marks, flagged)


def _budgets(context: ApiContext) -> Iterator[Family]:
    target = Family(name="roi_flag_target_seconds", kind="gauge", help="From the last image to the list, at most.")
    runs = Family(name="roi_flag_runs", kind="gauge", help="Runs of the last 28 days that the target holds for.")
    late = Family(name="roi_flag_late", kind="gauge", help="Runs among them that were late, failed or overdue.")
    used = Family(name="roi_flag_budget_used_ratio", kind="gauge", help="Share of the error budget that is used.")
    for model, budget in budgets_of(context).items():
        target.add(budget.target_s, model=model)
        runs.add(budget.runs, model=model)
        late.add(budget.late, model=model)
        if budget.used is not None:
            used.add(budget.used, model=model)
    yield from (target, runs, late, used)

"""Coverage is a partition: whatever happened, every (study revision, model) is in exactly one state."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api import ApiContext
from api.coverage import coverage_of
from pacs_gateway.ingest import Ingest
from storage import schema
from storage.archive import Archive
from storage.catalog import coverage, deletions, jobs, results, studies
from storage.catalog.jobs import ModelRef
from storage.records import Coverage, InstanceUid, JobState, Outcome, SeriesUid, StudyUid, TriageResult
from tests import builders

MODELS = ("one", "two", "three")
STUDIES = range(2)

_STEPS = st.one_of(
    st.tuples(st.just("arrive"), st.sampled_from(STUDIES)),
    st.tuples(st.just("complete"), st.sampled_from(STUDIES), st.sets(st.sampled_from(MODELS))),
    st.tuples(st.just("claim")),
    st.tuples(st.just("end"), st.sampled_from(Outcome), st.booleans()),
    st.tuples(st.just("retry")),
    st.tuples(st.just("hide"), st.sampled_from(STUDIES)),
    st.tuples(
        st.just("turn"),
        st.sampled_from(STUDIES),
        st.sets(st.sampled_from(MODELS), min_size=1),
        st.sampled_from(Outcome),
        st.booleans(),
    ),
)
"""What may happen; a turn is a whole revision on its way, so that histories have several of them."""


@pytest.fixture(scope="module")
def empty() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        builders.archive(Path(folder)).close()
        yield Path(folder) / "catalogue.sqlite"


class History:
    """Plays what gateways, workers and people do to two studies and three models."""

    def __init__(self, archive: Archive, clock: builders.Clock) -> None:
        self.archive, self.clock = archive, clock
        self.arrived: Counter[int] = Counter()
        self.running: list[jobs.Job] = []

    def arrive(self, number: int) -> None:
        self.arrived[number] += 1
        builders.keep(self.archive, header(number, self.arrived[number]))

    def complete(self, number: int, models: set[str]) -> None:
        uid, now = uid_of(number), self.clock.now
        with self.archive.database.write() as tx:
            if not studies.exists(tx, uid) or studies.get(tx, uid).state != "RECEIVING":
                return
            studies.complete(tx, studies.get(tx, uid), reason="silence", now=now)
            wanted = [ModelRef(id=name, version="1", digest=name.ljust(64, "0")) for name in sorted(models)]
            jobs.create(tx, uid, studies.get(tx, uid).revision, wanted, due_at=now, now=now)
            studies.settle(tx, uid, now=now)

    def turn(self, number: int, models: set[str], outcome: Outcome, raises: bool) -> None:
        self.arrive(number)
        self.complete(number, models)
        self.claim()
        self.end(outcome, raises)

    def claim(self) -> None:
        with self.archive.database.write() as tx:
            job = jobs.claim(tx, owner="test", lease=timedelta(hours=1), now=self.clock.now)
        self.running += [job] if job else []

    def end(self, outcome: Outcome, raises: bool) -> None:
        if not self.running:
            return
        job, state = self.running.pop(0), JobState.FAILED if outcome is Outcome.FAILED else JobState.DONE
        reason = {Outcome.FAILED: "timeout", Outcome.NOT_SUITABLE: "contrast"}.get(outcome)
        with self.archive.database.write() as tx:
            if jobs.end(tx, job.id, owner="test", state=state, reason=reason, now=self.clock.now):
                results.add(tx, job, TriageResult(outcome=outcome, reason=reason, raises=raises), now=self.clock.now)
                studies.settle(tx, job.study_instance_uid, now=self.clock.now)

    def retry(self) -> None:
        if self.running:
            with self.archive.database.write() as tx:
                jobs.retry(tx, self.running.pop(0).id, owner="test", reason="model_error", now=self.clock.now)

    def hide(self, number: int) -> None:
        instance = header(number, 1)
        with self.archive.database.write() as tx:
            if studies.instances_of(tx, uid_of(number), instance=instance.sop_instance_uid):
                gone = [instance.sop_instance_uid]
                deletions.withdraw(tx, uid_of(number), gone, "instance-hidden", now=self.clock.now)


def uid_of(number: int) -> StudyUid:
    return StudyUid(f"2.25.9.{number}")


def header(number: int, image: int) -> builders.Header:
    uid = uid_of(number)
    return builders.header(
        image,
        study_instance_uid=uid,
        series_instance_uid=SeriesUid(f"{uid}.1"),
        sop_instance_uid=InstanceUid(f"{uid}.1.{image}"),
    )


def states_by_hand(archive: Archive) -> Counter[tuple[str, str]]:
    """The state of every pair, from bare rows: the newest job that was not withdrawn, else whether it was complete."""
    counted: Counter[tuple[str, str]] = Counter()
    with archive.database.read() as tx:
        for study in tx.execute(sa.select(schema.studies).where(schema.studies.c.instance_count > 0)).all():
            for model in MODELS:
                of_pair = (schema.jobs.c.study_pk == study.id, schema.jobs.c.model_id == model)
                job = tx.execute(
                    sa.select(schema.jobs).where(*of_pair).order_by(schema.jobs.c.revision.desc()).limit(1)
                ).one_or_none()
                of_job = schema.results.c.job_id == (job.id if job else None)
                result = tx.execute(sa.select(schema.results).where(of_job)).one_or_none()
                everything = tx.execute(
                    sa.select(sa.func.count())
                    .select_from(schema.jobs.outerjoin(schema.results, schema.results.c.job_id == schema.jobs.c.id))
                    .where(schema.jobs.c.study_pk == study.id, schema.results.c.superseded_by.is_(None))
                ).scalar_one()
                if job is not None and (result is None or result.superseded_by is None):
                    word = {
                        "FLAGGED": "analysed",
                        "NOT_FLAGGED": "analysed",
                        "NOT_SUITABLE": "not suitable",
                    }.get(result.outcome if result else job.state, (result.outcome if result else job.state).lower())
                else:
                    word = "waiting" if study.completed_at is None and not everything else "no model applies"
                counted[model, word] += 1
    return counted


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_STEPS, min_size=1, max_size=25))
def test_every_pair_is_in_exactly_one_state_after_any_history(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("history")
    shutil.copy(empty, folder)
    clock = builders.Clock()
    archive = builders.archive(folder, clock)
    try:
        history = History(archive, clock)
        for name, *arguments in steps:
            clock.go(5)
            getattr(history, str(name))(*arguments)
        with archive.database.read() as tx:
            found = coverage.window(tx, since=clock.now - timedelta(days=1))
            all_pairs = list(coverage.pairs(tx, found, MODELS))
            in_sight = sa.select(sa.func.count()).select_from(schema.studies).where(studies.IN_SIGHT)
            total = tx.execute(in_sight).scalar_one()
        keys = [(pair.study_instance_uid, pair.model_id) for pair in all_pairs]
        assert len(keys) == len(set(keys)) == total * len(MODELS)
        by_hand = states_by_hand(archive)
        assert Counter((pair.model_id, str(pair.coverage)) for pair in all_pairs) == by_hand
        assert told_by_the_api(archive, clock) == by_hand
    finally:
        archive.close()
        shutil.rmtree(folder)


def told_by_the_api(archive: Archive, clock: builders.Clock) -> Counter[tuple[str, str]]:
    context = ApiContext(
        archive=archive,
        ingest=Ingest(archive),
        public_base_url="http://127.0.0.1",
        cards=tuple(builders.card(name) for name in MODELS),
        clock=clock,
    )
    told = json.loads(coverage_of(context, days=1).body)
    for model in told["models"]:
        assert set(model["states"]) == set(Coverage)
        assert sum(model["states"].values()) == told["studies"]
        assert sum(reason["studies"] for reason in model["reasons"]) == sum(
            model["states"][state] for state in (Coverage.NOT_SUITABLE, Coverage.FAILED)
        )
    return Counter(
        {
            (model["model_id"], state): number
            for model in told["models"]
            for state, number in model["states"].items()
            if number
        }
    )


def test_marks_stand_beside_the_state(tmp_path: Path) -> None:
    clock = builders.Clock()
    archive = builders.archive(tmp_path, clock)
    history = History(archive, clock)
    history.arrive(0)
    history.complete(0, {"one"})
    history.claim()
    history.end(Outcome.FLAGGED, False)
    history.arrive(0)  # the next revision: what was judged is of the one before
    with archive.database.read() as tx:
        found = coverage.window(tx, since=clock.now - timedelta(days=1))
        (pair,) = coverage.pairs(tx, found, ["one"])
        counted = coverage.tally([pair])["one"]
    archive.close()
    assert (pair.revision, pair.coverage, pair.marks) == (2, Coverage.ANALYSED, frozenset({"shadow", "superseded"}))
    assert (counted.states, counted.marks) == ({Coverage.ANALYSED: 1}, {"shadow": 1, "superseded": 1})

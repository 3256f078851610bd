"""The rule of the list against a list kept by hand: whatever happens to studies, both stand in the same order.

The oracle is written from the words of the rule alone: it keeps every study in Python, and sorts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations, pairwise

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference import guard, priority, reading, targets
from storage import schema
from storage.archive import Archive
from storage.catalog import changes, jobs, results, studies, worklist
from storage.catalog import guard as guard_rows
from storage.catalog.jobs import ModelRef
from storage.database import Transaction
from storage.errors import Rejected
from storage.records import JobState, OrderPriority, Outcome, StudyState, StudyUid, TriageResult, Waiting
from tests.builders import START, archive

ORDERS = (None, *OrderPriority)
READERS = ("BS. Lan", "BS. Huy")
_RANK = {"STAT": 0, "URGENT": 1, "ROUTINE": 2, None: 2}
_MORE_URGENT = {"critical": 0, "urgent": 1, None: 2}


# -------------------------------------------------------------------------------------------------- the oracle
@dataclass
class Told:
    """What is known of a study."""

    number: int
    ready_at: datetime
    order: OrderPriority | None
    manual: OrderPriority | None = None
    judged: str | None = None
    """What the model says of the newest revision."""
    ai: str | None = None
    """What counts of it: held while the study is open."""
    revision: int = 1
    reported: int | None = None
    reader: str | None = None
    open_until: datetime = START

    @property
    def uid(self) -> StudyUid:
        return StudyUid(f"2.25.{self.number + 1}")

    @property
    def waits(self) -> bool:
        return self.reported is None or self.reported < self.revision


@dataclass
class Oracle:
    """The list, kept by hand."""

    minutes: dict[str, int] = field(default_factory=lambda: dict(targets.DEFAULTS))
    told: list[Told] = field(default_factory=list)
    guarded: bool = False

    def target(self, study: Told, *, with_ai: bool) -> timedelta:
        asked = [self.minutes[study.order or "ROUTINE"]]
        asked += [self.minutes[study.manual]] if study.manual else []
        asked += [self.minutes[f"ai-{study.ai}"]] if study.ai and with_ai else []
        return timedelta(minutes=min(asked))

    def listed_target(self, study: Told) -> timedelta:
        return self.target(study, with_ai=not self.guarded)

    def key(self, study: Told) -> tuple[object, ...]:
        return (
            study.manual != "STAT",
            study.ready_at + self.listed_target(study),
            min(_RANK[study.order], _RANK[study.manual]),
            study.ready_at,
            study.number,
        )

    def waiting(self) -> list[Told]:
        return sorted((study for study in self.told if study.waits), key=self.key)

    def count(self, now: datetime) -> None:
        """Turn the guard on or off."""
        counted = [study for study in self.told if study.waits and study.ready_at >= now - timedelta(hours=24)]
        flagged = sum(study.ai == "critical" for study in counted)
        if self.guarded:
            self.guarded = len(counted) >= 5 and flagged / len(counted) >= 0.2
        else:
            self.guarded = len(counted) >= 10 and flagged / len(counted) > 0.3


# ------------------------------------------------------------------------------------------- what may happen to it
class World:
    """The catalogue and the oracle, to which the same things happen."""

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self.now = START
        self.oracle = Oracle()

    def arrive(self, _who: int, minutes: int, order: OrderPriority | None) -> None:
        """A study becomes ready."""
        self.now += timedelta(minutes=minutes)
        study = Told(number=len(self.oracle.told), ready_at=self.now, order=order)
        row = {"study_instance_uid": study.uid, "state": StudyState.COMPLETE, "order_priority": order}
        row |= dict.fromkeys(("received_first", "received_last", "quiet_until", "completed_at", "ready_at"), self.now)
        self.tx.execute(sa.insert(schema.studies).values(**row, instance_count=1))
        priority.refresh(self.tx, study.uid, now=self.now, cause="complete")
        self.oracle.told.append(study)

    def judge(self, who: int, _minutes: int, urgency: str | None) -> None:
        """A model ends with a result on the newest revision; a second one is on the next."""
        study = self._study(who)
        study.revision += study.judged is not None or study.reported is not None
        self._enter_revision(study)
        model = ModelRef(id="m", version="1", digest=f"{study.number}-{len(self.oracle.told)}-{self._results()}")
        made = jobs.create(self.tx, study.uid, study.revision, [model], due_at=self.now, now=self.now)
        job = jobs.get(self.tx, made[0])
        self.tx.execute(sa.update(schema.jobs).where(schema.jobs.c.id == job.id).values(state=JobState.DONE))
        outcome = Outcome.FLAGGED if urgency else Outcome.NOT_FLAGGED
        self.tx.execute(sa.update(schema.results).values(superseded_by=study.revision).where(self._of(study)))
        results.add(self.tx, job, TriageResult(outcome=outcome, urgency=urgency, raises=True), now=self.now)
        study.judged = urgency
        self._settle(study)
        priority.refresh(self.tx, study.uid, now=self.now, cause="result")
        self.oracle.count(self.now)

    def raise_(self, who: int, _minutes: int, wanted: OrderPriority | None) -> None:
        """A person sets a priority, or takes it back."""
        study = self._study(who)
        study.manual = wanted
        studies.set_manual_priority(self.tx, study.uid, wanted, by=READERS[0])
        self._settle(study)
        priority.refresh(self.tx, study.uid, now=self.now, cause="manual", by=READERS[0])

    def open(self, who: int, minutes: int, _what: object) -> None:
        """A reader opens a study, some minutes later."""
        self.now += timedelta(minutes=minutes % 7)
        self._close_lapsed()
        study, reader = self._study(who), READERS[minutes % 2]
        if self.now < study.open_until and study.reader != reader:
            with pytest.raises(Rejected):
                reading.open_study(self.tx, study.uid, by=reader, now=self.now)
            return
        reading.open_study(self.tx, study.uid, by=reader, now=self.now)
        study.reader, study.open_until = reader, self.now + timedelta(minutes=10)

    def close(self, who: int, _minutes: int, _what: object) -> None:
        """A reader closes a study."""
        study = self._study(who)
        reading.close_study(self.tx, study.uid, by=READERS[0], now=self.now)
        study.open_until = START
        self._settle(study)
        self.oracle.count(self.now)

    def report(self, who: int, _minutes: int, _what: object) -> None:
        """A reader has read a study."""
        study = self._study(who)
        if study.waits:
            study.open_until = START
            self._settle(study)
            study.reported = study.revision
        reading.report(self.tx, study.uid, by=READERS[0], now=self.now)
        self.oracle.count(self.now)

    def set_targets(self, _who: int, minutes: int, _what: object) -> None:
        """A person sets targets."""
        wanted = {"URGENT": 30 + minutes, "ROUTINE": 200 + 3 * minutes, "ai-critical": 10 + minutes % 20}
        targets.change(self.tx, wanted, by=READERS[0], now=self.now)
        self.oracle.minutes |= wanted

    def watch(self, _who: int, minutes: int, _what: object) -> None:
        """Time goes by, and the worker looks."""
        self.now += timedelta(minutes=minutes * 20)
        self._close_lapsed()
        guard.watch(self.tx, now=self.now)
        self.oracle.count(self.now)

    def _study(self, who: int) -> Told:
        return self.oracle.told[who % len(self.oracle.told)]

    def _settle(self, study: Told) -> None:
        """Let count what the model says now, unless the study is open and it would be lowered."""
        held = self.now < study.open_until
        study.ai = min((study.judged, study.ai if held else study.judged), key=_MORE_URGENT.__getitem__)

    def _close_lapsed(self) -> None:
        reading.close_lapsed(self.tx, now=self.now)
        for study in self.oracle.told:
            if study.open_until <= self.now:
                self._settle(study)
        self.oracle.count(self.now)

    def _enter_revision(self, study: Told) -> None:
        this = schema.studies.c.study_instance_uid == study.uid
        self.tx.execute(sa.update(schema.studies).where(this).values(revision=study.revision))

    def _results(self) -> int:
        return self.tx.execute(sa.select(sa.func.count()).select_from(schema.results)).scalar_one()

    def _of(self, study: Told) -> sa.ColumnElement[bool]:
        pk = sa.select(schema.studies.c.id).where(schema.studies.c.study_instance_uid == study.uid)
        return sa.and_(schema.results.c.study_pk == pk.scalar_subquery(), schema.results.c.superseded_by.is_(None))


_minutes = st.integers(0, 60)
_who = st.integers(0, 3)
"""Few, so that much happens to each of them."""
_happenings = st.one_of(
    st.tuples(st.just("arrive"), _who, _minutes, st.sampled_from(ORDERS)),
    st.tuples(st.just("judge"), _who, _minutes, st.sampled_from([None, "urgent", "critical", "critical"])),
    st.tuples(st.just("raise_"), _who, _minutes, st.sampled_from(ORDERS)),
    st.tuples(st.sampled_from(["open", "close", "report", "set_targets", "watch"]), _who, _minutes, st.none()),
)
_first = st.lists(st.tuples(st.just("arrive"), _who, _minutes, st.sampled_from(ORDERS)), min_size=2, max_size=12)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    made = archive(tmp_path_factory.mktemp("rule"))
    yield made
    made.close()


@contextmanager
def undone(kept: Archive) -> Iterator[Transaction]:
    """A transaction of which nothing stays."""
    with kept.database.write() as tx:
        yield tx
        tx.rollback()


def _held_to_the_oracle(world: World) -> None:
    tx, oracle = world.tx, world.oracle
    listed = worklist.page(tx, targets=targets.current(tx).order, limit=100)
    waiting = oracle.waiting()
    assert guard_rows.is_on(tx) is oracle.guarded
    assert [entry.study.study_instance_uid for entry in listed] == [study.uid for study in waiting]
    for entry, study in zip(listed, waiting, strict=True):
        assert entry.study.ready_at == study.ready_at
        assert entry.due_at == study.ready_at + oracle.listed_target(study)
        assert entry.study.due_without_ai == study.ready_at + oracle.target(study, with_ai=False)
        assert entry.due_at <= entry.study.due_without_ai, "AI lowered a study"
    _bounded(oracle, waiting)


def _bounded(oracle: Oracle, waiting: list[Told]) -> None:
    """No study is overtaken by one that became ready later by more than the difference of their two targets."""
    for first, behind in combinations(waiting, 2):
        if first.manual != "STAT" and first.ready_at > behind.ready_at:
            head_start = oracle.listed_target(behind) - oracle.listed_target(first)
            assert first.ready_at - behind.ready_at <= head_start


def _conserved(tx: Transaction, oracle: Oracle) -> None:
    """Every study is either waiting or read, and no study is both."""
    parts = [
        {entry.study.study_instance_uid for entry in worklist.page(tx, targets=priority.TARGETS, limit=100, of=of)}
        for of in (Waiting.WAITING, Waiting.REPORTED)
    ]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == {study.uid for study in oracle.told}
    assert [worklist.count(tx, of) for of in (Waiting.WAITING, Waiting.REPORTED)] == [len(part) for part in parts]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=_first, then=st.lists(_happenings, max_size=20))
def test_the_list_stands_as_one_kept_by_hand(kept: Archive, first: list, then: list) -> None:
    with undone(kept) as tx:
        world = World(tx)
        for name, who, minutes, what in first + then:
            getattr(world, name)(who, minutes, what)
            _held_to_the_oracle(world)
        _conserved(tx, world.oracle)


_to_two = st.one_of(
    st.tuples(st.just("judge"), st.integers(0, 1), _minutes, st.sampled_from([None, None, "urgent", "critical"])),
    st.tuples(st.sampled_from(["open", "close"]), st.integers(0, 1), st.integers(0, 8), st.none()),
    st.tuples(st.sampled_from(["set_targets", "report"]), st.integers(0, 1), _minutes, st.none()),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    orders=st.lists(st.sampled_from(ORDERS), min_size=2, max_size=2), then=st.lists(_to_two, min_size=8, max_size=16)
)
def test_results_that_come_while_a_study_is_open_raise_it_and_wait_to_lower_it(
    kept: Archive, orders: list, then: list
) -> None:
    with undone(kept) as tx:
        world = World(tx)
        for order in orders:
            world.arrive(0, 5, order)
        for who in range(2):
            world.judge(who, 0, "critical")
            world.open(who, 0, None)
        for name, who, minutes, what in then:
            getattr(world, name)(who, minutes, what)
            _held_to_the_oracle(world)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flags=st.lists(st.integers(0, 11), min_size=8, max_size=8, unique=True),
    orders=st.lists(st.sampled_from(ORDERS), min_size=12, max_size=12),
)
def test_as_flags_come_and_go_the_guard_turns_once_each_way(kept: Archive, flags: list, orders: list) -> None:
    with undone(kept) as tx:
        world = World(tx)
        turned = []
        for order in orders:
            world.arrive(0, 1, order)
        for name, what in (("judge", "critical"), ("report", None)):
            for who in flags:
                getattr(world, name)(who, 0, what)
                turned.append(world.oracle.guarded)
                _held_to_the_oracle(world)
        assert turned.index(True) == 3  # 4 of 12
        assert sum(one != other for one, other in pairwise(turned)) == 2
        told = [change.kind for change in changes.since(tx, 0) if change.kind.startswith("flag-rate")]
        assert told == ["flag-rate-high", "flag-rate-normal"]


@pytest.mark.parametrize("ai_counts", [True, False])
def test_of_equal_due_times_the_clinically_more_urgent_and_then_the_older_comes_first(
    kept: Archive, ai_counts: bool
) -> None:
    with undone(kept) as tx:
        world = World(tx)
        for minutes, order in ((0, OrderPriority.ROUTINE), (195, OrderPriority.URGENT), (30, OrderPriority.STAT)):
            world.arrive(0, minutes, order)
        for _ in range(2):
            world.arrive(0, 0, OrderPriority.STAT)
        _held_to_the_oracle(world)
        order = worklist.reading_order(priority.TARGETS, ai_counts=ai_counts)
        query = sa.select(schema.studies.c.study_instance_uid).order_by(*order)
        assert list(tx.execute(query).scalars()) == ["2.25.3", "2.25.4", "2.25.5", "2.25.2", "2.25.1"]

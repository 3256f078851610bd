"""A removal and a re-send of the same bytes, step by step in every order: what was acknowledged is kept.

A sender stops before each of its steps (put the object, enter the row, and both again where it met a removal); between
them the scrub marks, removes, or dies with the object removed and nothing noted.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count, permutations
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import sqlalchemy as sa

from storage import schema
from storage.adapters import open_store
from storage.archive import Archive
from storage.catalog import deletions, quarantine, references, removals, studies
from storage.database import Database
from storage.errors import CatalogueUnknown
from storage.migrate import migrate
from storage.ports import ObjectStore
from storage.records import InstanceUid, ObjectKey, SeriesUid, StudyState, StudyUid, Verdict
from storage.removal import remove, remove_object
from storage.scrub import Manner, scrub
from storage.tombstones import Kind, is_tombstone
from storage.tombstones import read as read_tombstone
from storage.verify import verify
from tests.builders import START, Clock, header, keep

STUDY = StudyUid("2.25.1")
_NUMBERS = count(1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Iterator[Archive]:
    database = Database(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    migrate(database)
    store = open_store(f"dir://{tmp_path}/store")
    made = Archive(objects=store, database=database, spool_folder=store.incoming, clock=clock)  # type: ignore[attr-defined]
    yield made
    made.close()


# -------------------------------------------------------------------------------------------------- step by step
class Stepper:
    """A sender in a thread of its own that takes one step when told."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._go, self._parked = threading.Semaphore(0), threading.Semaphore(0)
        self.answer: object = None
        self.over = False
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._parked.acquire()

    def step(self) -> None:
        """Let it go on to its next stop, or to its end."""
        if not self.over:
            self._go.release()
            self._parked.acquire()

    def finish(self) -> None:
        """Let it go on to its end."""
        while not self.over:
            self.step()
        self._thread.join()

    def stop_here(self) -> None:
        """Be called by the sender before each step."""
        self._parked.release()
        self._go.acquire()

    def _run(self) -> None:
        STEPPERS[threading.get_ident()] = self
        try:
            self.answer = self._work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.answer = error
        self.over = True
        self._parked.release()


STEPPERS: dict[int, Stepper] = {}


def _stop() -> None:
    if stepper := STEPPERS.get(threading.get_ident()):
        stepper.stop_here()


class Stopping:
    """A store before whose puts a sender stops."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, key: ObjectKey, source: BinaryIO) -> Any:
        _stop()
        return self._store.put(key, source)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.fixture
def stepped(kept: Archive, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """The archive, its senders stopping before every put and every entry."""
    monkeypatch.setattr(kept, "objects", Stopping(kept.objects))
    for place, name in ((kept._commits, "submit"), (kept, "_lift")):
        monkeypatch.setattr(place, name, _stopping(getattr(place, name)))
    return kept


def _stopping(call: Callable[..., object]) -> Callable[..., object]:
    def stopped(*arguments: object) -> object:
        _stop()
        return call(*arguments)

    return stopped


class Race:
    """One object that nobody needs any more, one or two senders of it, and a scrub."""

    def __init__(self, kept: Archive, senders: int = 1) -> None:
        self._kept = kept
        self._told = header(next(_NUMBERS), study_instance_uid=StudyUid(f"2.25.7.{next(_NUMBERS)}"))
        self.key = self._strand()
        self.senders = [Stepper(lambda: keep(kept, self._told)) for _ in range(senders)]

    def _strand(self) -> ObjectKey:
        """Leave the object in the store without a row, as a crash does."""
        keep(self._kept, self._told)
        with self._kept.database.write() as tx:
            uid = self._told.sop_instance_uid
            key = tx.execute(
                sa.select(schema.instances.c.object_key).where(schema.instances.c.sop_instance_uid == uid)
            ).scalar_one()
            study = studies.instances_of(tx, self._told.study_instance_uid)[0].study_instance_uid
            pk = tx.execute(sa.select(schema.studies.c.id).where(schema.studies.c.study_instance_uid == study))
            deletions._delete_study(tx, pk.scalar_one())
            removals.note_seen(tx, [key], now=START)
        return key

    def play(self, steps: str) -> None:
        """Take steps: 1 and 2 a sender's, M mark, D remove, X remove and die before it is noted."""
        for step in steps:
            if step.isdigit():
                self.senders[int(step) - 1].step()
            else:
                {"M": self._mark, "D": self._remove, "X": self._remove_and_die}[step]()

    def _mark(self) -> None:
        with self._kept.database.write() as tx:
            removals.exclude_senders(tx)
            removals.note_seen(tx, [self.key], now=START)
            removals.mark_old(tx, [self.key], before=START + timedelta(days=9))

    def _remove(self) -> None:
        remove_object(self._kept, self.key, now=START)

    def _remove_and_die(self) -> None:
        with self._kept.database.write() as tx:
            if removals.hold_marked(tx, self.key) and not references.needed(tx, [self.key]):
                self._kept.objects.remove(self.key)

    def holds(self) -> bool:
        """Whether whatever was acknowledged is kept whole."""
        with self._kept.database.read() as tx:
            needed = bool(references.needed(tx, [self.key]))
        acknowledged = any(isinstance(sender.answer, Verdict) for sender in self.senders)
        return needed == acknowledged and (not needed or self._is_whole())

    def _is_whole(self) -> bool:
        with self._kept.objects.open(self.key) as stream:
            return stream.read().endswith(self._told.sop_instance_uid.encode())


def _orders(steps: str) -> list[str]:
    return sorted({"".join(order) for order in permutations(steps)})


@pytest.mark.parametrize("removal", ["D", "X"])
def test_a_resend_and_a_removal_in_every_order(stepped: Archive, removal: str) -> None:
    for order in _orders(f"1111M{removal}"):
        race = Race(stepped)
        race.play(order)
        race.senders[0].finish()
        assert race.senders[0].answer is Verdict.STORED, order
        assert race.holds(), order
    assert verify(stepped).missing == ()


def test_a_resend_and_two_removals_in_any_order(stepped: Archive) -> None:
    for order in random.Random(4).sample(_orders("11111MDMD"), 40):
        race = Race(stepped)
        race.play(order)
        race.senders[0].finish()
        assert race.holds(), order


def test_two_senders_of_the_same_bytes_and_a_removal_in_any_order(stepped: Archive) -> None:
    chosen = random.Random(5)
    for _ in range(50):
        steps = list("1111" + "2222" + "M" + chosen.choice("DX"))
        chosen.shuffle(steps)
        race = Race(stepped, senders=2)
        race.play("".join(steps))
        first, second = race.senders if chosen.random() < 0.5 else reversed(race.senders)
        first.finish()
        assert race.holds(), steps  # also where the other one never goes on
        second.finish()
        assert race.holds(), steps


def test_a_sender_settles_no_removal_but_the_one_it_met(stepped: Archive) -> None:
    race = Race(stepped, senders=2)
    race.play("21M11MD2")  # the first put it again before the second mark; the second met that mark, and dies
    race.senders[0].finish()
    assert race.holds()
    race.senders[1].finish()
    assert race.holds()


def test_a_sender_that_dies_after_it_met_a_removal_leaves_nothing_wrong(stepped: Archive, clock: Clock) -> None:
    race = Race(stepped)
    race.play("1MD11")  # it has met the removal and put the object again
    race.play("M")
    assert race.holds()
    scrub(stepped, Manner(rate_mb_s=0, after=timedelta(0), clock=clock), actor="test")
    assert race.key not in set(stepped.objects.keys())
    race.senders[0].finish()
    assert race.holds()


# ------------------------------------------------------------------------------------------------ on a person's word
def _remove(kept: Archive, clock: Clock, **target: Any) -> removals.ObjectKey:
    told = {"study": STUDY, **target}
    return remove(kept, deletions.Target(**told), reason="wrong patient", actor="anna", clock=clock).tombstone


def _tombstones(kept: Archive) -> set[ObjectKey]:
    found = set()
    for key in kept.objects.keys():  # noqa: SIM118 - a method
        with kept.objects.open(key) as stream:
            if is_tombstone(stream.read(64)):
                found.add(key)
    return found


def _whole(kept: Archive) -> bool:
    return verify(kept).clean


def test_a_removed_study_leaves_a_tombstone_and_nothing_else(kept: Archive, clock: Clock) -> None:
    for number in (1, 2):
        keep(kept, header(number))
    keep(kept, header(1), b"put aside")
    keep(kept, header(9, study_instance_uid=StudyUid("2.25.9"), series_instance_uid=SeriesUid("2.25.9.1")))
    tombstone = read_tombstone(kept.objects, _remove(kept, clock))
    assert (tombstone.kind, tombstone.actor, tombstone.reason) == (Kind.REMOVED, "anna", "wrong patient")
    assert len(tombstone.objects) == 3
    assert len(set(kept.objects.keys())) == 2  # the tombstone, and the other study's
    assert _whole(kept)
    with kept.database.read() as tx:
        assert not studies.exists(tx, STUDY)
        assert studies.exists(tx, StudyUid("2.25.9"))
        audited = tx.execute(sa.select(schema.audit).order_by(schema.audit.c.seq)).all()
    audited_of = [(row.actor, row.action, row.subject) for row in audited]
    assert audited_of == [("dimse", "quarantined", "2.25.1.1.1"), ("anna", "removed", STUDY)]
    with pytest.raises(CatalogueUnknown):
        _remove(kept, clock)


def test_what_is_left_of_a_study_is_its_next_revision(kept: Archive, clock: Clock) -> None:
    for number in (1, 2, 3):
        keep(kept, header(number, series_instance_uid=SeriesUid(f"2.25.1.{1 + number // 3}")))
    with kept.database.write() as tx:
        studies.complete(tx, studies.get(tx, STUDY), reason="test", now=clock.go(5))
    _remove(kept, clock, series=SeriesUid("2.25.1.1"), instance=InstanceUid("2.25.1.1.1"))
    _remove(kept, clock, series=SeriesUid("2.25.1.2"))
    with kept.database.read() as tx:
        study = studies.get(tx, STUDY)
        (left,) = studies.instances_of(tx, STUDY)
        (series,) = studies.series_of(tx, [STUDY])[STUDY]
    assert (study.state, study.revision, study.instance_count, study.series_count) == (StudyState.RECEIVING, 2, 1, 1)
    assert (left.sop_instance_uid, left.revision, series.instance_count) == ("2.25.1.1.2", 2, 1)
    assert _whole(kept)


def test_a_removed_instance_that_is_sent_again_is_a_new_arrival(kept: Archive, clock: Clock) -> None:
    keep(kept, header())
    tombstone = _remove(kept, clock)
    assert keep(kept, header()) is Verdict.STORED
    found = _tombstones(kept)
    (lifted,) = [read_tombstone(kept.objects, key) for key in found - {tombstone}]
    assert (lifted.kind, lifted.answers) == (Kind.RETURNED, (tombstone,))
    assert _whole(kept)
    again = _remove(kept, clock)
    assert again not in found
    assert _whole(kept)


def test_a_removed_uid_with_other_bytes_is_a_new_arrival(kept: Archive, clock: Clock) -> None:
    keep(kept, header())
    _remove(kept, clock)
    assert keep(kept, header(), b"corrected") is Verdict.STORED
    assert _whole(kept)


@pytest.mark.parametrize("last", ["put", "rows"])
def test_a_removal_that_was_killed_is_finished_later(kept: Archive, clock: Clock, last: str) -> None:
    keep(kept, header())
    with pytest.raises(Exception, match="no power"):  # noqa: SIM117, PT012 - two concerns
        with pytest.MonkeyPatch.context() as patched:
            step = {"put": "storage.removal._delete_rows", "rows": "storage.removal.remove_object"}[last]
            patched.setattr(step, _no_power)
            _remove(kept, clock)
    if last == "put":
        _remove(kept, clock)
    scrub(kept, Manner(rate_mb_s=0, after=timedelta(0), clock=clock), actor="test")
    with kept.database.read() as tx:
        assert not studies.exists(tx, STUDY)
    assert len(set(kept.objects.keys())) == 1
    assert _whole(kept)


def _no_power(*_: object, **__: object) -> None:
    raise OSError("no power")


def test_an_instance_that_arrives_meanwhile_is_removed_too(kept: Archive, clock: Clock) -> None:
    keep(kept, header(1))
    with pytest.MonkeyPatch.context() as patched:
        from storage import tombstones

        put = tombstones.put

        def put_late(objects: ObjectStore, tombstone: tombstones.Tombstone) -> ObjectKey:
            keep(kept, header(2))
            return put(objects, tombstone)

        patched.setattr("storage.tombstones.put", put_late)
        _remove(kept, clock)
    with kept.database.read() as tx:
        assert not studies.exists(tx, STUDY)
    assert len(set(kept.objects.keys())) == 1  # no tombstone but the one that holds
    assert _whole(kept)


@pytest.mark.parametrize("content", [b"other content", b"2.25.1.1.1"])
def test_a_conflicting_copy_of_what_is_removed_meanwhile_is_a_new_arrival(
    kept: Archive, clock: Clock, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:  # D-26
    keep(kept, header(1))

    def removed_meanwhile(*_: object) -> bool:
        _remove(kept, clock)
        return False

    monkeypatch.setattr(kept, "_is_reencoded", removed_meanwhile)
    elsewhere = header(1, series_instance_uid=SeriesUid("2.25.1.2"))
    assert keep(kept, elsewhere, content) is Verdict.STORED
    with kept.database.read() as tx:
        (instance,) = studies.instances_of(tx, STUDY)
        assert quarantine.listed(tx, waiting=False) == []
    assert instance.series_instance_uid == "2.25.1.2"
    assert _whole(kept)

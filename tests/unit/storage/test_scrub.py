"""A scrub finds what is damaged, removes what nobody needs, and goes on where it was killed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storage import schema
from storage.archive import Archive
from storage.catalog import changes, damages, studies, upkeep
from storage.errors import CatalogueUnavailable, ObjectOnItsWay
from storage.records import ObjectKey, StudyUid, Verdict
from storage.removal import remove_object
from storage.scrub import Manner, scrub
from storage.turn import Stopped, UnderWay
from storage.verify import verify
from tests.builders import Clock, archive, header, keep

STUDY = StudyUid("2.25.1")
STRAY = ObjectKey("f" * 64)
DAY = 24 * 3600


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Archive:
    return archive(tmp_path, clock)


def _manner(clock: Clock, **settings: Any) -> Manner:
    return Manner(**{"rate_mb_s": 0, "clock": clock, **settings})


def _keys(kept: Archive) -> list[ObjectKey]:
    with kept.database.read() as tx:
        return [instance.object_key for instance in studies.instances_of(tx, STUDY)]


def _told(kept: Archive, kind: str) -> list[tuple[str | None, object]]:
    with kept.database.read() as tx:
        found = [change for change in changes.since(tx, 0) if change.kind == kind]
        audited = tx.execute(sa.select(schema.audit.c.subject).where(schema.audit.c.action == kind)).scalars().all()
    assert sorted(audited) == sorted(str(change.sop_instance_uid) for change in found)
    return [(change.sop_instance_uid, change.detail["damage"]) for change in found]


def test_a_flipped_byte_and_a_missing_object_are_found_told_once_and_kept(kept: Archive, clock: Clock) -> None:
    for number in (1, 2, 3):
        keep(kept, header(number))
    flipped, missing, _ = _keys(kept)
    whole = kept.objects._objects[flipped]
    kept.objects._objects[flipped] = whole[:-1] + b"!"
    gone = kept.objects._objects.pop(missing)
    for _ in range(2):
        found = scrub(kept, _manner(clock, after=timedelta(0)), actor="test")
        assert (found.checked, found.corrupt, found.missing, found.removed, found.clean) == (3, 1, 1, 0, False)
    told = [("2.25.1.1.1", "corrupt"), ("2.25.1.1.2", "missing")]
    assert sorted(_told(kept, "object-damaged")) == told
    assert flipped in kept.objects._objects
    with kept.database.read() as tx:
        assert {each.object_key for each in damages.known(tx)} == {flipped, missing}
    kept.objects._objects[flipped], kept.objects._objects[missing] = whole, gone
    found = scrub(kept, _manner(clock), actor="test")
    assert (found.restored, found.clean) == (2, True)
    assert len(_told(kept, "object-restored")) == 2
    with kept.database.read() as tx:
        assert damages.known(tx) == []


def test_what_is_on_its_way_elsewhere_is_not_missing(kept: Archive, clock: Clock) -> None:
    keep(kept, header())

    def elsewhere(_key: ObjectKey, **_: object) -> Any:
        raise ObjectOnItsWay

    kept.objects.open = elsewhere  # type: ignore[method-assign]
    found = scrub(kept, _manner(clock), actor="test")
    assert (found.checked, found.waiting, found.clean) == (0, 1, True)


def test_what_nobody_needs_is_removed_after_a_day_and_not_before(kept: Archive, clock: Clock) -> None:
    keep(kept, header())
    kept.objects._objects[STRAY] = b"left by a crash"
    assert scrub(kept, _manner(clock), actor="test").unreferenced == 1
    clock.go(DAY - 1)
    assert scrub(kept, _manner(clock), actor="test").removed == 0
    assert STRAY in kept.objects._objects
    clock.go(2)
    found = scrub(kept, _manner(clock), actor="test")
    assert (found.removed, found.clean) == (1, True)
    assert list(kept.objects.keys()) == _keys(kept)
    assert verify(kept).clean


def test_an_object_that_found_its_row_is_not_counted_from_before(kept: Archive, clock: Clock) -> None:
    keep(kept, header())
    (key,) = _keys(kept)
    with kept.database.write() as tx:
        rows = [dict(row._mapping) for row in tx.execute(sa.select(schema.instances))]
        tx.execute(sa.delete(schema.instances))
    scrub(kept, _manner(clock), actor="test")
    with kept.database.write() as tx:
        tx.execute(sa.insert(schema.instances), rows)
    clock.go(2 * DAY)
    assert scrub(kept, _manner(clock), actor="test").clean
    with kept.database.write() as tx:
        tx.execute(sa.delete(schema.instances))
    found = scrub(kept, _manner(clock), actor="test")
    assert (found.unreferenced, found.removed) == (1, 0)
    assert key in kept.objects._objects


def test_a_scrub_goes_on_where_it_was_stopped(kept: Archive, clock: Clock) -> None:
    for number in range(10):
        keep(kept, header(number))
    reads: list[ObjectKey] = []
    opened = kept.objects.open
    kept.objects.open = lambda key, **how: reads.append(key) or opened(key, **how)  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        scrub(kept, _manner(clock, stopped=lambda: len(reads) == 4), actor="test")
    found = scrub(kept, _manner(clock), actor="test")
    assert (found.checked, found.clean) == (10, True)
    assert sorted(set(reads)) == sorted(_keys(kept))
    assert len(reads) <= 11  # the one under way may be read again


def test_a_killed_scrub_is_taken_over_once_its_lease_is_over(kept: Archive, clock: Clock) -> None:
    keep(kept, header())
    with kept.database.write() as tx:
        upkeep.claim(tx, "scrub", owner="elsewhere:1:1", now=clock.now, is_dead=lambda _: False)
    with pytest.raises(UnderWay):
        scrub(kept, _manner(clock), actor="test")
    clock.go(upkeep.LEASE.total_seconds() + 1)
    assert scrub(kept, _manner(clock), actor="test").clean


def test_a_scrub_whose_process_is_gone_from_this_machine_is_taken_over_at_once(kept: Archive, clock: Clock) -> None:
    import socket

    keep(kept, header())
    with kept.database.write() as tx:
        owner = f"{socket.gethostname()}:{2**22 + 1}:1"  # above the largest process id
        upkeep.claim(tx, "scrub", owner=owner, now=clock.now, is_dead=lambda _: False)
    assert scrub(kept, _manner(clock), actor="test").clean


def test_reading_keeps_to_the_rate(kept: Archive, clock: Clock) -> None:
    for number in range(4):
        keep(kept, header(number), bytes([number]) * 1_000_000)
    slept: list[float] = []
    scrub(kept, _manner(clock, rate_mb_s=0.001, sleep=slept.append), actor="test")
    assert 3900 < max(slept) <= 4000  # 4 MB at 1 kB/s, less what the reading itself took


def test_a_marked_object_that_a_row_needs_all_the_same_is_not_removed(kept: Archive, clock: Clock) -> None:
    keep(kept, header())
    (key,) = _keys(kept)
    with kept.database.write() as tx:
        row = {"object_key": key, "state": "MARKED", "since": clock.now, "stamp": "x"}
        tx.execute(sa.insert(schema.removals), row)
    assert not remove_object(kept, key, now=clock.now)
    assert scrub(kept, _manner(clock, after=timedelta(0)), actor="test").removed == 0
    assert key in kept.objects._objects


def test_a_removal_that_cannot_hold_the_catalogue_is_left_for_later(
    kept: Archive, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.objects._objects[STRAY] = b"left by a crash"

    def held(_tx: object) -> None:
        raise CatalogueUnavailable

    with monkeypatch.context() as patched:
        patched.setattr("storage.catalog.removals.exclude_senders", held)
        found = scrub(kept, _manner(clock, after=timedelta(0)), actor="test")
        assert (found.postponed, found.removed) == (1, 0)
    assert scrub(kept, _manner(clock, after=timedelta(0)), actor="test").removed == 1


def test_a_resend_after_a_removal_is_put_again(kept: Archive, clock: Clock) -> None:
    kept.objects._objects.clear()
    with pytest.raises(Exception, match="no power"):
        _keep_but_for_the_row(kept)
    assert scrub(kept, _manner(clock, after=timedelta(0)), actor="test").removed == 1
    assert keep(kept, header()) is Verdict.STORED
    assert verify(kept).clean


def _keep_but_for_the_row(kept: Archive) -> None:
    submit = kept._commits.submit
    kept._commits.submit = _no_power  # type: ignore[method-assign]
    try:
        keep(kept, header())
    finally:
        kept._commits.submit = submit  # type: ignore[method-assign]


def _no_power(_: object) -> Any:
    raise OSError("no power")


# --------------------------------------------------------------------------------------------------------- checksums
def test_checksums_that_were_not_noted_are_noted_where_the_object_is_whole(kept: Archive, clock: Clock) -> None:
    for number in (1, 2, 3):
        keep(kept, header(number))
    with kept.database.read() as tx:
        before = [instance.checksum for instance in studies.instances_of(tx, STUDY)]
    first, second, _ = _keys(kept)
    with kept.database.write() as tx:
        these = schema.instances.c.object_key.in_([first, second])
        tx.execute(sa.update(schema.instances).where(these).values(checksum=None))
    kept.objects._objects[second] += b"!"
    assert scrub(kept, _manner(clock), actor="test").corrupt == 1
    with kept.database.read() as tx:
        after = [instance.checksum for instance in studies.instances_of(tx, STUDY)]
    assert after == [before[0], None, before[2]]


def test_a_scrub_goes_by_the_sha_256_whatever_the_checksum_says(kept: Archive, clock: Clock) -> None:
    keep(kept, header(1))
    with kept.database.write() as tx:
        tx.execute(sa.update(schema.instances).values(checksum=b"another"))
    assert scrub(kept, _manner(clock), actor="test").clean

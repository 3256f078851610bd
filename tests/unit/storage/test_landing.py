"""What a landing zone promises: nothing acknowledged is lost, nothing is believed that was not read back."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pacs_gateway.part10 import read_meta
from pacs_gateway.reread import read_object
from storage.archive import Archive
from storage.catalog import landings, removals, studies
from storage.catalog.deletions import Target
from storage.errors import LandingFull, ObjectMissing, ObjectOnItsWay, ObjectStoreUnavailable
from storage.rebuild import rebuild
from storage.records import Arrival, InstanceRecord, ObjectKey, Origin, StudyUid, Verdict
from storage.removal import remove
from storage.spool import Spool
from storage.verify import verify
from tests.builders import START, Clock, ct_slice, header, keep, keep_data_set, part10
from tests.landed import AT_ONCE, MoodyStore, close_all, elsewhere, landed_archive, upload, uploader

STUDY = StudyUid("2.25.1")


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def store() -> MoodyStore:
    return MoodyStore()


@pytest.fixture
def kept(tmp_path: Path, store: MoodyStore) -> Archive:
    return landed_archive(tmp_path, store)


def _instances(kept: Archive) -> list[InstanceRecord]:
    with kept.database.read() as tx:
        return studies.instances_of(tx, STUDY)


def _pending(kept: Archive) -> set[ObjectKey]:
    with kept.database.read() as tx:
        return set(landings.pending(tx))


def _here(kept: Archive) -> set[ObjectKey]:
    assert kept.landing is not None
    return set(kept.landing.objects.keys())


def _read(kept: Archive, instance: InstanceRecord) -> bytes:
    return b"".join(kept.chunks(instance))


def _keep(kept: Archive, number: int = 1, *, meta: int = 132, content: bytes = b"data set") -> Verdict:
    """Keep an instance whose file meta is `meta` bytes long, as senders with other AE titles make it."""
    told = header(number)
    with Spool(kept.spool_folder) as spool:
        spool.write_meta(b"\0" * meta)
        spool.write(content)
        arrival = Arrival(
            key=spool.key, size_bytes=spool.size_bytes, meta_bytes=meta, header=told, origin=Origin(via="dimse")
        )
        return kept.keep(spool, arrival)


# ------------------------------------------------------------------------------------------------- store and forward
def test_what_lands_while_the_object_store_is_away_is_kept_read_and_later_there(
    kept: Archive, store: MoodyStore
) -> None:
    store.away = True
    for number in range(1, 6):
        assert keep(kept, header(number)) is Verdict.STORED
    before = {instance.object_key: _read(kept, instance) for instance in _instances(kept)}
    assert _pending(kept) == _here(kept) == set(before)
    upload(kept)
    assert _pending(kept) == set(before)
    store.away = False
    upload(kept)
    assert (_pending(kept), _here(kept), set(store.keys())) == (set(), set(), set(before))
    assert {instance.object_key: _read(kept, instance) for instance in _instances(kept)} == before
    assert verify(kept).clean


def test_oldest_goes_first_and_the_failed_attempts_are_counted(tmp_path: Path, store: MoodyStore) -> None:
    clock = Clock()
    kept = landed_archive(tmp_path, store, clock=clock)
    for number in (3, 1, 2):
        keep(kept, header(number))
        clock.go(1)
    by_number = {instance.instance_number: instance.object_key for instance in _instances(kept)}
    store.away = True
    upload(kept, clock=clock)
    assert kept.landing is not None
    with kept.database.read() as tx:
        due = landings.due(tx, kept.landing.place, now=clock.now, limit=9)
        (backlog,) = landings.backlogs(tx)
    assert [each.object_key for each in due] == [by_number[number] for number in (3, 1, 2)]
    assert (due[0].attempts, due[0].last_error) == (1, "ObjectStoreUnavailable")
    assert (backlog.objects, backlog.oldest, backlog.attempts) == (3, START, 1)


@pytest.mark.parametrize("spoil", [lambda content: content[:-1], lambda content: content[:-1] + b"!", lambda _: b""])
def test_a_store_that_lies_is_noticed_by_reading_back_and_gets_it_again(
    kept: Archive, store: MoodyStore, spoil: object, caplog: pytest.LogCaptureFixture
) -> None:
    keep(kept, header())
    (instance,) = _instances(kept)
    clock = Clock()
    store.spoil = spoil  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR):
        upload(kept, clock=clock)
    assert (_pending(kept), _here(kept), set(store.keys())) == ({instance.object_key}, {instance.object_key}, set())
    assert [getattr(line, "action", "") for line in caplog.records] == ["upload-failed"]
    store.spoil = bytes
    upload(kept, clock=clock)
    assert _pending(kept) == {instance.object_key}  # it waits a little before it is tried again
    clock.go(2)
    upload(kept, clock=clock)
    assert (_pending(kept), _here(kept)) == (set(), set())
    assert _read(kept, instance).endswith(b"2.25.1.1.1")


def test_a_copy_that_rots_in_the_landing_zone_is_not_uploaded(kept: Archive, store: MoodyStore, tmp_path: Path) -> None:
    keep(kept, header())
    (key,) = _here(kept)
    path = tmp_path / "landing" / "objects" / key[:2] / key
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    upload(kept)
    assert (_pending(kept), set(store.keys())) == ({key}, set())


def test_a_clock_that_is_set_back_does_not_stop_the_uploads(kept: Archive, store: MoodyStore) -> None:
    keep(kept, header())
    clock = Clock()
    clock.go(10 * 86400)
    store.spoil = lambda _: b""
    upload(kept, clock=clock)
    clock.go(-10 * 86400)
    store.spoil = bytes
    upload(kept, clock=clock)
    assert _pending(kept) == set()


# ------------------------------------------------------------------------------------------------------------ limits
def test_a_full_landing_zone_refuses_in_words_and_recovers(tmp_path: Path, store: MoodyStore) -> None:
    kept = landed_archive(tmp_path, store, limit_bytes=1000)
    store.away = True
    _keep(kept, 1, content=b"1" * 700)
    with pytest.raises(LandingFull, match="limit is 1000"):
        _keep(kept, 2, content=b"2" * 700)
    assert _keep(kept, 1, content=b"1" * 700) is Verdict.DUPLICATE
    assert len(_instances(kept)) == 1
    store.away = False
    upload(kept)
    upload(kept)
    kept.admit()
    assert _keep(kept, 2, content=b"2" * 700) is Verdict.STORED


def test_nothing_begins_to_arrive_at_the_limit(tmp_path: Path, store: MoodyStore) -> None:
    kept = landed_archive(tmp_path, store, limit_bytes=832)
    kept.admit()
    _keep(kept, 1, content=b"1" * 700)
    with pytest.raises(LandingFull):
        kept.admit()


def test_another_process_counts_what_this_one_took(tmp_path: Path, store: MoodyStore) -> None:
    first, second = (landed_archive(tmp_path, store, limit_bytes=832) for _ in range(2))
    _keep(first, 1, content=b"1" * 700)
    assert second.landing is not None
    second.landing.recount(second.database)
    with pytest.raises(LandingFull):
        second.admit()


# ------------------------------------------------------------------------------------------------------ sent again
def test_a_repeated_send_of_what_is_uploaded_leaves_nothing_here(kept: Archive) -> None:
    _keep(kept)
    upload(kept)
    assert _keep(kept) is Verdict.DUPLICATE
    assert (_pending(kept), _here(kept)) == (set(), set())


@pytest.mark.parametrize("uploaded", [False, True])
def test_a_repeated_send_with_another_length_of_file_meta_changes_nothing(kept: Archive, *, uploaded: bool) -> None:
    _keep(kept, meta=132)
    if uploaded:
        upload(kept)
    assert _keep(kept, meta=150) is Verdict.DUPLICATE
    (instance,) = _instances(kept)
    assert _read(kept, instance) == b"\0" * 132 + b"data set"


def test_while_a_repeated_send_lies_here_the_store_is_read(kept: Archive) -> None:
    _keep(kept, meta=132)
    upload(kept)
    (instance,) = _instances(kept)
    assert kept.landing is not None
    with Spool(kept.spool_folder) as spool:  # as far as a repeated send comes before its row is looked at
        spool.write_meta(b"\0" * 150)
        spool.write(b"data set")
        kept.landing.objects.put(instance.object_key, spool.reader())
    assert _read(kept, instance) == b"\0" * 132 + b"data set"


def test_rows_are_told_where_the_store_had_the_data_set_with_other_file_meta(kept: Archive, store: MoodyStore) -> None:
    _keep(kept, meta=132)
    (before,) = _instances(kept)
    store.put(before.object_key, io.BytesIO(b"\0" * 200 + b"data set"))
    upload(kept)
    (after,) = _instances(kept)
    assert after == replace(before, meta_bytes=200, size_bytes=208)
    assert _read(kept, after) == b"\0" * 200 + b"data set"


def test_a_repeated_send_heals_an_object_that_the_store_has_lost(kept: Archive, store: MoodyStore) -> None:
    _keep(kept)
    upload(kept)
    (instance,) = _instances(kept)
    store.remove(instance.object_key)
    assert _keep(kept) is Verdict.DUPLICATE
    upload(kept)
    assert set(store.keys()) == {instance.object_key}
    assert _pending(kept) == set()


def test_a_repeated_send_to_another_host_heals_a_landing_zone_that_is_gone(tmp_path: Path, store: MoodyStore) -> None:
    gone = landed_archive(tmp_path, store, name="gone")
    _keep(gone, meta=132)
    other = landed_archive(tmp_path, store, name="other")
    assert _keep(other, meta=150) is Verdict.DUPLICATE
    upload(other)
    (instance,) = _instances(other)
    assert _pending(other) == set()
    assert _read(other, instance) == b"\0" * 150 + b"data set"


def test_a_conflicting_copy_is_uploaded_too_and_once(kept: Archive, store: MoodyStore) -> None:
    _keep(kept, content=b"first")
    assert _keep(kept, content=b"second") is Verdict.CONFLICT
    upload(kept)
    assert _keep(kept, content=b"second", meta=150) is Verdict.CONFLICT
    assert (_pending(kept), _here(kept), len(set(store.keys()))) == (set(), set(), 2)
    assert verify(kept).clean


# ---------------------------------------------------------------------------------------------------- other hosts
def test_another_host_says_on_its_way_until_it_is_there(tmp_path: Path, kept: Archive, store: MoodyStore) -> None:
    keep(kept, header())
    (instance,) = _instances(kept)
    far = elsewhere(tmp_path, store)
    with pytest.raises(ObjectOnItsWay, match="landing zone of"):
        far.open(instance)
    with pytest.raises(ObjectOnItsWay), far.database.read() as tx:
        far.check_readable(tx, [instance])
    with kept.database.read() as tx:
        kept.check_readable(tx, [instance])
    report = verify(far)
    assert (report.clean, report.checked, report.waiting) == (True, 0, 1)
    upload(kept)
    assert _read(far, instance).endswith(b"2.25.1.1.1")
    with far.database.read() as tx:
        far.check_readable(tx, [instance])


def test_an_object_that_nobody_has_is_missing_on_every_host(tmp_path: Path, kept: Archive, store: MoodyStore) -> None:
    for archive in (kept, elsewhere(tmp_path, store)):
        with pytest.raises(ObjectMissing):
            archive.objects.open(ObjectKey("0" * 64))


def test_what_the_store_may_be_held_to_is_what_was_read_back(kept: Archive) -> None:
    keep(kept, header(1))
    upload(kept)
    keep(kept, header(2))
    keys = [instance.object_key for instance in _instances(kept)]
    with kept.database.read() as tx:
        assert landings.in_store(tx, [*keys, ObjectKey("0" * 64)]) == {keys[0]}
        assert [landings.is_pending(tx, key) for key in keys] == [False, True]


# --------------------------------------------------------------------------------------------- crashes and leftovers
def test_one_process_uploads_and_the_next_goes_on_when_it_ends(tmp_path: Path, store: MoodyStore) -> None:
    kept = landed_archive(tmp_path, store)
    first, second = uploader(kept), uploader(landed_archive(tmp_path, store))
    first.step()
    keep(kept, header())
    second.step()
    assert len(_pending(kept)) == 1
    first.stop()
    second.step()
    assert _pending(kept) == set()
    second.stop()


def test_a_file_whose_row_was_never_committed_is_taken_in(kept: Archive, store: MoodyStore) -> None:
    key = _leave(kept)
    assert _instances(kept) == []
    upload(kept)
    (instance,) = _instances(kept)
    assert instance.object_key == key
    upload(kept)
    assert (_pending(kept), _here(kept), set(store.keys())) == (set(), set(), {key})
    assert verify(kept).clean


def test_a_file_that_was_uploaded_before_the_crash_goes(kept: Archive, store: MoodyStore) -> None:
    keep_data_set(kept, ct_slice())
    (instance,) = _instances(kept)
    upload(kept)
    assert _leave(kept) == instance.object_key
    upload(kept)
    assert (_pending(kept), _here(kept), _instances(kept)) == (set(), set(), [instance])


def test_a_file_whose_object_was_removed_on_purpose_does_not_come_back(kept: Archive) -> None:
    key = _leave(kept)
    with kept.database.write() as tx:
        removals.mark(tx, [key], tombstone=None, now=START)
    upload(kept)
    assert (_here(kept), _instances(kept)) == (set(), [])


def test_a_file_that_may_be_arriving_is_left_alone(kept: Archive) -> None:
    key = _leave(kept)
    upload(kept, pace=replace(AT_ONCE, settle_s=300.0))
    assert (_here(kept), _instances(kept)) == ({key}, [])


def test_nothing_is_judged_while_the_object_store_is_away(kept: Archive, store: MoodyStore) -> None:
    key = _leave(kept)
    store.away = True
    upload(kept)
    assert (_here(kept), _instances(kept)) == ({key}, [])


def test_a_lost_catalogue_does_not_lose_what_has_landed(tmp_path: Path, kept: Archive, store: MoodyStore) -> None:
    keep_data_set(kept, ct_slice())
    (before,) = _instances(kept)
    kept.close()
    for path in tmp_path.glob("catalogue.sqlite*"):
        path.unlink()
    again = landed_archive(tmp_path, store)
    upload(again)
    upload(again)
    (after,) = _instances(again)
    assert (after.object_key, after.meta_bytes) == (before.object_key, before.meta_bytes)
    assert set(store.keys()) == {before.object_key}


def test_a_rebuild_reads_what_has_landed_and_the_uploader_then_brings_it_on(
    tmp_path: Path, kept: Archive, store: MoodyStore
) -> None:
    keep_data_set(kept, ct_slice(1))
    upload(kept)
    keep_data_set(kept, ct_slice(2))
    before = _instances(kept)
    kept.close()
    for path in tmp_path.glob("catalogue.sqlite*"):
        path.unlink()
    again = landed_archive(tmp_path, store)
    figures = rebuild(again, read_object)
    assert (figures.entered, figures.unreadable) == (2, 0)
    assert [(each.object_key, each.meta_bytes) for each in _instances(again)] == [
        (each.object_key, each.meta_bytes) for each in before
    ]
    upload(again)
    upload(again)
    assert (_here(again), set(store.keys())) == (set(), {each.object_key for each in before})
    assert verify(again).clean


def test_a_removed_study_goes_from_the_landing_zone_and_a_resend_brings_it_back(
    kept: Archive, store: MoodyStore
) -> None:
    keep_data_set(kept, ct_slice())
    remove(kept, Target(study=STUDY), reason="wrong patient", actor="a person")
    assert (_here(kept), _pending(kept), _instances(kept)) == (set(), set(), [])
    upload(kept)
    assert keep_data_set(kept, ct_slice()) is Verdict.STORED
    (instance,) = _instances(kept)
    assert _pending(kept) == {instance.object_key}
    upload(kept)
    assert instance.object_key in set(store.keys())
    assert _read(kept, instance) == part10(ct_slice())


def test_a_landing_zone_is_the_same_after_a_restart(tmp_path: Path, store: MoodyStore) -> None:
    places = {landed_archive(tmp_path, store).landing.place for _ in range(3)}  # type: ignore[union-attr]
    assert len(places) == 1


def test_readiness_is_the_landing_zones_not_the_stores(tmp_path: Path, kept: Archive, store: MoodyStore) -> None:
    store.away = True
    kept.objects.ping()
    with pytest.raises(ObjectStoreUnavailable):
        elsewhere(tmp_path, store).objects.ping()


# ---------------------------------------------------------------------------------------------------------- helpers
def _leave(kept: Archive) -> ObjectKey:
    """Leave an object as a crash between object and row does."""
    assert kept.landing is not None
    content = part10(ct_slice())
    key = ObjectKey(hashlib.sha256(content[read_meta(content).length :]).hexdigest())
    kept.landing.objects.put(key, io.BytesIO(content))
    return key

"""What the archive promises of an arriving instance."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage import schema
from storage.adapters import open_store
from storage.archive import Archive
from storage.catalog import changes, studies
from storage.database import Database
from storage.errors import ObjectCorrupt, Unavailable
from storage.migrate import migrate
from storage.records import InstanceUid, ObjectKey, SeriesUid, StudyState, StudyUid, Verdict
from storage.verify import verify
from tests.builders import Clock, archive, ct_slice, header, keep, keep_data_set

STUDY = StudyUid("2.25.1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Archive:
    return archive(tmp_path, clock)


def _study(kept: Archive):
    with kept.database.read() as tx:
        return studies.get(tx, STUDY)


def _kinds(kept: Archive) -> list[str]:
    with kept.database.read() as tx:
        return [change.kind for change in changes.since(tx, 0)]


def test_a_kept_instance_comes_back_byte_for_byte(kept: Archive) -> None:
    assert keep(kept, header(), b"data set") is Verdict.STORED
    with kept.database.read() as tx:
        (instance,) = studies.instances_of(tx, STUDY)
    with kept.open_data_set(instance) as stream:
        assert stream.read() == b"data set"
    assert b"".join(kept.chunks(instance)) == b"\0" * 132 + b"data set"


@pytest.mark.parametrize("store", ["memory:", "dir://{folder}/store"])
def test_an_object_that_a_crash_left_serves_a_sender_whose_file_meta_is_longer(tmp_path: Path, store: str) -> None:
    objects = open_store(store.format(folder=tmp_path))
    database = Database(f"sqlite:///{tmp_path}/catalogue.sqlite")
    migrate(database)
    kept = Archive(objects=objects, database=database, spool_folder=tmp_path)
    left = b"\0" * 150 + b"data set"
    objects.put(ObjectKey(hashlib.sha256(b"data set").hexdigest()), io.BytesIO(left))
    assert keep(kept, header(), b"data set") is Verdict.STORED
    with database.read() as tx:
        (instance,) = studies.instances_of(tx, STUDY)
    assert (b"".join(kept.chunks(instance)), instance.size_bytes) == (left, len(left))
    assert verify(kept).clean
    kept.close()


def test_the_same_instance_again_changes_nothing(kept: Archive) -> None:
    keep(kept, header())
    before = _study(kept), _kinds(kept), sorted(kept.objects.keys())
    assert keep(kept, header()) is Verdict.DUPLICATE
    assert (_study(kept), _kinds(kept), sorted(kept.objects.keys())) == before


def test_another_content_under_a_kept_uid_is_put_aside_once(kept: Archive) -> None:
    keep(kept, header(), b"first")
    assert keep(kept, header(), b"second") is Verdict.CONFLICT
    assert keep(kept, header(), b"second") is Verdict.CONFLICT
    assert _kinds(kept) == ["instance-stored", "instance-quarantined"]
    assert verify(kept).clean
    assert _study(kept).instance_count == 1
    with kept.database.read() as tx:
        (line,) = tx.execute(sa.select(schema.audit)).all()
    assert (line.actor, line.action, line.subject) == ("dimse", "quarantined", header().sop_instance_uid)


def test_a_kept_uid_under_another_study_is_put_aside(kept: Archive) -> None:
    keep(kept, header(), b"same bytes")
    elsewhere = header(study_instance_uid=StudyUid("2.25.9"))
    assert keep(kept, elsewhere, b"same bytes") is Verdict.CONFLICT
    with kept.database.read() as tx:
        assert not studies.exists(tx, StudyUid("2.25.9"))


def test_a_reencoded_resend_is_noted_and_the_first_kept(kept: Archive) -> None:
    first = ct_slice()
    keep_data_set(kept, first)
    again = ct_slice()
    again.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"  # implicit VR: other bytes, same content
    assert keep_data_set(kept, again) is Verdict.OTHER_SYNTAX
    assert _kinds(kept) == ["instance-stored", "instance-resent"]
    changed = ct_slice(PatientName="Another^Person")
    changed.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    assert keep_data_set(kept, changed) is Verdict.CONFLICT


def test_concurrent_senders_share_one_study_row(kept: Archive) -> None:
    def send(first: int) -> None:
        for number in range(first, first + 10):
            keep(kept, header(number, series_instance_uid=SeriesUid(f"2.25.1.{number % 3}")))

    senders = [threading.Thread(target=send, args=(10 * each,)) for each in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    study = _study(kept)
    assert (study.instance_count, study.series_count, study.revision) == (40, 3, 1)
    with kept.database.read() as tx:
        assert len(studies.instances_of(tx, STUDY)) == 40
        assert sorted(each.instance_count for each in studies.series_of(tx, [STUDY])[STUDY]) == [13, 13, 14]
        assert [change.seq for change in changes.since(tx, 0)] == list(range(1, 41))


def test_racing_copies_of_one_uid_have_one_winner(kept: Archive) -> None:
    verdicts: list[Verdict] = []

    def send(content: bytes) -> None:
        verdicts.append(keep(kept, header(), content))

    senders = [threading.Thread(target=send, args=(b"content %d" % number,)) for number in range(20)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert sorted(verdicts) == [Verdict.CONFLICT] * 19 + [Verdict.STORED]
    assert _study(kept).instance_count == 1


def test_another_patient_id_flags_the_study_and_merges_nothing(kept: Archive) -> None:  # D-25
    keep(kept, header(1))
    assert not _study(kept).identity_conflict
    keep(kept, header(2, patient_id="P2"))
    study = _study(kept)
    assert (study.identity_conflict, study.patient_id) == (True, "P1")


def test_a_resend_after_completion_opens_nothing(kept: Archive, clock: Clock) -> None:  # D-26
    keep(kept, header(1))
    with kept.database.write() as tx:
        studies.complete(tx, studies.get(tx, STUDY), reason="test", now=clock.go(5))
    before = _study(kept)
    clock.go(60)
    assert keep(kept, header(1)) is Verdict.DUPLICATE
    assert keep(kept, header(1), b"other content") is Verdict.CONFLICT
    assert _study(kept) == before


def test_a_late_instance_opens_the_next_revision(kept: Archive, clock: Clock) -> None:  # D-26
    keep(kept, header(1))
    with kept.database.write() as tx:
        studies.complete(tx, studies.get(tx, STUDY), reason="test", now=clock.go(5))
    assert _study(kept).state is StudyState.COMPLETE
    clock.go(60)
    keep(kept, header(2))
    study = _study(kept)
    assert (study.state, study.revision, study.longest_gap_s) == (StudyState.RECEIVING, 2, 0.0)
    assert _kinds(kept) == ["instance-stored", "study-complete", "study-reopened", "instance-stored"]


def test_what_we_wrote_ourselves_never_reopens_a_study(kept: Archive, clock: Clock) -> None:
    keep(kept, header(1))
    with kept.database.write() as tx:
        studies.complete(tx, studies.get(tx, STUDY), reason="test", now=clock.go(5))
    keep(kept, header(2), via="self")
    assert (_study(kept).state, _study(kept).revision, _study(kept).instance_count) == (StudyState.COMPLETE, 1, 2)


def test_completion_gives_way_to_an_instance_that_came_meanwhile(kept: Archive, clock: Clock) -> None:
    keep(kept, header(1))
    seen = _study(kept)
    clock.go(1)
    keep(kept, header(2))
    with kept.database.write() as tx:
        assert studies.complete(tx, seen, reason="test", now=clock.now) is None
    assert _study(kept).state is StudyState.RECEIVING


def test_the_first_completion_time_never_moves(kept: Archive, clock: Clock) -> None:
    keep(kept, header(1))
    for number in (2, 3):
        with kept.database.write() as tx:
            studies.complete(tx, studies.get(tx, STUDY), reason="test", now=clock.go(10))
        keep(kept, header(number))
    assert _study(kept).ready_at == Clock().go(10)


def test_a_failed_catalogue_is_told_to_the_sender(kept: Archive) -> None:
    kept.database.close()
    kept.database._engine.pool._creator = _no_database  # the driver's connect, the outermost edge
    with pytest.raises(Unavailable):
        keep(kept, header())


def _no_database(*_: object) -> object:
    import sqlite3

    raise sqlite3.OperationalError("disk I/O error")


def test_one_bad_item_fails_only_its_own_sender(kept: Archive) -> None:
    errors: list[BaseException] = []

    def send(number: int) -> None:
        try:
            bad = {"instance_number": 2**70} if number == 3 else {}  # no database holds it
            keep(kept, header(number, **bad))
        except OverflowError as error:
            errors.append(error)

    senders = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(errors) == 1
    assert _study(kept).instance_count == 7


def test_verify_tells_missing_corrupt_and_unreferenced_apart(kept: Archive) -> None:
    for number in (1, 2, 3):
        keep(kept, header(number))
    with kept.database.read() as tx:
        first, second, _ = (instance.object_key for instance in studies.instances_of(tx, STUDY))
    kept.objects.remove(first)
    kept.objects._objects[second] += b"!"
    stray = ObjectKey("f" * 64)
    kept.objects._objects[stray] = b"left by a crash"
    report = verify(kept)
    assert (report.missing, report.corrupt, report.unreferenced) == ((first,), (second,), (stray,))
    with kept.database.read() as tx:
        (damaged,) = studies.instances_of(tx, STUDY, instance=InstanceUid("2.25.1.1.2"))
    with pytest.raises(ObjectCorrupt):
        list(kept.chunks(damaged))

"""A rejection note hides what it refers to, once, whatever comes first and whoever dies in between.  W-70."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

from pacs_gateway.ingest import Ingest
from pacs_gateway.rejection_note import read_note, told_by
from pacs_gateway.reread import read_object
from storage import hiding, rejection, schema
from storage.archive import Archive
from storage.catalog import hidden, rejections, studies
from storage.catalog.deletions import Target
from storage.catalog.rejections import State
from storage.errors import CatalogueUnknown, ObjectOnItsWay
from storage.records import InstanceUid, Origin, StudyUid, Verdict
from storage.rejection import Told
from storage.verify import verify
from tests.builders import Clock, archive, ct_slice, part10
from tests.notes import key_objects

STUDY = StudyUid("2.25.1")
NOTE = "2.25.1.9.1"
_FROM = Origin(via="dimse", calling_aet="PACS2", called_aet="ROI", address="10.0.0.7")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Iterator[Archive]:
    made = archive(tmp_path, clock)
    yield made
    made.close()


def uid(number: int) -> InstanceUid:
    return InstanceUid(f"2.25.1.1.{number}")


def take(kept: Archive, *data_sets: Dataset) -> list[Verdict]:
    """Take these in, one second after the last."""
    clock: Any = kept._clock
    clock.go(1)
    return [Ingest(kept, clock=clock).part10(io.BytesIO(part10(each)), _FROM)[0] for each in data_sets]


def apply(kept: Archive) -> int:
    return rejection.apply_waiting(kept, _told, read_object, clock=kept._clock)


def _told(kept: Archive, note: rejections.Note) -> Told:
    """Read a note here: that a child does so is another test's."""
    import pydicom

    with kept.objects.open(note.object_key) as stream:
        return told_by(pydicom.dcmread(io.BytesIO(stream.read())))


def in_sight(kept: Archive, study: StudyUid = STUDY) -> list[str]:
    with kept.database.read() as tx:
        return sorted(each.sop_instance_uid for each in studies.instances_of(tx, study))


def notes(kept: Archive) -> list[tuple[str, str, dict[str, int]]]:
    with kept.database.read() as tx:
        rows = tx.execute(sa.select(schema.rejection_notes).order_by(schema.rejection_notes.c.received_at)).all()
    return [(row.state, row.code, row.figures) for row in rows]


@pytest.mark.parametrize("code", ["113001", "113037", "113038", "113039"])
def test_a_note_hides_what_it_refers_to_and_nothing_else(kept: Archive, code: str) -> None:
    take(kept, *(ct_slice(number) for number in (1, 2, 3)), key_objects(code, [uid(1), uid(3)]))
    assert in_sight(kept) == [uid(1), uid(2), uid(3), NOTE]
    assert rejection.apply_waiting(kept, read_note, read_object, clock=kept._clock) == 1
    assert in_sight(kept) == [uid(2), NOTE]
    with kept.database.read() as tx:
        (row, _) = hidden.listed(tx)
        line = tx.execute(sa.select(schema.audit)).one()
    assert (row.code, row.hidden_by) == (code, "PACS2")
    assert (line.actor, line.action, line.subject, line.detail["code"]) == ("PACS2", "hidden", NOTE, code)
    assert notes(kept) == [("APPLIED", code, {"hidden": 2, "awaited": 0, "passed_over": 0})]
    assert verify(kept).clean


def test_key_objects_of_interest_hide_nothing(kept: Archive) -> None:
    take(kept, ct_slice(1), key_objects("113000", [uid(1)]))
    assert apply(kept) == 1
    assert in_sight(kept) == [uid(1), NOTE]
    assert notes(kept) == [("IGNORED", "", {})]


@pytest.mark.parametrize("code", ["113001", "113037", "113038"])
def test_what_comes_after_its_rejection_is_hidden_as_it_comes(kept: Archive, code: str) -> None:
    take(kept, key_objects(code, [uid(1), uid(2)]))
    apply(kept)
    assert take(kept, ct_slice(1), ct_slice(3)) == [Verdict.HIDDEN, Verdict.STORED]
    assert take(kept, ct_slice(1)) == [Verdict.HIDDEN]
    assert in_sight(kept) == [uid(3), NOTE]
    assert notes(kept)[0][2] == {"hidden": 0, "awaited": 2, "passed_over": 0}
    assert verify(kept).clean
    back = hiding.restore(kept, Target(study=STUDY), read_object, actor="anna", reason="test", clock=kept._clock)
    assert (back.instances, back.forgotten) == (1, 1)
    assert in_sight(kept) == [uid(1), uid(3), NOTE]
    assert take(kept, ct_slice(2)) == [Verdict.STORED]


def test_what_comes_after_the_retention_of_others_had_expired_is_new(kept: Archive) -> None:
    take(kept, ct_slice(1), ct_slice(3), key_objects("113039", [uid(1), uid(2)]))
    apply(kept)
    assert in_sight(kept) == [uid(3), NOTE]
    assert take(kept, ct_slice(1), ct_slice(2)) == [Verdict.STORED, Verdict.STORED]
    assert in_sight(kept) == [uid(1), uid(2), uid(3), NOTE]


def test_a_note_speaks_of_no_other_study(kept: Archive) -> None:
    other = {"StudyInstanceUID": "2.25.7", "SeriesInstanceUID": "2.25.7.1", "SOPInstanceUID": "2.25.7.1.1"}
    take(kept, ct_slice(1), ct_slice(1, **other))
    # The evidence says that the other study's instance, and one that has not come, are the note's own.
    take(kept, key_objects("113001", ["2.25.7.1.1", "2.25.7.1.2"]))
    apply(kept)
    later = {**other, "SOPInstanceUID": "2.25.7.1.2"}
    assert take(kept, ct_slice(2, **later)) == [Verdict.STORED]
    assert in_sight(kept, StudyUid("2.25.7")) == ["2.25.7.1.1", "2.25.7.1.2"]
    hiding.hide(kept, Target(study=StudyUid("2.25.7")), hiding.Word(actor="anna", reason="test"), read_object)
    assert in_sight(kept, StudyUid("2.25.7")) == []


def test_notes_that_are_all_that_is_left_go_with_the_rest(kept: Archive) -> None:
    take(kept, ct_slice(1), ct_slice(2), key_objects("113001", [uid(1)]))
    apply(kept)
    take(kept, key_objects("113037", [uid(2)], uid="2.25.1.9.2"))
    apply(kept)
    with kept.database.read() as tx:
        assert not studies.exists(tx, STUDY)
    assert verify(kept).clean
    take(kept, ct_slice(3))
    assert in_sight(kept) == [uid(3)]


def test_a_note_is_heard_once(kept: Archive) -> None:
    note = key_objects("113001", [uid(1)])
    take(kept, ct_slice(1), note)
    assert (apply(kept), apply(kept)) == (1, 0)
    hiding.restore(kept, Target(study=STUDY), read_object, actor="anna", reason="test", clock=kept._clock)
    take(kept, note)
    assert apply(kept) == 0
    assert uid(1) in in_sight(kept)


def test_two_who_read_one_note_hide_once(kept: Archive) -> None:
    take(kept, ct_slice(1), ct_slice(2), key_objects("113001", [uid(1)]))

    def read_late(archive: Archive, note: rejections.Note) -> Told:
        told = _told(archive, note)
        apply(kept)  # the other one is faster
        return told

    assert rejection.apply_waiting(kept, read_late, read_object, clock=kept._clock) == 1
    with kept.database.read() as tx:
        assert hidden.count(tx) == 1
        assert tx.execute(sa.select(sa.func.count()).select_from(schema.audit)).scalar_one() == 1
    assert verify(kept).clean


@pytest.mark.parametrize("step", ["tombstones.put", "hiding._take_out_of_sight", "hiding.tombstone_rows.add"])
def test_the_effect_follows_a_kill(kept: Archive, step: str) -> None:
    take(kept, ct_slice(1), ct_slice(2), key_objects("113001", [uid(1)]))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(f"storage.{step}", _no_power)
        with pytest.raises(OSError, match="no power"):
            apply(kept)
    assert in_sight(kept) == [uid(1), uid(2), NOTE]
    assert apply(kept) == 1
    assert in_sight(kept) == [uid(2), NOTE]


def _no_power(*_: object) -> None:
    raise OSError("no power")


def test_a_note_that_is_on_its_way_waits_and_holds_up_no_other(kept: Archive, clock: Clock) -> None:
    take(kept, ct_slice(1), ct_slice(2), key_objects("113001", [uid(1)]))
    take(kept, key_objects("113001", [uid(2)], uid="2.25.1.9.2"))

    def read(archive: Archive, note: rejections.Note) -> Told:
        if note.sop_instance_uid == NOTE:
            raise ObjectOnItsWay
        return _told(archive, note)

    assert rejection.apply_waiting(kept, read, read_object, clock=clock) == 1
    assert in_sight(kept) == [uid(1), NOTE, "2.25.1.9.2"]
    assert apply(kept) == 0
    clock.go(10)
    assert apply(kept) == 1
    assert uid(1) not in in_sight(kept)


def test_notes_that_refer_to_each_other_end(kept: Archive) -> None:
    first = key_objects("113001", ["2.25.1.9.2", NOTE])
    second = key_objects("113001", [NOTE, "2.25.1.9.2"], uid="2.25.1.9.2")
    take(kept, ct_slice(1), first, second)
    apply(kept)
    assert in_sight(kept) == [NOTE, uid(1)] or in_sight(kept) == [uid(1)]
    assert [state for state, _, _ in notes(kept)] == ["APPLIED", "APPLIED"]


def test_a_note_that_cannot_be_read_is_passed_over_and_stays_kept(kept: Archive) -> None:
    take(kept, ct_slice(1), key_objects("113001", [uid(1)]))

    def read(*_: object) -> Told:
        raise rejection.NoteUnreadable

    assert rejection.apply_waiting(kept, read, read_object, clock=kept._clock) == 1
    assert in_sight(kept) == [uid(1), NOTE]
    with kept.database.read() as tx:
        note = rejections.of_instance(tx, InstanceUid(NOTE))
    assert note is not None
    assert note.state is State.IGNORED


def test_a_note_that_is_hidden_itself_says_nothing(kept: Archive) -> None:
    note = key_objects("113001", [uid(1)])
    take(kept, note)
    hiding.hide(kept, Target(study=STUDY), hiding.Word(actor="anna", reason="test"), read_object, clock=kept._clock)
    assert take(kept, note) == [Verdict.HIDDEN]
    with pytest.raises(CatalogueUnknown):
        hiding.hide(kept, Target(study=STUDY), hiding.Word(actor="anna", reason="test"), read_object)

"""Rejection notes as documents: what is read of them, within which bounds, and those that we write."""

from __future__ import annotations

import io
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from pacs_gateway import rejection_note
from pacs_gateway.ingest import Ingest
from pacs_gateway.rejection_note import read_note, told_by, write_note
from storage.archive import Archive
from storage.catalog import rejections, studies
from storage.errors import Rejected
from storage.records import InstanceUid, Origin, Rejection, StudyUid
from storage.rejection import NoteUnreadable, Told
from tests.builders import archive, ct_slice, part10
from tests.notes import key_objects

ONE, TWO = InstanceUid("2.25.1.1.1"), InstanceUid("2.25.1.1.2")
NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.fixture
def kept(tmp_path: Path) -> Any:
    made = archive(tmp_path)
    yield made
    made.close()


def _taken(kept: Archive, document: Dataset) -> rejections.Note:
    Ingest(kept).part10(io.BytesIO(part10(document)), Origin(via="dimse", calling_aet="PACS2"))
    with kept.database.read() as tx:
        note = rejections.of_instance(tx, document.SOPInstanceUID)
    assert note is not None
    return note


def test_a_note_refers_to_instances_of_its_own_study_each_once() -> None:
    others = {"2.25.1": [ONE, TWO, "2.25.1.9.1"], "2.25.7": ["2.25.7.1"]}
    refers = [ONE, TWO, ONE, "2.25.7.1", "2.25.1.9.1", "2.25.1.8"]
    document = key_objects("113001", refers, evidence=others)
    assert told_by(document) == Told(title="113001", instances=(ONE, TWO), passed_over=3)


def test_what_is_evidence_and_is_not_referred_to_is_not_rejected() -> None:
    document = key_objects("113037", [ONE], evidence={"2.25.1": [ONE, TWO]})
    assert told_by(document).instances == (ONE,)


def test_a_title_of_another_scheme_is_none() -> None:
    document = key_objects("113001", [ONE])
    document.ConceptNameCodeSequence[0].CodingSchemeDesignator = "99LOCAL"
    assert told_by(document).title == ""


@pytest.mark.parametrize(
    "gone", ["ConceptNameCodeSequence", "ContentSequence", "CurrentRequestedProcedureEvidenceSequence"]
)
def test_a_document_without_what_makes_it_a_note_rejects_nothing(kept: Archive, gone: str) -> None:
    document = key_objects("113001", [ONE])
    delattr(document, gone)
    told = read_note(kept, _taken(kept, document))
    assert (told.title == "") or (told.instances == ())


def test_a_kept_note_is_read_in_a_child(kept: Archive) -> None:
    assert read_note(kept, _taken(kept, key_objects("113038", [ONE, TWO]))).instances == (ONE, TWO)


def test_a_note_that_its_reader_does_not_survive_is_unreadable(kept: Archive) -> None:
    document = key_objects("113001", [ONE])
    del document.ContentSequence
    Ingest(kept).part10(io.BytesIO(part10(document) + _NESTED), Origin(via="import"))
    with kept.database.read() as tx:
        note = rejections.of_instance(tx, document.SOPInstanceUID)
    assert note is not None
    with pytest.raises(NoteUnreadable, match="exit code"):
        read_note(kept, note)


_ITEM = bytes.fromhex("4000 30a7 5351 0000 ffffffff feff 00e0 ffffffff".replace(" ", ""))
_END = bytes.fromhex("feff 0de0 00000000 feff dde0 00000000".replace(" ", ""))
_NESTED = 20_000 * _ITEM + 20_000 * _END
"""Content items (0040,A730) within content items, without lengths: a parser has to enter each."""


def test_a_note_that_takes_too_long_or_is_too_long_is_unreadable(
    kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = _taken(kept, key_objects("113001", [ONE]))
    monkeypatch.setattr(rejection_note, "_WAIT_S", 0.001)
    with pytest.raises(NoteUnreadable, match="longer than"):
        read_note(kept, note)
    monkeypatch.setattr(rejection_note, "MAX_BYTES", 100)
    with pytest.raises(NoteUnreadable, match="more than 100 bytes"):
        read_note(kept, note)


def test_a_note_with_more_references_than_any_needs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection_note, "MAX_REFERENCES", 2)
    with pytest.raises(ValueError, match="more than 2"):
        told_by(key_objects("113001", [ONE, TWO, "2.25.1.1.3"]))


# ------------------------------------------------------------------------------------------------------------ ours
def _ours(kept: Archive, code: Rejection = Rejection.QUALITY) -> bytes:
    for number in (1, 2):
        Ingest(kept).part10(io.BytesIO(part10(ct_slice(number, StudyDate="20260301"))), Origin(via="import"))
    with kept.database.read() as tx:
        study = studies.get(tx, StudyUid("2.25.1"))
        instances = studies.instances_of(tx, StudyUid("2.25.1"))
    return write_note(study, instances, code, actor="BS. Lan", reason="mờ do cử động", now=NOW)


def test_our_own_note_is_read_as_it_was_meant(kept: Archive) -> None:
    document = pydicom.dcmread(io.BytesIO(_ours(kept, Rejection.WRONG_WORKLIST_ENTRY)))
    assert told_by(document) == Told(title="113038", instances=(ONE, TWO), words="mờ do cử động")
    assert (document.PatientID, document.StudyDate, document.Modality) == ("P1", "20260301", "KO")


def test_our_own_note_is_valid(kept: Archive, tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed")
    for code in Rejection:
        (tmp_path / "note.dcm").write_bytes(_ours(kept, code))
        judged = subprocess.run(["dciodvfy", tmp_path / "note.dcm"], capture_output=True, text=True, check=False)
        assert "KeyObjectSelectionDocument" in judged.stderr + judged.stdout
        assert "Error" not in judged.stderr + judged.stdout


def test_a_note_of_more_instances_than_we_would_read_is_not_written(
    kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejection_note, "MAX_REFERENCES", 1)
    with pytest.raises(Rejected, match="series by series"):
        _ours(kept)

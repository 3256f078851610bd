"""What is hidden from the command line, and the worker's watch over notes and over what was hidden long enough."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pacs_gateway.ingest import Ingest
from pacs_gateway.reread import read_object
from roi.cli import app
from roi.compose import open_archive, open_database
from roi.errors import SettingWrong
from roi.rejecting import Watch, rejecting
from roi.settings import Settings
from storage import hiding
from storage.catalog import hidden, rejections, studies
from storage.catalog.deletions import Target
from storage.hiding import Word
from storage.records import InstanceUid, Origin, StudyUid
from tests.builders import ct_slice, part10
from tests.notes import key_objects

STUDY = StudyUid("2.25.1")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder with two slices and a note that rejects the first; the process that took them is gone."""
    made = Settings(data=tmp_path / "data")
    with closing(open_archive(made)) as archive:
        for data_set in (ct_slice(1), ct_slice(2), key_objects("113001", ["2.25.1.1.1"])):
            Ingest(archive).part10(io.BytesIO(part10(data_set)), Origin(via="dimse", calling_aet="PACS2"))
    return made


def _roi(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--data", str(settings.data)])


def _in_sight(settings: Settings) -> list[str]:
    with closing(open_database(settings)) as database, database.read() as tx:
        return [each.sop_instance_uid for each in studies.instances_of(tx, STUDY)]


def _watch_once(settings: Settings) -> None:
    with closing(open_database(settings)) as database:
        Watch(settings, database).step()


def test_a_worker_hears_the_note_that_another_process_took_in(settings: Settings) -> None:
    assert _in_sight(settings) == ["2.25.1.1.1", "2.25.1.1.2", "2.25.1.9.1"]
    _watch_once(settings)
    assert _in_sight(settings) == ["2.25.1.1.2", "2.25.1.9.1"]
    _watch_once(settings)
    assert _in_sight(settings) == ["2.25.1.1.2", "2.25.1.9.1"]


def test_a_running_worker_hears_notes_by_itself(settings: Settings) -> None:
    with rejecting(settings), closing(open_database(settings)) as database:
        while True:
            with database.read() as tx:
                note = rejections.of_instance(tx, InstanceUid("2.25.1.9.1"))
            if note is not None and note.state is rejections.State.APPLIED:
                break
    assert "2.25.1.1.1" not in _in_sight(settings)


def test_what_is_hidden_is_listed_and_restored(settings: Settings) -> None:
    _watch_once(settings)
    (listed,) = json.loads(_roi(settings, "hidden", "list", "--json").stdout)
    assert (listed["sop_instance_uid"], listed["code"], listed["hidden_by"]) == ("2.25.1.1.1", "113001", "PACS2")
    assert json.loads(_roi(settings, "hidden", "list", "--study", "2.25.9", "--json").stdout) == []
    assert "113001" in _roi(settings, "hidden", "list").stdout
    told = ("--by", "anna", "--reason", "was right")
    assert isinstance(_roi(settings, "hidden", "restore", STUDY, "--by", " ", "--reason", "x").exception, SettingWrong)
    assert _roi(settings, "hidden", "restore", STUDY, *told).stdout == "1 instances are in sight again\n"
    assert "2.25.1.1.1" in _in_sight(settings)
    assert _roi(settings, "verify").exit_code == 0


def test_what_was_hidden_long_enough_is_removed_by_the_worker(settings: Settings) -> None:
    word = Word(actor="anna", reason="test")
    with closing(open_archive(settings)) as archive:
        hiding.hide(archive, Target(study=STUDY, instance=InstanceUid("2.25.1.1.2")), word, read_object)
    never = settings.model_copy(update={"hidden_days": 0.0})
    at_once = settings.model_copy(update={"hidden_days": 1e-9})
    for each, left in ((settings, 3), (never, 3), (at_once, 2)):  # the rejected one, and its note, are remembered
        _watch_once(each)
        with closing(open_database(settings)) as database, database.read() as tx:
            assert hidden.count(tx) == left
    assert _roi(settings, "verify").exit_code == 0

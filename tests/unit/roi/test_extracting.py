"""Extracts by hand, and by a process that the worker starts when there is need."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from pacs_gateway.ingest import Ingest
from roi import behind
from roi.behind import Keeper
from roi.cli import app
from roi.compose import open_archive, open_database
from roi.extracting import Unmade, extracting
from roi.settings import Settings
from storage import schema
from storage.archive import utc_now
from storage.catalog import studies, upkeep
from storage.catalog.extracts import KIND
from storage.database import Database
from storage.records import Origin, StudyUid
from storage.turn import turn_at
from tests.builders import ct_slice, part10


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder with a complete study of six instances."""
    made = Settings(data=tmp_path / "data")
    bring(made, StudyUid("2.25.1"))
    return made


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    with closing(open_database(settings)) as made:
        yield made


def bring(settings: Settings, uid: StudyUid) -> None:
    with closing(open_archive(settings)) as archive:
        for number in range(1, 7):
            named = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.1.{number}"}
            Ingest(archive).part10([part10(ct_slice(number, **named))], Origin(via="import"))
        with archive.database.write() as tx:
            studies.complete(tx, studies.get(tx, uid), reason="test", now=utc_now())


def made(database: Database) -> int:
    with database.read() as tx:
        return int(tx.execute(sa.select(sa.func.count()).select_from(schema.extracts)).scalar_one())


def wait(until: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "extract" in _words_of(each)]


def _words_of(process: psutil.Process) -> list[str]:
    """Return a process's command line, empty where it has died, buried or not."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie is one, too
        return []


def test_by_hand_it_makes_what_there_is_to_make(settings: Settings, database: Database) -> None:
    for count in (1, 0):
        done = CliRunner().invoke(app, ["extract", "--data", str(settings.data)])
        assert (done.exit_code, done.stdout) == (0, f"extracts made of {count} studies\n")
        assert made(database) == 1


def test_by_hand_it_leaves_what_another_process_is_at(settings: Settings, database: Database) -> None:
    with turn_at(database, KIND, clock=utc_now):
        done = CliRunner().invoke(app, ["extract", "--data", str(settings.data)])
    assert (done.exit_code, done.stdout, made(database)) == (0, "", 0)


def test_the_process_gives_way_and_ends_with_the_block(settings: Settings, database: Database) -> None:
    with extracting(settings):
        wait(lambda: made(database) == 1)
        (process,) = children()
        assert process.nice() > psutil.Process().nice()
        bring(settings, StudyUid("2.25.2"))  # it waits a while for more
        wait(lambda: made(database) == 2)
        assert children() == [process]
    assert children() == []
    with database.read() as tx:
        run = upkeep.last(tx, KIND)
    assert run is not None
    assert run.lease_owner is None


def test_a_killed_process_is_followed_by_another(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(behind, "_REST_S", 0.1)
    monkeypatch.setattr(behind, "_LOOK_S", 0.1)
    with extracting(settings):
        wait(lambda: made(database) == 1)
        (process,) = children()
        process.send_signal(signal.SIGKILL)
        bring(settings, StudyUid("2.25.2"))
        wait(lambda: made(database) == 2)


def test_nothing_is_started_where_nothing_is_to_be_made(tmp_path: Path, settings: Settings, database: Database) -> None:
    empty = Settings(data=tmp_path / "empty")
    with closing(open_database(empty)) as nothing:
        assert not Keeper(empty, nothing, "extract", KIND, Unmade()).is_wanted()
    keeper = Keeper(settings, database, "extract", KIND, Unmade())
    assert keeper.is_wanted()
    with turn_at(database, KIND, clock=utc_now):
        assert not keeper.is_wanted()

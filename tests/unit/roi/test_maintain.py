"""Looking after an archive from the command line, and by itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pacs_gateway.ingest import Ingest
from roi.cli import app
from roi.compose import open_archive
from roi.scrubbing import Schedule, scrubbing
from roi.settings import Settings
from roi.tidying import tidying
from storage.archive import Archive, utc_now
from storage.catalog import upkeep, workitems
from storage.rebuild import NotEmpty
from storage.records import Origin
from storage.scrub import KIND, Manner, scrub
from storage.workitems import worklist
from storage.workitems.records import WorkitemUid
from tests.builders import ct_slice, part10
from tests.workitems import workitem

ROOT = Path(__file__).parents[3]


def _command(*arguments: str, cwd: Path) -> list[str]:
    return [sys.executable, "-m", "roi.cli", *arguments, "--data", str(cwd / "data")]


def _roi(*arguments: str, cwd: Path) -> Result:
    """Run a command in this process; an error of ours is the result's exception."""
    return CliRunner().invoke(app, [*arguments, "--data", str(cwd / "data")])


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A data folder with six instances of one study."""
    with closing(open_archive(Settings(data=tmp_path / "data"))) as archive:
        for number in range(1, 7):
            Ingest(archive).part10([part10(ct_slice(number))], Origin(via="import"))
    return tmp_path


def _objects(site: Path) -> list[Path]:
    return sorted((site / "data" / "store" / "objects").glob("*/*"))


def _flip(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_scrub_says_what_it_found_and_verify_agrees(site: Path) -> None:
    done = _roi("scrub", "--json", cwd=site)
    assert (done.exit_code, json.loads(done.stdout)["checked"]) == (0, 6)
    first = _objects(site)[0]
    _flip(first)
    done = _roi("scrub", "--json", cwd=site)
    told = json.loads(done.stdout)
    assert (done.exit_code, told["corrupt"], told["damaged"][0]["object_key"]) == (1, 1, first.name)
    assert _roi("verify", cwd=site).exit_code == 1
    stray = first.parent / (first.parent.name + "0" * 62)
    stray.write_bytes(b"left by a crash")
    assert json.loads(_roi("scrub", "--json", cwd=site).stdout)["unreferenced"] == 1
    assert stray.exists()
    assert json.loads(_roi("scrub", "--json", "--after", "0", cwd=site).stdout)["removed"] == 1
    assert not stray.exists()


def test_a_killed_scrub_goes_on_at_once(site: Path) -> None:
    size = _objects(site)[0].stat().st_size
    rate = ["--rate", str(size * 2 / 1e6)]  # two objects a second
    running = subprocess.Popen(
        _command("scrub", *rate, cwd=site),
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with closing(open_archive(Settings(data=site / "data"))) as archive:
        while _last(archive) is None:
            assert running.poll() is None
        running.send_signal(signal.SIGKILL)
        running.communicate()
        killed = _last(archive)
        assert killed is not None
        assert killed.ended_at is None
        found = scrub(archive, Manner(rate_mb_s=0), actor="test")
        again = _last(archive)
    assert (found.checked, found.clean) == (6, True)
    assert again is not None
    assert (again.id, again.ended_at is None) == (killed.id, False)


def _last(archive: object) -> upkeep.Run | None:
    with archive.database.read() as tx:  # type: ignore[attr-defined]
        return upkeep.last(tx, KIND)


def test_remove_and_rebuild(site: Path) -> None:
    done = _roi("remove", "2.25.1", "--instance", "2.25.1.1.3", "--by", "anna", "--reason", "not ours", cwd=site)
    assert done.stdout.startswith("1 instances removed")
    for path in (site / "data").glob("catalogue.sqlite*"):
        path.unlink()
    done = _roi("rebuild", "--json", cwd=site)
    assert (done.exit_code, json.loads(done.stdout)["entered"]) == (0, 5)
    assert _roi("verify", cwd=site).exit_code == 0
    again = _roi("rebuild", cwd=site)
    assert isinstance(again.exception, NotEmpty)
    assert _roi("rebuild", "--replace", cwd=site).exit_code == 0
    assert len(list((site / "data").glob("catalogue.sqlite.before_*"))) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["2.25.99", "--by", "anna", "--reason", "x"], "nothing is kept"),
        (["2.25.1", "--by", " ", "--reason", "x"], "neither may be empty"),
    ],
)
def test_remove_says_what_is_wrong_and_removes_nothing(site: Path, arguments: list[str], said: str) -> None:
    done = _roi("remove", *arguments, cwd=site)
    assert said in str(done.exception)
    assert len(_objects(site)) == 6


# --------------------------------------------------------------------------------------------------- in quarantine
def test_a_copy_is_listed_shown_released_and_the_other_rejected(site: Path) -> None:
    with closing(open_archive(Settings(data=site / "data"))) as archive:
        Ingest(archive).part10([part10(ct_slice(3, PatientID="P2"))], Origin(via="import"))
    (copy,) = json.loads(_roi("quarantine", "list", "--json", cwd=site).stdout)
    shown = _roi("quarantine", "show", str(copy["id"]), cwd=site).stdout
    assert "differs in: patient_id\n" in shown
    assert "P2" not in shown
    told = ["--by", "anna", "--reason", "corrected"]
    assert "is kept now" in _roi("quarantine", "release", str(copy["id"]), *told, cwd=site).stdout
    (other,) = json.loads(_roi("quarantine", "list", "--json", cwd=site).stdout)
    assert other["object_key"] == copy["kept_object_key"]
    assert "is rejected" in _roi("quarantine", "reject", str(other["id"]), *told, cwd=site).stdout
    assert json.loads(_roi("quarantine", "list", "--json", cwd=site).stdout) == []
    assert len(json.loads(_roi("quarantine", "list", "--all", "--json", cwd=site).stdout)) == 2
    assert "released" in _roi("quarantine", "list", "--all", cwd=site).stdout
    assert _roi("verify", cwd=site).exit_code == 0


def test_who_decides_on_a_copy_and_why_must_be_said(site: Path) -> None:
    for command in ("release", "reject"):
        done = _roi("quarantine", command, "1", "--by", " ", "--reason", "x", cwd=site)
        assert "neither may be empty" in str(done.exception)


# --------------------------------------------------------------------------------------------- conflicts of identity
def test_a_study_of_two_patients_is_listed_shown_and_cleared(site: Path) -> None:
    assert _roi("conflicts", "list", cwd=site).stdout == "no conflicts\n"
    with closing(open_archive(Settings(data=site / "data"))) as archive:
        first = ct_slice(1).PatientID
        Ingest(archive).part10([part10(ct_slice(9, PatientID="P2"))], Origin(via="import"))
        other = {"StudyInstanceUID": "2.25.5", "SeriesInstanceUID": "2.25.5.1", "SOPInstanceUID": "2.25.5.1.1"}
        Ingest(archive).part10([part10(ct_slice(1, PatientName="Another^One", **other))], Origin(via="import"))
    listed = _roi("conflicts", "list", cwd=site).stdout.splitlines()
    assert listed[0] == "study 2.25.1 names more than one patient"
    assert listed[1].startswith(f"patient {first} of no issuer: 2 studies, 2 names")
    shown = _roi("conflicts", "show", "2.25.1", cwd=site).stdout.splitlines()
    assert shown == [f"{first} of no issuer: 6 instances", "P2 of no issuer: 1 instances"]
    told = ["--by", "anna", "--reason", "one person"]
    assert "is reconciled now" in _roi("conflicts", "clear", "2.25.1", *told, cwd=site).stdout
    assert "was not in conflict" in _roi("conflicts", "clear", "2.25.1", *told, cwd=site).stdout
    assert "neither may be empty" in str(
        _roi("conflicts", "clear", "2.25.1", "--by", "anna", "--reason", " ", cwd=site).exception
    )
    assert not _roi("conflicts", "list", cwd=site).stdout.startswith("study")


# ----------------------------------------------------------------------------------------------------- by itself
@pytest.fixture
def schedule(site: Path) -> Iterator[Schedule]:
    settings = Settings(data=site / "data", scrub_every=7)
    with closing(open_archive(settings)) as archive:
        yield Schedule(settings, archive.database)


def test_a_scrub_is_due_every_so_many_days(schedule: Schedule) -> None:
    assert schedule.is_due(utc_now())
    schedule.step()
    assert not schedule.is_due(utc_now() + timedelta(days=6.9))
    assert schedule.is_due(utc_now() + timedelta(days=7.1))


def test_a_scrub_under_way_elsewhere_is_left_alone_and_a_dead_one_taken_over(schedule: Schedule) -> None:
    now = utc_now()
    with schedule._database.write() as tx:
        upkeep.claim(tx, KIND, owner="elsewhere:1:1", now=now, is_dead=lambda _: False)
    assert not schedule.is_due(now)
    later = now + 2 * upkeep.LEASE
    assert schedule.is_due(later)


def test_a_worker_scrubs_until_it_is_stopped(site: Path) -> None:
    settings = Settings(data=site / "data", scrub_every=7, scrub_rate=1e-6)
    with closing(open_archive(settings)) as archive:
        with scrubbing(settings):
            while _last(archive) is None:
                pass
        left = _last(archive)
    assert left is not None
    assert (left.ended_at, left.lease_owner) == (None, None)


def test_no_scrub_by_itself_where_none_is_wanted(site: Path) -> None:
    settings = Settings(data=site / "data", scrub_every=0)
    with closing(open_archive(settings)) as archive, scrubbing(settings):
        assert _last(archive) is None


def test_a_worker_removes_workitems_whose_time_is_over(site: Path) -> None:
    settings = Settings(data=site / "data", workitem_days=1)
    uid, long_ago = WorkitemUid("2.25.1"), utc_now() - timedelta(days=2)
    with closing(open_archive(settings)) as archive:
        with archive.database.write() as tx:
            worklist.create(tx, uid, workitem(), now=long_ago)
            worklist.request_cancel(tx, uid, {}, requester="A", now=long_ago)
        with tidying(settings):
            while _count_workitems(archive):
                pass


def _count_workitems(archive: Archive) -> int:
    with archive.database.read() as tx:
        return workitems.count(tx)

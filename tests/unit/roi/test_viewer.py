"""The viewer's package comes with npm, or from a file; what cannot be is one sentence that says what to do."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from roi.errors import ViewerNotFetched
from roi.settings import read_settings
from roi.viewer import fetch, fetching, status
from tests.viewer_package import package, release_of
from web.viewer import Shelf

CONTENT = package()
BY_HAND = "take ohif-app-3.13.2.tgz from a machine where `npm pack @ohif/app@3.13.2` works: roi viewer fetch --from"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "viewers", release_of(CONTENT))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, but for the shell's own programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("bash", "cp"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    return folder


def _npm(programs: Path, script: str) -> None:
    (programs / "npm").write_text(f"#!/bin/bash\n{script}\n")
    (programs / "npm").chmod(0o755)


def test_npm_is_asked_for_the_pinned_package_and_runs_no_script_of_it(
    shelf: Shelf, programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "package.tgz").write_bytes(CONTENT)
    _npm(programs, f'echo "$@" >{tmp_path}/asked; cp {tmp_path}/package.tgz ohif-app-3.13.2.tgz')
    fetch(shelf, None)
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:3] == ["pack", "@ohif/app@3.13.2", "--ignore-scripts"]
    assert "OHIF 3.13.2, 6 files" in capsys.readouterr().out
    assert shelf.installed() is not None


def test_a_viewer_that_is_there_is_not_fetched_again(
    shelf: Shelf, programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "package.tgz").write_bytes(CONTENT)
    fetch(shelf, tmp_path / "package.tgz")
    _npm(programs, "exit 1")
    fetch(shelf, None)
    assert capsys.readouterr().out.splitlines()[-1].startswith("OHIF 3.13.2 is installed in ")


def test_without_npm_one_sentence_says_how_to_bring_the_file(shelf: Shelf, programs: Path) -> None:
    with pytest.raises(ViewerNotFetched) as caught:
        fetch(shelf, None)
    assert str(caught.value) == f"npm is not on this machine; {BY_HAND} ohif-app-3.13.2.tgz"


def test_an_npm_that_fails_is_told_in_the_same_words(shelf: Shelf, programs: Path) -> None:
    _npm(programs, "exit 1")
    with pytest.raises(ViewerNotFetched, match=r"^npm did not bring @ohif/app@3\.13\.2; take "):
        fetch(shelf, None)
    assert shelf.installed() is None


def test_a_file_needs_no_npm(shelf: Shelf, programs: Path, tmp_path: Path) -> None:
    (tmp_path / "brought.tgz").write_bytes(CONTENT)
    fetch(shelf, tmp_path / "brought.tgz")
    assert shelf.installed() is not None


def test_a_fetch_beside_another_work_says_why_there_is_no_viewer(programs: Path, tmp_path: Path) -> None:
    settings = read_settings(viewer=str(tmp_path / "viewers"), data=tmp_path)
    with fetching(settings, limit_s=60) as ended:
        assert ended() == f"npm is not on this machine; {BY_HAND} ohif-app-3.13.2.tgz"


@pytest.mark.parametrize(
    "interrupts", [signal.default_int_handler, signal.SIG_IGN], ids=["as usual", "behind a script"]
)
def test_a_fetch_that_takes_too_long_is_stopped_and_leaves_nothing(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupts: Any
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    _npm(programs, f"echo $$ >{tmp_path}/pid; while true; do read -t 1 <> <(:); done")
    settings = read_settings(viewer=str(tmp_path / "viewers"), data=tmp_path)
    before = signal.signal(signal.SIGINT, interrupts)
    try:
        with fetching(settings, limit_s=10) as ended:
            assert ended() == "it did not come within 10 s; run roi viewer fetch"
    finally:
        signal.signal(signal.SIGINT, before)
    assert list((tmp_path / "scratch").iterdir()) == []
    npm = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(npm) or psutil.Process(npm).status() == psutil.STATUS_ZOMBIE


def test_status_tells_missing_installed_damaged_and_others(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        status(shelf)
    assert "state: not installed; run roi viewer fetch" in capsys.readouterr().out
    (tmp_path / "brought.tgz").write_bytes(CONTENT)
    fetch(shelf, tmp_path / "brought.tgz")
    (tmp_path / "viewers/ohif-3.0.0-000000000000").mkdir()
    status(shelf)
    said = capsys.readouterr().out
    assert "state: installed\n" in said
    assert said.endswith("may be deleted: ohif-3.0.0-000000000000\n")
    installed = shelf.installed()
    assert installed is not None
    installed.path("index.html").write_text("changed")
    with pytest.raises(SystemExit):
        status(shelf)
    assert "state: damaged; run roi viewer fetch\ndamaged: index.html\n" in capsys.readouterr().out


def test_the_viewer_lies_beside_the_program_unless_a_setting_says_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ROI_VIEWER", raising=False)
    monkeypatch.chdir(tmp_path)
    assert read_settings().viewer_folder.parts[-3:] == ("share", "roi", "viewer")
    assert read_settings(viewer="here").viewer_folder == tmp_path / "here"
    assert read_settings(viewer="here").as_environment()["ROI_VIEWER"] == "here"

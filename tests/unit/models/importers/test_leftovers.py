"""Imports that are killed, and what becomes of their folders."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.errors import ImportRefused
from models.importers import leftovers
from models.importers.conversion import Wanted, import_model

ROOT = Path(__file__).parents[4]
IMPORT = """
import sys
from pathlib import Path
from models.importers.conversion import Wanted, import_model
import_model(Wanted(source=sys.argv[1], recipe="chexnet", sha256="0" * 64), Path(sys.argv[2]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def start(tmp_path: Path, folder: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start imports that have made their folders and then wait for a file that never comes."""
    os.mkfifo(tmp_path / "pipe")
    started: list[subprocess.Popen[bytes]] = []

    def one() -> subprocess.Popen[bytes]:
        before = set(hidden(folder))
        command = [sys.executable, "-c", IMPORT, str(tmp_path / "pipe"), str(folder)]
        started.append(subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}))
        deadline = time.monotonic() + 120
        while len(set(hidden(folder)) - before) < 2:
            assert started[-1].poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return started[-1]

    yield one
    for each in started:
        kill(each)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(".*"))


def test_what_a_killed_import_left_is_removed_by_the_next_one(
    folder: Path, start: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    kill(start())
    assert [name[:6] for name in hidden(folder)] == [".impor", ".jail-"]
    (folder / "kept").mkdir()
    (folder / ".theirs").mkdir()
    (folder / ".removed-1").mkdir()  # as a killed removal leaves it
    (tmp_path / "model").write_bytes(b"none")
    with pytest.raises(ImportRefused):
        import_model(Wanted(source=str(tmp_path / "model"), recipe="chexnet", sha256="0" * 64), folder)
    assert sorted(path.name for path in folder.iterdir()) == [".theirs", "kept"]


def test_nothing_is_taken_from_under_an_import_that_runs(
    folder: Path, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    kill(start())
    running = start()  # removes what the first one left
    (made, scratch) = hidden(folder)
    with leftovers.working_in(folder):
        assert hidden(folder) == [made, scratch]
    kill(running)
    with leftovers.working_in(folder):
        assert hidden(folder) == []

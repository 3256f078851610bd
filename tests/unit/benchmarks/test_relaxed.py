"""The relaxed gateway is relaxed, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from storage.database import Database

ROOT = Path(__file__).parents[3]

LOOK = """
import os, sqlite3, sys
from pathlib import Path
from unittest import mock
import roi.cli
from benchmarks import relaxed
with mock.patch.object(roi.cli, "app"):
    relaxed.main()
from storage.database import Database
with Database("sqlite:///" + sys.argv[1]).read() as tx:
    print(tx.exec_driver_sql("PRAGMA synchronous").scalar_one())
synced = []
with mock.patch.object(os, "fdatasync", synced.append):
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    file = os.open("file", os.O_CREAT | os.O_WRONLY)
    os.fsync(file)
print(synced == [file])
"""


def test_the_relaxed_gateway_syncs_files_alone_and_commits_at_normal(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOOK, str(tmp_path / "catalogue.sqlite")]
    looked = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert looked.stdout.split() == ["1", "True"]
    assert (tmp_path / "relaxed").read_text() == "1"


def test_the_product_commits_at_full(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    with database.read() as tx:
        assert tx.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    database.close()

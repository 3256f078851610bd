"""What a process that serves has in memory, and what not."""

from __future__ import annotations

import subprocess
import sys


def test_a_web_process_loads_neither_networks_nor_protocols_it_does_not_speak() -> None:
    heavy = ("torch", "monai", "scipy", "pynetdicom", "celery", "highdicom", "minio", "imagecodecs")
    code = f"import sys, api; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_receiving_and_serving_need_nothing_that_is_left_out() -> None:
    parts = ("api.service", "roi.roles", "roi.compose", "models.registry", "pacs_gateway.rejection_note")
    lines = (
        "import sys",
        "from importlib import import_module",
        "from roi.lean import NOT_NEEDED, leave_out",
        "leave_out()",
        f"parts = [import_module(name) for name in {parts!r}]",
        "assert len(parts[3].cards()) == 2",
        "print([name for name in NOT_NEEDED if name in sys.modules])",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_process_on_sqlite_carries_nothing_for_postgresql() -> None:
    code = """
import sys
import api.service
import roi.compose
from storage.database import Database

Database("sqlite:////never/opened")
print([name for name in sys.modules if "postgresql" in name])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_nothing_is_left_out_that_is_loaded_already() -> None:
    code = "import numpy; from roi.lean import leave_out; leave_out()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: numpy is loaded already" in done.stderr

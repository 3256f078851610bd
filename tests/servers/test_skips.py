"""The rule that CI skips nothing unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("reason", "ci", "processes", "exit_code"),
    [
        ("MinIO is not installed", "true", [], 1),
        ("MinIO is not installed", "true", ["-n", "2"], 1),
        ("MinIO is not installed", "", [], 0),
        ("no GPU here", "true", [], 0),
    ],
)
def test_unexpected_skip_fails_a_ci_run(
    reason: str, ci: str, processes: list[str], exit_code: int, tmp_path: Path
) -> None:
    (tmp_path / "test_one.py").write_text(
        f"import pytest\ndef test_runs(): pass\ndef test_skips(): pytest.skip({reason!r})\n"
    )
    (tmp_path / "test_all.py").write_text(f"import pytest\npytest.skip({reason!r}, allow_module_level=True)\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-p", "tests.conftest", *processes, str(tmp_path)],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == exit_code, run.stdout + run.stderr
    assert run.stdout.count("SKIPPED IN CI") == 2 * exit_code

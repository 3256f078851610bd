"""The command line answers at once, and says what is wrong in one sentence."""

from __future__ import annotations

import pkgutil
import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from typer import Typer

import roi.commands
from roi.cli import app


def _roi(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "roi.cli", *arguments]
    root = str(Path(__file__).parents[3])
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=cwd, env={"PYTHONPATH": root}, check=False
    )


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_takes_less_than_a_third_of_a_second_of_processor_time() -> None:
    best = 9.0
    for _ in range(3):
        before = _cpu_seconds()
        assert "serve" in _roi("--help").stdout
        best = min(best, _cpu_seconds() - before)
    assert best < 0.3


def test_help_names_every_command() -> None:
    shown = _roi("--help").stdout
    for command in (
        "serve",
        "gateway",
        "api",
        "worker",
        "demo",
        "send",
        "import",
        "verify",
        "migrate",
        "peers",
        "models",
        "viewer",
    ):
        assert command in shown


def test_every_file_of_commands_is_part_of_the_program() -> None:
    files = [import_module(found.name) for found in pkgutil.walk_packages(roi.commands.__path__, "roi.commands.")]
    offered = {command for file in files if hasattr(file, "app") for command in _commands(file.app)}
    assert len(files) > 10
    assert offered == set(_commands(app))


def _commands(of: Typer) -> Iterator[object]:
    yield from (each.callback for each in of.registered_commands)
    for group in of.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--aet", "A" * 17], "aet"),
        (["serve", "--data", "/proc/nowhere"], "cannot be written"),
        (["gateway", "--catalogue", "mysql://x"], "no catalogue"),
        (["gateway", "--objects", "ftp://x"], "no object store"),
        (["worker", "--dispatch", "kafka://x"], "no dispatcher"),
        (["verify", "--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = _roi(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("roi: ")
    assert said in line

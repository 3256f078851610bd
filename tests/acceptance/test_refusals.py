"""What cannot run says so in one sentence, with an exit code, and stops in order when told to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.site import embedded, run_roi
from tests.servers.process import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _sentence(finished: subprocess.CompletedProcess[str]) -> str:
    """The last words of a command that must have failed without a traceback."""
    assert finished.returncode != 0
    assert "Traceback" not in finished.stderr
    return finished.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("role", ["gateway", "api"])
def test_role_on_a_taken_port_names_the_port(role: str, tmp_path: Path, taken_port: int) -> None:
    flag = {"gateway": "--dicom-port", "api": "--http-port"}[role]
    sentence = _sentence(run_roi(role, "--data", str(tmp_path), flag, str(taken_port)))
    assert sentence.startswith("roi: ")
    assert str(taken_port) in sentence


@pytest.mark.parametrize("flag", ["--dicom-port", "--http-port"])
def test_serve_on_a_taken_port_names_it_once(flag: str, tmp_path: Path, taken_port: int) -> None:
    ports = {"--dicom-port": free_port(), "--http-port": free_port(), flag: taken_port}
    words = [str(word) for pair in ports.items() for word in pair]
    finished = run_roi("serve", "--data", str(tmp_path), *words)
    assert finished.returncode != 0
    (sentence,) = [line for line in finished.stderr.splitlines() if line.startswith("roi: ")]
    assert str(taken_port) in sentence
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("role", ["serve", "gateway", "api", "worker"])
def test_data_folder_that_cannot_be_made_is_named(role: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "data"
    sentence = _sentence(run_roi(role, "--data", str(folder)))
    assert sentence.startswith("roi: ")
    assert str(folder) in sentence
    assert "cannot be written" in sentence


@pytest.mark.parametrize(
    ("flag", "url", "expected"),
    [
        ("--catalogue", "mysql://host/db", "sqlite:///"),
        ("--objects", "ftp://host/folder", "dir"),
        ("--objects", "s3://bucket", "endpoint"),
        ("--dispatch", "smoke://signal", "redis"),
    ],
)
def test_wrong_url_is_answered_with_what_was_expected(flag: str, url: str, expected: str, tmp_path: Path) -> None:
    sentence = _sentence(run_roi("api", "--data", str(tmp_path), "--http-port", "0", flag, url))
    assert sentence.startswith("roi: ")
    assert expected in sentence


def test_database_that_is_away_is_one_sentence_without_the_password(tmp_path: Path) -> None:
    environment = {"ROI_CATALOGUE": f"postgresql://roi@127.0.0.1:{free_port()}/roi", "ROI_CATALOGUE_PASSWORD": "hush"}
    finished = run_roi("worker", "--data", str(tmp_path), environment=environment)
    assert _sentence(finished).startswith("roi: the catalogue database does not answer")
    assert "hush" not in finished.stderr


def test_second_serve_on_a_data_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with embedded(tmp_path) as first:
        ports = ["--dicom-port", str(free_port()), "--http-port", str(free_port())]
        finished = run_roi("serve", "--data", str(first.settings.data), *ports)
        assert _sentence(finished).startswith(f"roi: another roi serve uses the data folder {first.settings.data}")
        assert first.get("/health/ready")["status"] == "ready"


def test_serve_stops_in_order_and_leaves_nothing_running(tmp_path: Path) -> None:
    ports = ["--dicom-port", str(free_port()), "--http-port", str(free_port())]
    command = [sys.executable, "-m", "roi.cli", "serve", "--data", str(tmp_path / "data"), *ports]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as serve:
        assert serve.stdout is not None
        assert "Rọi is ready" in serve.stdout.readline().decode()
        roles = psutil.Process(serve.pid).children(recursive=True)
        assert len(roles) == 3
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(timeout=30) == 0
        assert [role for role in roles if role.is_running()] == []

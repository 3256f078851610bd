"""The jail: what a conversion that was taken over tries, and does not get (R-60)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from models.errors import ImportRefused
from models.importers import jail

WORK = "tests.unit.models.importers.work"
SMALL = jail.Limits(memory_bytes=1 << 30, cpu_s=2, wall_s=120, file_bytes=8 << 20)


@pytest.fixture
def scratch(tmp_path):
    made = tmp_path / "scratch"
    made.mkdir()
    return made


def locked(name, scratch, *, limits=SMALL, **arguments):
    return jail.run(f"{WORK}:{name}", arguments, scratch=scratch, limits=limits)


def test_the_answer_and_the_walls_come_out(scratch):
    answer = locked("say", scratch, keys=727)
    assert answer.facts == {"keys": 727}
    assert set(answer.walls) <= {"network-namespace", "seccomp", "landlock"}
    assert {"network-namespace", "seccomp"} & set(answer.walls)


def test_nobody_is_called(scratch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(ImportRefused, match=r"cannot be converted \((PermissionError|OSError)"):
            locked("call_out", scratch, port=server.getsockname()[1])
        server.settimeout(0.1)  # whoever had called would wait in the queue
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"])
def test_not_even_a_socket_is_made(scratch, family):
    _needs(scratch, "seccomp")
    with pytest.raises(ImportRefused, match="PermissionError"):
        locked("open_socket", scratch, family=family)


def test_no_program_is_started_and_no_process_forked(scratch):
    _needs(scratch, "seccomp")
    for name in ("start_program", "fork"):
        with pytest.raises(ImportRefused, match="PermissionError"):
            locked(name, scratch)
    assert locked("start_thread", scratch).facts == {"said": ["here"]}


def test_no_other_process_is_killed(scratch):
    _needs(scratch, "seccomp")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with pytest.raises(ImportRefused, match="PermissionError"):
            locked("kill", scratch, pid=other.pid)
        assert other.poll() is None
        other.kill()


def test_files_outside_the_scratch_folder_are_neither_read_nor_written(scratch, tmp_path):
    _needs(scratch, "landlock")
    secret = tmp_path / "secret"
    secret.write_text("a patient")
    for path in (secret, f"/proc/{os.getpid()}/environ", "/etc/passwd"):
        with pytest.raises(ImportRefused, match="PermissionError"):
            locked("read_file", scratch, path=str(path))
    with pytest.raises(ImportRefused, match="PermissionError"):
        locked("write_file", scratch, path=str(tmp_path / "made"))
    assert not (tmp_path / "made").exists()
    locked("write_file", scratch, path=str(scratch / "made"))
    assert (scratch / "made").read_text() == "was here"


def test_nothing_of_our_environment_is_seen(scratch, monkeypatch):
    monkeypatch.setenv("ROI_CATALOGUE_PASSWORD", "secret")
    assert set(locked("tell_environment", scratch).facts["environment"]) - {"LC_CTYPE"} == {
        "HOME",
        "OMP_NUM_THREADS",
        "PYTHONPATH",
        "TMPDIR",
        "USER",
    }


@pytest.mark.parametrize(
    ("name", "limits", "said"),
    [
        ("take_memory", SMALL, "more than 1 GiB of memory"),
        ("spin", SMALL, "more than 2 s of processor time"),
        ("sleep", jail.Limits(wall_s=2), "more than 2 s and was killed"),
        ("die", SMALL, r"died \(7\) without an answer"),
        ("babble", SMALL, "says more than it may"),
    ],
)
def test_what_takes_too_much_is_killed(scratch, name, limits, said):
    with pytest.raises(ImportRefused, match=said):
        locked(name, scratch, limits=limits)


def test_no_file_grows_beyond_its_limit(scratch):
    with pytest.raises(ImportRefused):
        locked("fill_disk", scratch, path=str(scratch / "large"))
    assert (scratch / "large").stat().st_size <= SMALL.file_bytes


def test_what_it_says_cannot_steer_a_terminal(scratch):
    with pytest.raises(ImportRefused) as refused:
        locked("escape_sequence", scratch)
    assert str(refused.value) == " [2Jgone "


def _needs(scratch, wall):
    if wall not in locked("say", scratch).walls:
        pytest.skip(f"no {wall} on this system")

"""The servers themselves: they start, come back after a power cut, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from tests.servers import minio, orthanc, postgres, rabbitmq, redis, versitygw

pytestmark = pytest.mark.servers

MODULES = {
    "postgres": (postgres, postgres.running_postgres),
    "minio": (minio, minio.running_minio),
    "versitygw": (versitygw, versitygw.running_versitygw),
    "redis": (redis, redis.running_redis),
    "rabbitmq": (rabbitmq, rabbitmq.running_rabbitmq),
    "orthanc": (orthanc, orthanc.running_orthanc),
}


@pytest.mark.parametrize("name", MODULES)
def test_server_answers_again_after_a_power_cut_and_leaves_no_process(name: str, tmp_path: Path) -> None:
    module, running = MODULES[name]
    _skip_if_missing(module)
    with running(tmp_path / "server") as server:
        first = server.pid
        server.program.is_ready()
        server.kill()
        with pytest.raises(Exception):  # noqa: B017, PT011 - each client library has its own words for "nobody there"
            server.program.is_ready()
        server.restart()
        server.program.is_ready()
        assert server.pid != first
    assert _processes_naming(tmp_path) == []


@pytest.mark.parametrize("name", MODULES)
def test_server_dies_with_a_test_run_that_is_killed(name: str, tmp_path: Path) -> None:
    module, running = MODULES[name]
    _skip_if_missing(module)
    program = _RUN_UNTIL_KILLED.format(module=module.__name__, running=running.__name__)
    run = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "server")], stdout=subprocess.PIPE)
    assert run.stdout is not None
    assert run.stdout.readline() == b"running\n"
    assert _processes_naming(tmp_path) != []
    run.kill()
    run.communicate()
    deadline = time.monotonic() + 15
    while _processes_naming(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _processes_naming(tmp_path) == []


_RUN_UNTIL_KILLED = """
import pathlib, sys, time
from {module} import {running}
with {running}(pathlib.Path(sys.argv[1])):
    print("running", flush=True)
    time.sleep(300)
"""


def _skip_if_missing(module: ModuleType) -> None:
    if reason := module.available():
        pytest.skip(reason)


def _processes_naming(folder: Path) -> list[str]:
    """Return the processes that work in, or were told of, the folder."""
    found = []
    for process in psutil.process_iter(["pid", "name", "cmdline", "environ", "status"]):
        words = [*(process.info["cmdline"] or ()), *(process.info["environ"] or {}).values()]
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in words):
            found.append(process.info["name"])
    return found

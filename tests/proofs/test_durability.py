"""Success is never told before it is true; and the script that says so notices when it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.proofs.durability import record, violations
from tests.proofs.trace import Call, read_trace
from tests.servers.process import find_program

pytestmark = pytest.mark.servers

Trace = list[Call]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, dict[str, str]]:
    if find_program("strace") is None:
        pytest.skip("strace is not installed")
    lines, sent = record(tmp_path_factory.mktemp("durability"), associations=3, slices=5)
    return read_trace(lines), sent


def test_object_folder_and_log_are_synced_before_every_success(traced: tuple[Trace, dict[str, str]]) -> None:  # D-21
    calls, sent = traced
    assert len(sent) == 15
    assert violations(calls, sent) == []


def _without(unwanted: Callable[[Call], bool]) -> Callable[[Trace], Trace]:
    return lambda calls: [call for call in calls if not unwanted(call)]


def _is_sync(call: Call, sign: str) -> bool:
    return call.name in {"fsync", "fdatasync"} and sign in call.path


def _log_sync_that_fails(calls: Trace) -> Trace:
    return [replace(call, result=-1) if _is_sync(call, "-wal") else call for call in calls]


def _answers_first(calls: Trace) -> Trace:
    """Every response goes out at once."""
    return [
        replace(call, began=0, ended=0) if call.name == "sendto" and call.path.startswith("socket:") else call
        for call in calls
    ]


def _log_sync_before_the_commit_frame(calls: Trace) -> Trace:
    """The log is synced, but only when the transaction begins to be written."""
    writes = [call for call in calls if call.name == "pwrite64" and call.path.endswith("-wal")]
    start = writes[0].ended
    return [replace(call, began=start, ended=start) if _is_sync(call, "-wal") else call for call in calls]


CHEATS = {
    "the file is not synced": (_without(lambda call: _is_sync(call, ".part")), "file was not synced"),
    "the folder is not synced": (_without(lambda call: _is_sync(call, "/objects/")), "folder was not synced"),
    "the log is not synced": (_without(lambda call: _is_sync(call, "-wal")), "log was not synced"),
    "the log is synced too early": (_log_sync_before_the_commit_frame, "log was not synced"),
    "the log's sync fails": (_log_sync_that_fails, "log was not synced"),
    "the object gets no name": (_without(lambda call: call.name == "link"), "no name"),
    "the row is not written": (_without(lambda call: call.name == "pwrite64"), "did not hold the instance"),
    "the answer goes first": (_answers_first, "no name"),
    "no answer goes out": (_without(lambda call: call.name == "sendto"), "no Success"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_gateway_that_cheats_is_caught_for_every_instance(cheat: str, traced: tuple[Trace, dict[str, str]]) -> None:
    calls, sent = traced
    doctor, said = CHEATS[cheat]
    found = violations(doctor(calls), sent)
    assert {line.partition(":")[0] for line in found if said in line} == set(sent)

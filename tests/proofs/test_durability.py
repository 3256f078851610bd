"""Success is never told before it is true; and the script that says so notices when it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from storage.segment import RECORD_MAGIC, START_MAGIC, SUFFIX
from tests.proofs.durability import record, violations
from tests.proofs.trace import Call, read_trace
from tests.servers.process import find_program

pytestmark = pytest.mark.servers

Trace = list[Call]
SLICES = 5
Whose = Callable[[str], bool]
LONG: Whose = lambda uid: uid.endswith(f".{SLICES}")  # noqa: E731 - a word of the table below
SHORT: Whose = lambda uid: not LONG(uid)  # noqa: E731
ALL: Whose = lambda _: True  # noqa: E731


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, dict[str, str]]:
    if find_program("strace") is None:
        pytest.skip("strace is not installed")
    lines, sent = record(tmp_path_factory.mktemp("durability"), associations=3, slices=SLICES)
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


def _journal_sync_before_its_record(calls: Trace) -> Trace:
    """The journal is synced, but what is synced is what had been there before."""
    return [replace(call, began=0, ended=0) if _is_sync(call, SUFFIX) else call for call in calls]


def _name_before_the_journal_has_it(calls: Trace) -> Trace:
    return [replace(call, began=0, ended=0) if call.name == "link" else call for call in calls]


def _journal_gives_up_at_once(calls: Trace) -> Trace:
    """The next generation begins as soon as a record is written, and nothing has been settled."""
    start = next(call for call in calls if call.strings and call.strings[0].startswith(START_MAGIC))
    syncs = [call for call in calls if _is_sync(call, SUFFIX)]
    begun = [replace(start, path=sync.path, began=sync.ended + 1, ended=sync.ended + 1) for sync in syncs]
    return sorted([*_without(lambda call: call.name == "syncfs")(calls), *begun], key=lambda call: call.ended)


def _is_record(call: Call) -> bool:
    return call.path.endswith(SUFFIX) and bool(call.strings) and call.strings[0].startswith(RECORD_MAGIC)


CHEATS = {
    "the journal's record is not written": (_without(_is_record), SHORT, "file was not synced"),
    "the journal is not synced": (_without(lambda call: _is_sync(call, SUFFIX)), SHORT, "journal was not synced"),
    "the journal is synced too early": (_journal_sync_before_its_record, SHORT, "journal was not synced"),
    "the object is named too early": (_name_before_the_journal_has_it, SHORT, "journal was not synced"),
    "the journal gives up too early": (_journal_gives_up_at_once, SHORT, "gave the object up"),
    "the file is not synced": (_without(lambda call: _is_sync(call, ".part")), LONG, "file was not synced"),
    "the folder is not synced": (_without(lambda call: _is_sync(call, "/objects/")), LONG, "folder was not synced"),
    "the log is not synced": (_without(lambda call: _is_sync(call, "-wal")), ALL, "log was not synced"),
    "the log is synced too early": (_log_sync_before_the_commit_frame, ALL, "log was not synced"),
    "the log's sync fails": (_log_sync_that_fails, ALL, "log was not synced"),
    "the object gets no name": (_without(lambda call: call.name == "link"), ALL, "no name"),
    "the row is not written": (_without(lambda call: call.name == "pwrite64"), ALL, "did not hold the instance"),
    "the answer goes first": (_answers_first, ALL, "no name"),
    "no answer goes out": (_without(lambda call: call.name == "sendto"), ALL, "no Success"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_gateway_that_cheats_is_caught_for_every_instance(cheat: str, traced: tuple[Trace, dict[str, str]]) -> None:
    calls, sent = traced
    doctor, whose, said = CHEATS[cheat]
    found = violations(doctor(calls), sent)
    cheated = {uid for uid in sent if whose(uid)}
    assert cheated
    assert {line.partition(":")[0] for line in found if said in line} == cheated

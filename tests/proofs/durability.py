"""Durability seen from outside: what the kernel had promised before a sender heard Success.

``python -m tests.proofs.durability`` runs a gateway under strace, sends it instances on several associations at a
time, and holds the trace of its system calls against this, for each C-STORE response of status 0000:

1. the file was synced after its last byte was written,
2. only then linked under its digest,
3. the folder of that name was synced after the link,
4. the transaction that names the instance was written to SQLite's log, its commit frame included, and the log synced;

and each of these had returned before the first byte of the response was handed to the socket.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import psutil

from pacs_gateway import scu
from tests.acceptance.studies import SentFile, small_ct, write
from tests.proofs.trace import Call, read_trace
from tests.servers.process import free_port

ROOT = Path(__file__).parents[2]
_TRACED = "fsync,fdatasync,link,linkat,rename,renameat,renameat2,write,writev,pwrite64,pwritev,sendto,sendmsg"
_WRITES = {"write", "writev", "pwrite64", "pwritev"}
_SENDS = {"sendto", "sendmsg", "write", "writev"}
_SYNCS = {"fsync", "fdatasync"}
_LINKS = {"link", "linkat", "rename", "renameat", "renameat2"}
_FRAME_HEADER_BYTES = 24


# ------------------------------------------------------------------------------------------------------ judging
def violations(calls: Sequence[Call], sent: Mapping[str, str]) -> list[str]:
    """Return a sentence for everything that was not durable when its Success was sent; `sent` is UID -> digest."""
    answers = _successes(calls)
    found = [f"{uid}: the trace shows no Success" for uid in sent if uid not in answers]
    for uid, answer in answers.items():
        before = [call for call in calls if call.ended < answer.began]
        faults = [*_object_faults(before, sent.get(uid, "")), *_row_faults(before, uid)]
        found += [f"{uid}: {fault} before Success" for fault in faults]
    return found


def _successes(calls: Iterable[Call]) -> dict[str, Call]:
    """Return the first sending of a C-STORE-RSP of status 0000 for each SOP Instance UID."""
    found: dict[str, Call] = {}
    for call in calls:
        if call.name in _SENDS and call.path.startswith("socket:"):
            for elements in _responses(b"".join(call.strings)):
                if (elements.get(0x0100), elements.get(0x0900)) == (b"\x01\x80", b"\0\0"):
                    found.setdefault(elements[0x1000].decode().rstrip("\0"), call)
    return found


def _object_faults(before: Sequence[Call], digest: str) -> list[str]:
    links = (call for call in before if call.name in _LINKS and call.result == 0)
    link = next((call for call in links if Path(call.strings[-1].decode()).name == digest), None)
    if link is None:
        return ["the object had no name"]
    spooled, target = link.strings[0].decode(), Path(link.strings[1].decode())
    faults = []
    written = max((call.ended for call in before if call.name in _WRITES and call.path == spooled), default=None)
    if written is None:
        faults.append("the object's bytes were not seen to be written")
    elif not _synced(before, spooled, after=written, until=link.began):
        faults.append("the object's file was not synced and then named")
    if not _synced(before, str(target.parent), after=link.ended):
        faults.append("the object's folder was not synced")
    return faults


def _row_faults(before: Sequence[Call], uid: str) -> list[str]:
    log = [call for call in before if call.name in _WRITES and call.path.endswith("-wal")]
    first = next((at for at, call in enumerate(log) if uid.encode() in b"".join(call.strings)), None)
    if first is None:
        return ["the catalogue's log did not hold the instance"]
    committed = _commit_end(log[max(0, first - 1) :])
    if committed is None:
        return ["the catalogue's transaction was not committed"]
    return [] if _synced(before, log[first].path, after=committed) else ["the catalogue's log was not synced"]


def _commit_end(log: Sequence[Call]) -> int | None:
    """Return where the transaction under way was written to its end.

    A frame of the log is a header and a page; the header of a commit frame tells the size of the database in its
    second word, which is zero in every other frame (SQLite file format, section 4.1).
    """
    for header, page in pairwise(log):
        told = b"".join(header.strings)
        if len(told) == _FRAME_HEADER_BYTES and struct.unpack_from(">I", told, 4)[0]:
            return page.ended
    return None


def _synced(before: Sequence[Call], path: str, *, after: int, until: int | None = None) -> bool:
    return any(
        call.name in _SYNCS
        and call.path == path
        and call.result == 0
        and call.began > after
        and (until is None or call.ended < until)
        for call in before
    )


def _responses(data: bytes) -> Iterable[dict[int, bytes]]:
    """Yield the command sets in the P-DATA-TF PDUs that begin in `data` (PS3.8 9.3.5, PS3.7 6.3.1)."""
    position = 0
    while position + 12 <= len(data):
        kind, length = struct.unpack_from(">BxI", data, position)
        if kind == 4 and data[position + 11] & 1:
            yield _elements(data[position + 12 : position + 6 + length])
        position += 6 + length


def _elements(command: bytes) -> dict[int, bytes]:
    values, position = {}, 0
    while position + 8 <= len(command):
        _, number, length = struct.unpack_from("<HHI", command, position)
        values[number] = command[position + 8 : position + 8 + length]
        position += 8 + length
    return values


# ------------------------------------------------------------------------------------------------------ running
def record(folder: Path, *, associations: int, slices: int) -> tuple[list[str], dict[str, str]]:
    """Send a study on each association to a gateway under strace; return the trace's lines and UID -> digest."""
    sent: list[SentFile] = []
    for number in range(associations):
        sent += write(small_ct(number, slices=slices), folder / "files" / str(number))
    port, trace, log = free_port(), folder / "trace", folder / "gateway.log"
    strace = ["strace", "-f", "-y", "-xx", "-s", "8192", "--seccomp-bpf", "-o", str(trace), "-e", f"trace={_TRACED}"]
    gateway = [sys.executable, "-m", "roi.cli", "gateway", "--data", str(folder / "data"), "--dicom-port", str(port)]
    with log.open("wb") as errors, subprocess.Popen([*strace, *gateway], cwd=ROOT, stderr=errors) as process:
        try:
            _wait_until_ready(process, log)
            report = scu.send([folder / "files"], "127.0.0.1", port, associations=associations)
            assert report.sent == len(sent), report.not_sent
        finally:
            for traced in psutil.Process(process.pid).children():
                traced.terminate()
    return trace.read_text().splitlines(), {file.instance: file.digest for file in sent}


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while "gateway ready" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "the gateway was not ready in time"
        time.sleep(0.1)


def main() -> None:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--associations", type=int, default=4)
    parser.add_argument("--slices", type=int, default=25)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="roi-durability-") as scratch:
        lines, sent = record(Path(scratch), associations=options.associations, slices=options.slices)
    calls = read_trace(lines)
    found = violations(calls, sent)
    syncs = sum(call.name in _SYNCS for call in calls)
    print(f"{len(sent)} instances answered 0000 on {options.associations} associations; {len(calls)} calls traced")
    print(f"{syncs} syncs; log syncs {sum(call.name in _SYNCS and call.path.endswith('-wal') for call in calls)}")
    print("\n".join(found) or "every object, folder and log was synced before its Success")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

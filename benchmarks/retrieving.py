"""What is asked of a server that holds studies, how long it takes, and whether the answer is right."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.corpora import Corpus
from benchmarks.peers import MissingError, Peer
from benchmarks.sampler import Sampler
from benchmarks.sender import Part10

FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
JSON = "application/dicom+json"
_LIMIT_S = 600
_WINDOW = 1 << 20
_FRAMES_ASKED = 20


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a server under test holds, and how what it reads of it is counted."""

    peer: Peer
    pids: Sequence[int]
    series: Corpus
    multiframe: Corpus
    read_bytes: Callable[[], int]
    """How many bytes it has read so far of files, or of the object store."""


Measured = Mapping[str, Sequence[float]]
"""Figure -> its values."""


# ------------------------------------------------------------------------------------------------------- studies
def study(held: Held, clients: int) -> Measured:
    """Retrieve a study by as many clients at once, each in a process of its own."""
    context = multiprocessing.get_context("fork")
    go = context.Barrier(clients + 1)
    answers: Queue[int | str] = context.Queue()
    [uid] = held.series.studies
    path = f"/dicom-web/studies/{uid}"
    asking = [context.Process(target=_drain, args=(held.peer.http_port, path, go, answers)) for _ in range(clients)]
    with Sampler(held.pids) as sampler:
        for each in asking:
            each.start()
        go.wait(120)
        sampler.start()
        began = time.perf_counter()
        told = [answers.get(timeout=_LIMIT_S) for _ in asking]
        seconds = time.perf_counter() - began
        for each in asking:
            each.join()
        sampler.stop()
    if any(size != told[0] or not isinstance(size, int) or size < held.series.size_bytes * 0.99 for size in told):
        raise MissingError(f"{held.peer.name}: a study came short: {told}")
    size_mb = sum(size for size in told if isinstance(size, int)) / 1e6
    return {
        "MB/s": [size_mb / seconds],
        "CPU ms/MB": [1000 * sampler.cpu_s / size_mb],
        "peak MB": [sampler.peak_bytes / 1e6],
        "others": [sampler.others],
    }


def _drain(port: int, path: str, go: Barrier, answers: Queue[int | str]) -> None:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LIMIT_S)
        connection.connect()
        go.wait(120)
        connection.request("GET", path, headers={"Accept": FILES})
        answer = connection.getresponse()
        window = bytearray(_WINDOW)
        size = 0
        while count := answer.readinto(window):
            size += count
        answers.put(size if answer.status == 200 else f"HTTP {answer.status}")
    except (OSError, http.client.HTTPException) as error:
        go.abort()
        answers.put(f"{type(error).__name__}: {error}")


def check_study(held: Held) -> None:
    """Raise `MissingError` unless a study comes back with every data set as it was sent."""
    [(uid, files)] = held.series.studies.items()
    status, kind, content = ask(held.peer, f"/dicom-web/studies/{uid}", FILES)
    if status != 200:
        raise MissingError(f"{held.peer.name}: a study is HTTP {status}")
    given = sorted(hashlib.sha256(_data_set(part)).digest() for part in _parts(kind, content))
    sent = sorted(hashlib.sha256(Part10.map(path).dataset).digest() for path in files)
    if given != sent:
        raise MissingError(f"{held.peer.name}: {len(given)} data sets, not the {len(sent)} that were sent")


# ------------------------------------------------------------------------------------------------------ metadata
def metadata(held: Held, encoding: str) -> Measured:
    """Ask for a series' metadata, and nine times again."""
    [(uid, files)] = held.series.studies.items()
    path = f"/dicom-web/studies/{uid}/series/{_series_uid(files[0])}/metadata"
    taken = []
    _greet(held)
    for _ in range(10):
        began = time.perf_counter()
        status, _, content = ask(held.peer, path, JSON, **{"Accept-Encoding": encoding})
        taken.append(1000 * (time.perf_counter() - began))
        if status != 200:
            raise MissingError(f"{held.peer.name}: metadata is HTTP {status}")
    text = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    told = {one["00080018"]["Value"][0] for one in json.loads(text)}
    if told != held.series.instances:
        raise MissingError(f"{held.peer.name}: metadata of {len(told)} instances, not {len(held.series.instances)}")
    return {"first ms": taken[:1], "again ms": [statistics.median(taken[1:])], "KB": [len(content) / 1e3]}


# -------------------------------------------------------------------------------------------------------- frames
def frames_of_series(held: Held) -> Measured:
    """Ask for the only frame of slices all over the series, each for the first time."""
    [(uid, files)] = held.series.studies.items()
    chosen = files[:: max(1, len(files) // _FRAMES_ASKED)][:_FRAMES_ASKED]
    return _frames(held, [(uid, path, 1) for path in chosen])


def frame_of_multiframe(held: Held) -> Measured:
    """Ask for one frame in the middle of a long object: the first that is asked of it."""
    [(uid, files)] = held.multiframe.studies.items()
    count = held.multiframe.size_bytes // (512 * 1024)
    return _frames(held, [(uid, files[0], count // 2)])


def _frames(held: Held, wanted: Sequence[tuple[str, Path, int]]) -> Measured:
    taken: list[float] = []
    share: list[float] = []
    _greet(held)
    for study_uid, path, number in wanted:
        sent = Part10.map(path)
        pixels = sent.dataset[-_pixel_bytes(path) :]
        frame = pixels[(number - 1) * 512 * 1024 : number * 512 * 1024]
        before, began = held.read_bytes(), time.perf_counter()
        where = f"/dicom-web/studies/{study_uid}/series/{_series_uid(path)}/instances/{sent.sop_instance_uid}"
        status, kind, content = ask(held.peer, f"{where}/frames/{number}", OCTETS)
        taken.append(1000 * (time.perf_counter() - began))
        share.append((held.read_bytes() - before) / len(frame))
        if status != 200 or list(_parts(kind, content)) != [bytes(frame)]:
            raise MissingError(f"{held.peer.name}: frame {number} is not what was sent (HTTP {status})")
    return {"ms": taken, "read/frame": share}


# ------------------------------------------------------------------------------------------------------- helpers
def _greet(held: Held) -> None:
    """Ask for something else first: that a process has just started is not what is measured."""
    ask(held.peer, "/dicom-web/studies?limit=1", JSON)


def ask(peer: Peer, path: str, accept: str, **headers: str) -> tuple[int, str, bytes]:
    """Return status, content type and content of an answer, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.http_port, timeout=_LIMIT_S)
    try:
        connection.request("GET", path, headers={"Accept": accept, **headers})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()
    finally:
        connection.close()


def _parts(content_type: str, content: bytes) -> Iterator[bytes]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    boundary = message_from_bytes(head).get_boundary("")
    for part in content.split(b"--" + boundary.encode())[1:-1]:
        yield part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


def _data_set(file: bytes) -> memoryview:
    return Part10.read(memoryview(file)).dataset


def _series_uid(path: Path) -> str:
    return _read(path, "SeriesInstanceUID")


def _pixel_bytes(path: Path) -> int:
    return int(_read(path, "NumberOfFrames") or 1) * 512 * 1024


def _read(path: Path, keyword: str) -> str:
    from pydicom import dcmread  # noqa: PLC0415 - nothing that is measured waits for it

    return str(dcmread(path, stop_before_pixels=True).get(keyword, ""))


@contextmanager
def counting_reads(pids: Sequence[int]) -> Iterator[Callable[[], int]]:
    """Count what processes read by system calls on files; sockets are not among them where they use recv."""

    def count() -> int:
        lines = [Path(f"/proc/{pid}/io").read_text().splitlines() for pid in pids]
        return sum(int(line.partition(":")[2]) for each in lines for line in each if line.startswith("rchar"))

    yield count

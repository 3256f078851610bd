"""Who sends: our own sender, DCMTK's `dcmsend`, and a STOW-RS client; each in processes of its own."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.sender import SendError, map_file, send
from tests.servers.dcmtk import NO_DELAY, dcmtk

if TYPE_CHECKING:
    from benchmarks.corpora import Corpus
    from benchmarks.peers import Peer

Client = Callable[["Peer", "Corpus", int, Callable[[], None]], tuple[float, list[float]]]
"""(peer, corpus, lanes, started) -> seconds from `started` to the last answer, and those of each answer if known.

Raises `SendError` unless everything was taken.
"""

_BOUNDARY = b"benchmark-2b7e1516"
_LIMIT_S = 600


def send_fast(peer: Peer, corpus: Corpus, lanes: int, started: Callable[[], None]) -> tuple[float, list[float]]:
    """Send by C-STORE with the sender that costs next to nothing."""
    return send(peer.dicom_port, peer.aet, corpus.parts(lanes), started)


def send_dcmtk(peer: Peer, corpus: Corpus, lanes: int, started: Callable[[], None]) -> tuple[float, list[float]]:
    """Send by C-STORE with one `dcmsend` a lane: a real client, whose start and reading of the files count."""
    options = ["--decompress-never", "--no-halt", "--no-uid-checks", "-aec", peer.aet, "127.0.0.1"]
    command = [str(dcmtk("dcmsend")), *options, str(peer.dicom_port)]
    parts = corpus.parts(lanes)
    started()
    began = time.perf_counter()
    running = [
        subprocess.Popen(
            [*command, *map(str, part)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=NO_DELAY, text=True
        )
        for part in parts
    ]
    told = [client.communicate(timeout=_LIMIT_S)[1] for client in running]
    seconds = time.perf_counter() - began
    for client, errors in zip(running, told, strict=True):
        if client.returncode:
            raise SendError(f"dcmsend ended with {client.returncode}: {errors[-300:]}")
    return seconds, []


def send_stow(peer: Peer, corpus: Corpus, lanes: int, started: Callable[[], None]) -> tuple[float, list[float]]:
    """Post each study as one request (PS3.18 10.5), the studies dealt out to as many connections as there are lanes."""
    context = multiprocessing.get_context("fork")
    studies = list(corpus.studies.values())
    shares = [studies[lane::lanes] for lane in range(lanes)]
    go = context.Barrier(lanes + 1)
    answers: Queue[str] = context.Queue()
    posters = [
        context.Process(target=_post_all, args=(peer.http_port, peer.stow, share, go, answers)) for share in shares
    ]
    for poster in posters:
        poster.start()
    go.wait(120)
    started()
    began = time.perf_counter()
    told = [answers.get(timeout=_LIMIT_S) for _ in posters]
    seconds = time.perf_counter() - began
    for poster in posters:
        poster.join()
    if failures := "; ".join(filter(None, told)):
        raise SendError(failures)
    return seconds, []


def _post_all(port: int, path: str, studies: Sequence[Sequence[Path]], go: Barrier, answers: Queue[str]) -> None:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LIMIT_S)
        bodies = [_body(files) for files in studies]
        connection.connect()
        go.wait(120)
        for body, files in zip(bodies, studies, strict=True):
            _post(connection, path, body, len(files))
        answers.put("")
    except (OSError, http.client.HTTPException, ValueError, KeyError, SendError) as error:
        go.abort()
        answers.put(f"{type(error).__name__}: {error}")


def _body(files: Sequence[Path]) -> list[bytes | memoryview]:
    """Lay a multipart/related body out (PS3.18 8.6.1.2.1)."""
    head = b"\r\n--" + _BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
    pieces: list[bytes | memoryview] = []
    for path in files:
        pieces += [head, map_file(path)]
    return [*pieces, b"\r\n--" + _BOUNDARY + b"--\r\n"]


def _post(connection: http.client.HTTPConnection, path: str, body: Sequence[bytes | memoryview], count: int) -> None:
    connection.putrequest("POST", path)
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={_BOUNDARY.decode()}',
        "Content-Length": str(sum(map(len, body))),
        "Accept": "application/dicom+json",
    }
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    for piece in body:
        connection.send(piece)
    answer = connection.getresponse()
    told = answer.read()
    if answer.status != 200:
        raise SendError(f"STOW-RS answered {answer.status}: {told[:200]!r}")
    stored = json.loads(told).get("00081199", {}).get("Value", [])
    if len(stored) != count:
        raise SendError(f"STOW-RS stored {len(stored)} of {count}")


CLIENTS: Mapping[str, Client] = {"fast": send_fast, "dcmsend": send_dcmtk, "STOW-RS": send_stow}

"""The least that keeps our promise: bytes from a socket, their digest, a file synced in a synced folder, an answer.

No DICOM, no header, no index: what this takes on a machine is what no archive there can do without that keeps one file
for each instance under the SHA-256 of its bytes.  A goal beyond it cannot be reached on that machine.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import shutil
import socket
import threading
import time
from collections.abc import Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.clients import Client
from benchmarks.corpora import Corpus
from benchmarks.peers import Contestant, MissingError, Run
from benchmarks.sender import map_file

_PIECE = 256 * 1024
_LENGTH_BYTES = 8
_DONE = b"+"
_Answer = tuple[float, float, list[float]]


class Floor(Contestant):
    """As many connections as senders; each file is answered before the next one comes."""

    name = "floor: socket, digest, file"
    promise = "file and folder synced; no DICOM, no index"

    def run(self, corpus: Corpus, lanes: int, client: Client, work: Path) -> Run:  # noqa: ARG002 - senders of its own
        """Receive the files in a process of its own, which tells what it used."""
        folder = work / "floor"
        for number in range(256):  # as many folders as our store has
            (folder / f"{number:02x}").mkdir(parents=True)
        os.sync()
        context = multiprocessing.get_context("fork")
        pairs = [_connected() for _ in range(lanes)]
        answer: Queue[_Answer] = context.Queue()
        start = context.Barrier(lanes + 1)
        sending = [
            context.Process(target=_send_all, args=(near, part, start))
            for (near, _), part in zip(pairs, corpus.parts(lanes), strict=True)
        ]
        receiving = context.Process(target=_receive_all, args=([far for _, far in pairs], folder, start, answer))
        try:
            for process in (*sending, receiving):
                process.start()
            for near, far in pairs:
                near.close()
                far.close()
            seconds, cpu_s, store_s = answer.get(timeout=600)
            for process in (*sending, receiving):
                process.join()
            written = sum(path.stat().st_size for path in folder.glob("*/*"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if written != corpus.size_bytes or len(store_s) != len(corpus.instances):
            raise MissingError(f"{self.name}: wrote {written} of {corpus.size_bytes} bytes")
        return Run(
            instances=len(corpus.instances), size_bytes=corpus.size_bytes, seconds=seconds, cpu_s=cpu_s, store_s=store_s
        )


def _connected() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection over loopback, as a gateway on this machine has them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def _send_all(connection: socket.socket, part: Sequence[Path], start: Barrier) -> None:
    files = [map_file(path) for path in part]
    start.wait()
    for file in files:
        connection.sendall(len(file).to_bytes(_LENGTH_BYTES, "little"))
        connection.sendall(file)
        if connection.recv(1) != _DONE:
            return  # the receiver ended: it tells of what is missing
    connection.shutdown(socket.SHUT_WR)


def _receive_all(connections: Sequence[socket.socket], folder: Path, start: Barrier, answer: Queue[_Answer]) -> None:
    store_s: list[float] = []
    threads = [
        threading.Thread(target=_receive_each, args=(connection, folder, f"{number}", store_s))
        for number, connection in enumerate(connections)
    ]
    start.wait()
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    answer.put((seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, store_s))


def _receive_each(connection: socket.socket, folder: Path, lane: str, store_s: list[float]) -> None:
    piece = memoryview(bytearray(_PIECE))
    arriving = folder / f"00/{lane}.part"
    while connection.recv_into(piece[:_LENGTH_BYTES], _LENGTH_BYTES, socket.MSG_WAITALL):
        began = time.perf_counter()
        left = int.from_bytes(piece[:_LENGTH_BYTES], "little")
        digest = hashlib.sha256()
        with arriving.open("xb", buffering=0) as file:
            while left and (got := connection.recv_into(piece, min(left, _PIECE), socket.MSG_WAITALL)):
                digest.update(piece[:got])
                file.write(piece[:got])
                left -= got
            os.fsync(file.fileno())
        name = digest.hexdigest()
        shelf = os.open(folder / name[:2], os.O_RDONLY | os.O_DIRECTORY)
        arriving.rename(folder / name[:2] / name)
        os.fsync(shelf)
        os.close(shelf)
        connection.sendall(_DONE)
        store_s.append(time.perf_counter() - began)

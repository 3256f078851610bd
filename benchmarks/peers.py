"""What a server under test is, and the loop without a server that says what the disk can do."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from pathlib import Path

from benchmarks.clients import Client
from benchmarks.corpora import Corpus
from benchmarks.sampler import Sampler
from benchmarks.sender import VERIFICATION, Association, Part10, map_file
from tests.servers.dcmtk import NO_DELAY, dcmtk
from tests.servers.process import Program, Server, ServerError, free_port


class MissingError(RuntimeError):
    """A run that lost or changed an instance gives no number."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One corpus sent once."""

    instances: int
    size_bytes: int
    seconds: float
    cpu_s: float
    peak_bytes: int = 0
    peak_rss_bytes: int = 0
    store_s: Sequence[float] = field(default=(), repr=False)
    others: float | None = None
    """Share of the machine that others used meanwhile, where it was looked at."""


class Contestant(ABC):
    """Something that takes a corpus in."""

    name: str
    promise: str
    """What has happened before Success is answered."""

    @abstractmethod
    def run(self, corpus: Corpus, lanes: int, client: Client, work: Path) -> Run:
        """Take the corpus in, on an empty folder below `work`, and check that all of it is there."""


class Peer(Contestant):
    """A server under test."""

    aet: str
    stow: str = ""
    """Path of its STOW-RS resource."""

    def __init__(self) -> None:
        self.dicom_port = free_port()
        self.http_port = free_port()

    def run(self, corpus: Corpus, lanes: int, client: Client, work: Path) -> Run:
        """Start the server, send, stop the clock, check."""
        folder = self.workplace(work) / "server"
        os.sync()  # what the previous run left to write is not this run's burden
        try:
            with self.running(folder) as pids, Sampler(pids) as sampler:
                seconds, store_s = client(self, corpus, lanes, sampler.start)
                sampler.stop()
                self.check(folder, corpus)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return Run(
            instances=len(corpus.instances),
            size_bytes=corpus.size_bytes,
            seconds=seconds,
            cpu_s=sampler.cpu_s,
            peak_bytes=sampler.peak_bytes,
            peak_rss_bytes=sampler.peak_rss_bytes,
            store_s=store_s,
            others=sampler.others,
        )

    @contextmanager
    def running(self, folder: Path) -> Iterator[list[int]]:
        """Run the server on `folder`, from its first answer on; yield what its cost is measured of."""
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            behind = self.start_behind(folder, stack)
            program = Program(
                name=self.name,
                command=self.command(folder),
                folder=folder,
                is_ready=self.ask,
                env=NO_DELAY | self.environment(folder),  # Orthanc is built on DCMTK too
            )
            server = Server(program, "").start()
            stack.callback(_end, server)
            self.check_running(folder, server.pid)
            yield [server.pid, *behind]

    def start_behind(self, folder: Path, stack: ExitStack) -> list[int]:  # noqa: ARG002 - most need none
        """Start what the server stores in, to be stopped by `stack`; return the process ids."""
        return []

    @abstractmethod
    def command(self, folder: Path) -> list[str]:
        """Return the command that runs the server in the foreground."""

    def environment(self, folder: Path) -> dict[str, str]:  # noqa: ARG002 - most need none
        """Return what the server needs in its environment."""
        return {}

    def check_running(self, folder: Path, pid: int) -> None:
        """Raise unless the running server is what its name says."""

    @abstractmethod
    def stored(self, folder: Path, corpus: Corpus) -> set[str]:
        """Return the SOP Instance UIDs that the running server holds of the corpus's studies."""

    @abstractmethod
    def data_set(self, folder: Path, uid: str) -> bytes | memoryview:
        """Return the data set bytes of an instance that the running server holds."""

    def check(self, folder: Path, corpus: Corpus) -> None:
        """Raise `MissingError` unless the server holds exactly what was sent, and a sample has the same bytes."""
        stored = self.stored(folder, corpus)
        if stored != corpus.instances:
            lost, more = len(corpus.instances - stored), len(stored - corpus.instances)
            raise MissingError(
                f"{self.name}: {lost} of {len(corpus.instances)} {corpus.name} instances are missing, {more} too many"
            )
        for path in corpus.sample():
            sent = Part10.map(path)
            kept = self.data_set(folder, sent.sop_instance_uid)
            if hashlib.sha256(kept).digest() != hashlib.sha256(sent.dataset).digest():
                raise MissingError(f"{self.name}: {path.name} of {corpus.name} was changed")

    def workplace(self, work: Path) -> Path:
        """Return where the server's folder is made: on the same disk for all."""
        return work

    def ask(self) -> None:
        """Return once the server answers."""
        association = Association(self.dicom_port, self.aet, [VERIFICATION])
        association.echo()
        association.release()


def _end(server: Server) -> None:
    """End a server; one that does not come to its end is killed by then, and what was measured stands."""
    with suppress(ServerError):
        server.stop()


class Storescp(Peer):
    """DCMTK's receiver, one process an association: writes files as received and knows nothing of them."""

    name = "storescp"
    aet = "STORESCP"
    promise = "nothing synced, no index"

    def command(self, folder: Path) -> list[str]:
        """Write bit-preserving (+B), accept every syntax (+xa), take long PDUs."""
        files = folder / "files"
        files.mkdir()
        options = ["--fork", "+B", "+xa", "-pdu", "131072", "-aet", self.aet, "-od", str(files)]
        return [str(dcmtk("storescp")), *options, str(self.dicom_port)]

    def stored(self, folder: Path, corpus: Corpus) -> set[str]:  # noqa: ARG002 - the peers' common form
        """Take the UIDs out of the file names, ``MODALITY.UID``."""
        return {path.name.split(".", 1)[1] for path in (folder / "files").iterdir() if path.stat().st_size > 0}

    def data_set(self, folder: Path, uid: str) -> memoryview:
        """Read the file of that name."""
        [path] = (folder / "files").glob(f"*.{uid}")
        return Part10.map(path).dataset


class BareLoop(Contestant):
    """No server: as many threads as senders write each file, sync it, and sync its folder, one after the other.

    What no archive that keeps our promise with a file an instance can pass.
    """

    name = "bare loop"
    promise = "file and folder synced; no network, digest or index"

    def run(self, corpus: Corpus, lanes: int, client: Client, work: Path) -> Run:  # noqa: ARG002 - nobody sends
        """Write the files in a process of its own, which tells what it used."""
        folder = work / "bare"
        for number in range(256):  # as many folders as our store has
            (folder / f"{number:02x}").mkdir(parents=True)
        os.sync()
        context = multiprocessing.get_context("fork")
        answer: Queue[tuple[float, float, list[float]]] = context.Queue()
        process = context.Process(target=_write_all, args=(corpus.parts(lanes), folder, answer))
        try:
            process.start()
            seconds, cpu_s, store_s = answer.get(timeout=600)
            process.join()
            written = sum(path.stat().st_size for path in folder.glob("*/*"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if written != corpus.size_bytes:
            raise MissingError(f"{self.name}: wrote {written} of {corpus.size_bytes} bytes")
        return Run(
            instances=len(corpus.instances), size_bytes=corpus.size_bytes, seconds=seconds, cpu_s=cpu_s, store_s=store_s
        )


def _write_all(parts: Sequence[Sequence[Path]], folder: Path, answer: Queue[tuple[float, float, list[float]]]) -> None:
    sources = [
        [(map_file(path), _shelf(folder, path) / f"{path.parent.name}-{path.name}") for path in part] for part in parts
    ]
    store_s: list[float] = []
    threads = [threading.Thread(target=_write_each, args=(part, store_s)) for part in sources]
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    answer.put((seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, store_s))


def _write_each(part: Sequence[tuple[memoryview, Path]], store_s: list[float]) -> None:
    for source, target in part:
        began = time.perf_counter()
        with target.open("xb", buffering=0) as file:
            left = source
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        shelf = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(shelf)
        os.close(shelf)
        store_s.append(time.perf_counter() - began)


def _shelf(folder: Path, path: Path) -> Path:
    return folder / hashlib.sha256(str(path).encode()).hexdigest()[:2]

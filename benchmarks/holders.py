"""Who holds studies and gives them: ours on a directory and on an object store, and Orthanc."""

from __future__ import annotations

import subprocess
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from benchmarks.bare_retrieval import BareRetrieval
from benchmarks.clients import send_stow
from benchmarks.corpora import Corpus
from benchmarks.orthanc import Orthanc
from benchmarks.ours import RoiApi
from benchmarks.peers import MissingError, Peer
from benchmarks.retrieving import Held, counting_reads
from inference.completion import close_quiet
from roi.settings import Settings, read_settings
from storage import schema
from storage.adapters import open_store
from storage.archive import utc_now
from storage.database import Database
from storage.ports import ObjectStore
from tests.servers.line import Line, Way
from tests.servers.minio import running_minio
from tests.servers.s3 import ACCESS_KEY, REGION, SECRET_KEY

_QUIET = timedelta(minutes=5)


class Holder:
    """A server that is filled, ended, and asked once it runs anew: with nothing in its memory."""

    is_bare = False
    """Whether it only sends what a study is made of."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.name = peer.name

    def fill(self, folder: Path, corpora: list[Corpus]) -> None:
        """Have the server take the corpora in, and end."""
        with self.peer.running(folder):
            for corpus in corpora:
                send_stow(self.peer, corpus, 1, lambda: None)
                stored = self.peer.stored(folder, corpus)
                if stored != corpus.instances:
                    raise MissingError(f"{self.name}: {len(stored)} of {len(corpus.instances)} were stored")
            self.prepare(folder, corpora)

    @abstractmethod
    def prepare(self, folder: Path, corpora: list[Corpus]) -> None:
        """Do what the server's other processes do after ingest."""

    @contextmanager
    def held(self, folder: Path, series: Corpus, multiframe: Corpus) -> Iterator[Held]:
        """Run the filled server."""
        with self.peer.running(folder) as pids, self.counting(pids) as read_bytes:
            yield Held(peer=self.peer, pids=pids, series=series, multiframe=multiframe, read_bytes=read_bytes)

    @contextmanager
    def counting(self, pids: list[int]) -> Iterator[Callable[[], int]]:
        """Count what the server reads of what it holds."""
        with counting_reads(pids) as count:
            yield count


class OrthancHolder(Holder):
    """Orthanc; whatever it makes once a study is stable, it has not made yet."""

    def prepare(self, folder: Path, corpora: list[Corpus]) -> None:
        """Do nothing."""


class RoiHolder(Holder):
    """Our API on SQLite and a directory."""

    def __init__(self, peer: RoiApi | None = None) -> None:
        super().__init__(peer or RoiApi("roi"))

    def prepare(self, folder: Path, corpora: list[Corpus]) -> None:
        """Complete the studies, and make their extracts as the worker would."""
        assert isinstance(self.peer, RoiApi)
        with closing(Database(self.peer.catalogue_url(folder))) as database:
            close_quiet(database, [], now=utc_now() + _QUIET, seen={})
            command = [sys.executable, "-m", "roi.cli", "extract"]
            subprocess.run(command, env=self.settings(folder).as_environment(), check=True, stdout=subprocess.DEVNULL)
            with database.read() as tx:
                places = tx.execute(sa.select(sa.func.count()).select_from(schema.places)).scalar_one()
        if places != sum(len(corpus.instances) for corpus in corpora):
            raise MissingError(f"{self.name}: extracts of {places} instances")

    def settings(self, folder: Path) -> Settings:
        """Return the settings that the server runs with."""
        assert isinstance(self.peer, RoiApi)
        return read_settings(
            data=folder / "data",
            catalogue=self.peer.catalogue_url(folder),
            objects=self.peer.objects_url(folder),
            http_port=self.peer.http_port,
            s3_access_key=ACCESS_KEY,
            s3_secret_key=SECRET_KEY,
        )


class RoiApiOnMinio(RoiApi):
    """Our API on SQLite and MinIO, behind a line that counts."""

    def __init__(self) -> None:
        super().__init__("roi on MinIO", promise="object in MinIO, row synced")
        self.line: Line | None = None

    def start_behind(self, folder: Path, stack: ExitStack) -> list[int]:
        """Start MinIO."""
        server = stack.enter_context(running_minio(folder / "minio"))
        self.line = stack.enter_context(Line(int(server.url.rpartition(":")[2])))
        return [server.pid]

    def environment(self, folder: Path) -> dict[str, str]:
        """Add the keys."""
        return super().environment(folder) | {"ROI_S3_ACCESS_KEY": ACCESS_KEY, "ROI_S3_SECRET_KEY": SECRET_KEY}

    def objects_url(self, folder: Path) -> str:  # noqa: ARG002 - the common form
        """Return the bucket, by way of the line."""
        assert self.line is not None, "start_behind comes first"
        return f"s3://roi?endpoint=http://127.0.0.1:{self.line.port}&region={REGION}"

    def _store(self, folder: Path) -> ObjectStore:
        return open_store(self.objects_url(folder), access_key=ACCESS_KEY, secret_key=SECRET_KEY)


class RoiOnMinioHolder(RoiHolder):
    """The same, counting what comes over the line."""

    def __init__(self) -> None:
        super().__init__(RoiApiOnMinio())

    @contextmanager
    def counting(self, pids: list[int]) -> Iterator[Callable[[], int]]:  # noqa: ARG002 - the common form
        """Count what MinIO sends."""
        assert isinstance(self.peer, RoiApiOnMinio)
        line = self.peer.line
        assert line is not None
        yield lambda: line.passed[Way.BACK]


class FloorHolder(Holder):
    """No archive: files and a socket."""

    is_bare = True

    def __init__(self) -> None:
        super().__init__(BareRetrieval())

    def fill(self, folder: Path, corpora: list[Corpus]) -> None:
        """Copy the files."""
        assert isinstance(self.peer, BareRetrieval)
        for corpus in corpora:
            self.peer.keep(folder, corpus)

    def prepare(self, folder: Path, corpora: list[Corpus]) -> None:
        """Do nothing."""


def holders(root: Path | None) -> dict[str, Callable[[], Holder]]:
    """Return who takes part, by key; `root` is the folder with Orthanc of its own, or None."""
    return {
        "roi": RoiHolder,
        "roi-s3": RoiOnMinioHolder,
        "orthanc": lambda: OrthancHolder(Orthanc(root)),
        "floor": FloorHolder,
    }

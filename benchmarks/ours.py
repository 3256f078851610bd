"""Rọi as a server under test: the gateway or the API, as a site would run them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import sqlalchemy as sa
import urllib3

from benchmarks import relaxed
from benchmarks.corpora import Corpus
from benchmarks.peers import MissingError, Peer
from storage import schema
from storage.adapters import open_store
from storage.database import Database
from storage.records import ObjectKey
from tests.servers.minio import running_minio
from tests.servers.postgres import running_postgres
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from storage.ports import ObjectStore

_START_S = 30.0

_KEPT = (
    sa.select(
        schema.instances.c.sop_instance_uid,
        schema.instances.c.object_key,
        schema.instances.c.size_bytes,
        schema.instances.c.meta_bytes,
    )
    .join_from(schema.instances, schema.studies, schema.studies.c.id == schema.instances.c.study_pk)
    .where(schema.studies.c.study_instance_uid.in_(sa.bindparam("studies", expanding=True)))
)


class Roi(Peer):
    """Our gateway with nothing configured: SQLite and a directory."""

    aet = "ROI"
    stow = "/dicom-web/studies"

    def __init__(
        self,
        name: str = "roi",
        *,
        promise: str = "object, folder and row synced",
        processes: int = 1,
        catalogue_url: Callable[[], str] | None = None,
        behind: Callable[[], list[int]] = list,
    ) -> None:
        """Take, for each run, the catalogue that `catalogue_url` returns, served by the processes `behind`."""
        super().__init__()
        self.name = name
        self.promise = promise
        self._processes = processes
        self._choose_catalogue = catalogue_url
        self._chosen = ""
        self._behind = behind

    def start_behind(self, folder: Path, stack: ExitStack) -> list[int]:  # noqa: ARG002 - the peers' common form
        """Choose the catalogue of this run; return what serves it."""
        if self._choose_catalogue:
            self._chosen = self._choose_catalogue()
        return self._behind()

    def command(self, folder: Path) -> list[str]:
        """Run the gateway role alone, as the distributed set-up does."""
        return [sys.executable, "-m", *self.program(), *self._options(folder), "--dicom-port", str(self.dicom_port)]

    def program(self) -> list[str]:
        """Return the module that runs, and its first arguments."""
        return ["roi.cli", "gateway"]

    def _options(self, folder: Path) -> list[str]:
        catalogue = ["--catalogue", self.catalogue_url(folder), "--objects", self.objects_url(folder)]
        return ["--data", str(folder / "data"), *catalogue]

    def environment(self, folder: Path) -> dict[str, str]:  # noqa: ARG002 - the peers' common form
        """Say how many processes share the port."""
        return {"ROI_AET": self.aet, "ROI_GATEWAY_PROCESSES": str(self._processes)}

    def check_running(self, folder: Path, pid: int) -> None:  # noqa: ARG002 - the peers' common form
        """Wait until as many processes listen as shall share the port: the first to listen answers for all."""
        deadline = time.monotonic() + _START_S
        while (found := self._listeners(pid)) != self._processes:
            if time.monotonic() > deadline:
                raise MissingError(f"{self.name}: {found} processes listen, not {self._processes}")
            time.sleep(0.05)

    def _listeners(self, pid: int) -> int:
        root = psutil.Process(pid)
        return sum(
            socket.status == psutil.CONN_LISTEN and socket.laddr.port == self.dicom_port
            for process in (root, *root.children(recursive=True))
            for socket in process.net_connections("tcp")
        )

    def catalogue_url(self, folder: Path) -> str:
        """Return where the catalogue is."""
        return self._chosen or f"sqlite:///{folder / 'data/catalogue.sqlite'}"

    def objects_url(self, folder: Path) -> str:
        """Return where the objects are."""
        return f"dir://{folder / 'data/store'}"

    def stored(self, folder: Path, corpus: Corpus) -> set[str]:
        """Read the catalogue, and ask for each object's length."""
        kept = self._kept(folder, corpus)
        store = self._store(folder)
        return {uid for uid, (key, size_bytes, _) in kept.items() if store.size(ObjectKey(key)) == size_bytes}

    def holds(self, folder: Path) -> int:
        """Return how many instances the catalogue holds."""
        with closing(Database(self.catalogue_url(folder))) as database, database.read() as tx:
            return int(tx.execute(sa.select(sa.func.count()).select_from(schema.instances)).scalar_one())

    def data_set(self, folder: Path, uid: str) -> bytes:
        """Read the object behind its file meta information."""
        key, _, meta_bytes = self._found[uid]
        with self._store(folder).open(ObjectKey(key), offset=meta_bytes) as stream:
            return stream.read()

    def _kept(self, folder: Path, corpus: Corpus) -> Mapping[str, tuple[str, int, int]]:
        with closing(Database(self.catalogue_url(folder))) as database, database.read() as tx:
            rows = tx.execute(_KEPT, {"studies": list(corpus.studies)}).all()
        self._found = {uid: (key, size_bytes, meta_bytes) for uid, key, size_bytes, meta_bytes in rows}
        if len(self._found) != len(rows):
            raise MissingError(f"{self.name}: {len(rows)} rows for {len(self._found)} instances")
        return self._found

    def _store(self, folder: Path) -> ObjectStore:
        return open_store(self.objects_url(folder))


class RelaxedRoi(Roi):
    """Our gateway made to promise no more than Orthanc does."""

    def __init__(self) -> None:
        super().__init__("roi, Orthanc's durability", promise="file synced, row in WAL (NORMAL)")

    def program(self) -> list[str]:
        """Run the gateway with the two syncs weakened."""
        return ["benchmarks.relaxed"]

    def environment(self, folder: Path) -> dict[str, str]:
        """Let it find us: it runs in the server's folder."""
        return super().environment(folder) | {"PYTHONPATH": str(Path(__file__).parents[1])}

    def check_running(self, folder: Path, pid: int) -> None:
        """Look for what it writes once SQLite has confirmed the weaker level (1, NORMAL)."""
        super().check_running(folder, pid)
        marker = folder / relaxed.MARKER
        if not marker.exists() or marker.read_text() != "1":
            raise MissingError(f"{self.name}: durability is not what the row says")


class RoiApi(Roi):
    """Our API role with nothing configured, which takes STOW-RS."""

    def command(self, folder: Path) -> list[str]:
        """Run the API role alone."""
        return [sys.executable, "-m", "roi.cli", "api", *self._options(folder), "--http-port", str(self.http_port)]

    def ask(self) -> None:
        """Return once it says that it is ready."""
        answer = urllib3.request("GET", f"http://127.0.0.1:{self.http_port}/health/ready", timeout=5, retries=False)
        if answer.status != 200:
            raise ConnectionError(f"/health/ready answered {answer.status}")

    def check_running(self, folder: Path, pid: int) -> None:
        """Accept it: it has said itself that it is ready."""


class RoiOnServers(Roi):
    """Our gateway on PostgreSQL and MinIO, both on this machine and new for each run."""

    def __init__(self) -> None:
        super().__init__("roi on PostgreSQL and MinIO", promise="object in MinIO, row in PostgreSQL")
        self._urls = ("", "")

    def start_behind(self, folder: Path, stack: ExitStack) -> list[int]:
        """Start both, their durability as shipped."""
        database = stack.enter_context(running_postgres(folder / "postgres"))
        objects = stack.enter_context(running_minio(folder / "minio"))
        self._urls = (database.make_database("roi"), objects.bucket_url("roi"))
        return [database.pid, objects.pid]

    def environment(self, folder: Path) -> dict[str, str]:
        """Add the keys."""
        return super().environment(folder) | {"ROI_S3_ACCESS_KEY": ACCESS_KEY, "ROI_S3_SECRET_KEY": SECRET_KEY}

    def catalogue_url(self, folder: Path) -> str:  # noqa: ARG002 - the common form
        """Return the database."""
        return self._urls[0]

    def objects_url(self, folder: Path) -> str:  # noqa: ARG002 - the common form
        """Return the bucket."""
        return self._urls[1]

    @cached_property
    def _bucket(self) -> ObjectStore:
        return open_store(self._urls[1], access_key=ACCESS_KEY, secret_key=SECRET_KEY)

    def stored(self, folder: Path, corpus: Corpus) -> set[str]:
        """Ask the bucket of this run, not that of the one before."""
        self.__dict__.pop("_bucket", None)
        return super().stored(folder, corpus)

    def _store(self, folder: Path) -> ObjectStore:  # noqa: ARG002 - the common form
        return self._bucket

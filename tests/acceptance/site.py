"""A running archive, small or large: its roles as processes, and what its clients, its operator and its disk see.

One object, two shapes: `embedded` runs `roi serve` alone, `apart` runs `roi gateway`, `roi api` and `roi worker` on a
database, an object store and a broker that run already.  Everything asked of a site is asked from outside.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psutil
import sqlalchemy as sa
import urllib3

from pacs_gateway import scu
from roi import compose
from roi.settings import Settings, read_settings
from storage import schema
from storage.database import Database
from tests.acceptance.studies import SentFile, data_set_bytes
from tests.acceptance.tap import Tap
from tests.servers.process import Program, Server, ServerError, connects, free_port

ROOT = Path(__file__).parents[2]
ROLES = ("gateway", "api", "worker")
MODEL = "model"
"""The worker's child, in which the models run."""
SETTLED = {"analysed", "not suitable", "failed", "no model applies", "opted out"}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class JobSeen:
    """A job's row."""

    id: str
    revision: int
    model: str
    state: str
    attempts: int


class Site:
    """Roles that run; use as a context manager."""

    def __init__(self, name: str, settings: Settings, programs: Sequence[Program], tap: Tap | None = None) -> None:
        self.name = name
        self.settings = settings
        self.servers = {program.name: Server(program, "") for program in programs}
        self.tap = tap
        self.http_url = f"http://127.0.0.1:{settings.http_port}"
        self._database: Database | None = None

    def __enter__(self) -> Site:
        try:
            for server in self.servers.values():
                server.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in reversed(self.servers.values()):
            server.stop()
        if self._database is not None:
            self._database.close()
        if self.tap is not None:
            self.tap.close()

    # ------------------------------------------------------------------------------------------------ processes
    def processes(self) -> dict[str, psutil.Process]:
        """Return the processes that run now by role; the supervisor of the embedded set-up is `serve`."""
        found: dict[str, psutil.Process] = {}
        for server in self.servers.values():
            with suppress(AssertionError, psutil.NoSuchProcess):
                top = psutil.Process(server.pid)
                for process in (top, *top.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        role = _role(process)
                        found |= {role: process} if role else {}
        return found

    def kill(self, role: str) -> bool:
        """Kill a role as a power cut would; False where it does not run just now.

        Roles apart are started again at once; embedded, the supervisor does it.
        """
        process = self.processes().get(role)
        if process is None:
            return False
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
        self.revive()
        return True

    def revive(self) -> None:
        """Start again whatever has ended, as a service manager does; what ends at once is for the next time."""
        for server in self.servers.values():
            if not _runs(server):
                with suppress(ServerError):
                    server.restart()

    # ------------------------------------------------------------------------------------------------- as a client
    def send(self, files: Iterable[SentFile], *, associations: int = 1) -> None:
        """Send files over an association; every one must be taken."""
        paths = [file.path for file in files]
        report = scu.send(paths, "127.0.0.1", self.settings.dicom_port, associations=associations)
        assert report.not_sent == ()
        assert report.sent == len(paths)

    def call(self, method: str, path: str, *, body: object = None, accept: str = "application/json") -> Answer:
        """Call the HTTP side."""
        encoded = None if body is None else json.dumps(body).encode()
        return self._request(method, path, encoded, {"Accept": accept, "Content-Type": "application/json"})

    def post(self, path: str, body: bytes, media_type: str) -> Answer:
        """Post bytes of a media type."""
        return self._request("POST", path, body, {"Accept": "application/dicom+json", "Content-Type": media_type})

    def _request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        url = self.http_url + path
        answer = urllib3.request(method, url, body=body, headers=headers, timeout=30, retries=False)
        return Answer(status=answer.status, body=answer.data, media_type=answer.headers.get("Content-Type", ""))

    def get(self, path: str) -> Any:
        """Return the JSON of a resource that must be there."""
        answer = self.call("GET", path)
        assert answer.status == 200, (path, answer.status, answer.body[:500])
        return json.loads(answer.body)

    def worklist(self) -> list[dict[str, Any]]:
        """Return every row, in reading order."""
        rows: list[dict[str, Any]] = []
        while True:
            page = self.get(f"/api/worklist?limit=500&offset={len(rows)}")
            rows += page["entries"]
            if len(rows) >= page["total"] or not page["entries"]:
                return rows

    def read_all(self) -> None:
        """Note of everything on the list that it was read: an empty list has no flag rate that could be too high."""
        for row in self.worklist():
            answer = self.call("PUT", f"/api/studies/{row['study_instance_uid']}/reported", body={"by": "BS Thu"})
            assert answer.status in {200, 409}, answer.body

    def row(self, study: str) -> dict[str, Any]:
        """Return one study's row."""
        entry: dict[str, Any] = self.get(f"/api/worklist/{study}")
        return entry

    def settled(self, study: str, *, revision: int = 1, limit_s: float = 120) -> dict[str, Any]:
        """Return a study's row once this revision of it is complete and every model has had its say."""

        def look() -> dict[str, Any] | None:
            row = self.row(study)
            done = row["ready_at"] is not None and row["revision"] >= revision and row["state"] == "TRIAGED"
            return row if done and all(line["coverage"] in SETTLED for line in row["coverage"]) else None

        return self.wait(look, f"{study} settled at revision {revision}", limit_s=limit_s)

    def told(self, *, limit_s: float = 120) -> None:
        """Return once every result so far is told as DICOM objects."""
        untold = (schema.results.c.reported_at.is_(None), schema.results.c.provisional.is_(None))
        waiting = sa.select(schema.results.c.id).where(*untold).limit(1)
        self.wait(lambda: None if self.rows_of(waiting) else True, "every result told", limit_s=limit_s)

    def order_of(self, studies: Iterable[str]) -> list[str]:
        """Return these studies as the worklist orders them."""
        wanted = set(studies)
        return [row["study_instance_uid"] for row in self.worklist() if row["study_instance_uid"] in wanted]

    def changes(self, study: str | None = None) -> list[dict[str, Any]]:
        """Return the change feed, of one study or of all."""
        found: list[dict[str, Any]] = []
        cursor = 0
        while page := self.get(f"/api/changes?since={cursor}")["changes"]:
            found += page
            cursor = page[-1]["seq"]
        return [change for change in found if study in {None, change["study_instance_uid"]}]

    def data_set_of(self, file: SentFile) -> bytes:
        """Return the data set bytes that WADO-RS gives back."""
        path = f"/dicom-web/studies/{file.study}/series/{file.series}/instances/{file.instance}"
        answer = self.call("GET", path, accept="application/dicom; transfer-syntax=*")
        assert answer.status == 200, (answer.status, answer.body[:500])
        return data_set_bytes(answer.body)

    def wait(self, look: Callable[[], T | None], what: str, *, limit_s: float = 60) -> T:
        """Return what `look` finds once it finds something."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if (found := look()) is not None:
                return found
            time.sleep(0.1)
        raise AssertionError(f"{self.name}: not within {limit_s:g} s: {what}\n{self.log_text()[-3000:]}")

    # ---------------------------------------------------------------------------------------------- as its operator
    def log_files(self) -> list[Path]:
        """Return what the roles wrote on standard output and standard error."""
        return [server.program.folder / "log.txt" for server in self.servers.values()]

    def log_text(self) -> str:
        """Return all log lines of all roles."""
        return "".join(path.read_text(errors="replace") for path in self.log_files())

    def log_lines(self, action: str | None = None) -> list[dict[str, Any]]:
        """Return the log lines as records; of one action, where given."""
        found = []
        for line in self.log_text().splitlines():
            with suppress(ValueError):  # a line that a kill cut in two, or the one that says the site is ready
                found.append(json.loads(line))
        return [record for record in found if action in {None, record.get("action")}]

    def roi(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command with this site's settings."""
        return run_roi(*words, environment=self.settings.as_environment())

    def verify(self) -> dict[str, Any]:
        """Return the report of `roi verify`."""
        report: dict[str, Any] = json.loads(self.roi("verify", "--json").stdout)
        return report

    # --------------------------------------------------------------------------------------------------- on its disk
    def rows_of(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        """Ask the catalogue's database itself."""
        if self._database is None:
            password = self.settings.catalogue_password
            self._database = Database(
                self.settings.catalogue_url, password=password.get_secret_value() if password else None
            )
        with self._database.read() as tx:
            return tx.execute(query).all()

    def jobs_of(self, study: str) -> list[JobSeen]:
        """Return a study's jobs; not those on a part of it, of which there are as many as it came slowly."""
        jobs, studies = schema.jobs, schema.studies
        query = (
            sa.select(jobs.c.id, jobs.c.revision, jobs.c.model_id.label("model"), jobs.c.state, jobs.c.attempts)
            .join_from(jobs, studies, studies.c.id == jobs.c.study_pk)
            .where(studies.c.study_instance_uid == study, jobs.c.provisional == 0)
            .order_by(jobs.c.revision, jobs.c.model_id)
        )
        return [JobSeen(**row._mapping) for row in self.rows_of(query)]

    def object_keys(self) -> set[str]:
        """Return the keys of everything in the object store."""
        return set(compose.open_objects(self.settings).keys())


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    media_type: str


# ------------------------------------------------------------------------------------------------------- the shapes
def embedded(folder: Path, *, code: Path = ROOT, environment: Mapping[str, str] | None = None, **settings: Any) -> Site:
    """`roi serve` on a new folder, nothing else; `code` is the installation that runs."""
    told = _settings(folder, **settings)
    return Site("embedded", told, [_program("serve", folder, told, code, environment or {})])


def receivers(folder: Path, *, roles: Sequence[str] = ("gateway", "api"), **settings: Any) -> Site:
    """Gateway and API as processes of their own on a new folder, and nothing that works on what they receive."""
    told = _settings(folder, **settings)
    compose.open_database(told).close()
    return Site("receivers", told, [_program(role, folder / role, told, ROOT, {}) for role in roles])


class _Databases(Protocol):
    """A PostgreSQL, or what leads to one."""

    def make_database(self, name: str) -> str: ...


class _Buckets(Protocol):
    """A server of S3, or what leads to one."""

    access_key: str
    secret_key: str

    def bucket_url(self, bucket: str) -> str: ...


def apart(
    folder: Path,
    *,
    postgres: _Databases,
    minio: _Buckets,
    broker: Server,
    name: str,
    environment: Mapping[str, str] | None = None,
    **settings: Any,
) -> Site:
    """Gateway, API and worker as processes of their own; the broker is reached through a tap."""
    tap = Tap(broker.url)
    told = _settings(
        folder,
        catalogue=postgres.make_database(name.replace("-", "_")),
        objects=minio.bucket_url(f"roi-{name}"),
        s3_access_key=minio.access_key,
        s3_secret_key=minio.secret_key,
        dispatch=tap.url,
        **settings,
    )
    compose.open_database(told).close()
    programs = [_program(role, folder / role, told, ROOT, environment or {}) for role in ROLES]
    return Site(name, told, programs, tap)


def run_roi(
    *words: str, environment: Mapping[str, str] | None = None, code: Path = ROOT, limit_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "roi.cli", *words]
    told = {**os.environ, **(environment or {}), "PYTHONPATH": str(code)}
    return subprocess.run(command, capture_output=True, text=True, env=told, timeout=limit_s, check=False)


def _settings(folder: Path, **settings: Any) -> Settings:
    ports = {"dicom_port": free_port(), "http_port": free_port()}
    return read_settings(**{"data": folder / "data", "log": "json", "scrub_every": 0, **ports, **settings})


def _program(role: str, folder: Path, settings: Settings, code: Path, environment: Mapping[str, str]) -> Program:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [environment.get("PYTHONPATH"), str(code)]
    told = {**settings.as_environment(), **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return Program(
        name=role,
        command=[sys.executable, "-m", "roi.cli", role],
        folder=folder,
        is_ready=lambda: _is_ready(role, settings),
        env=told,
        start_s=90,
        stop_s=30,
    )


def _is_ready(role: str, settings: Settings) -> None:
    if role in {"serve", "gateway"}:
        connects(settings.dicom_port)
    if role in {"serve", "api"}:
        url = f"http://127.0.0.1:{settings.http_port}/health/ready"
        answer = urllib3.request("GET", url, timeout=5, retries=False)
        if answer.status != 200:
            raise ConnectionError(answer.data.decode())


def _runs(server: Server) -> bool:
    try:
        return psutil.Process(server.pid).status() != psutil.STATUS_ZOMBIE
    except (AssertionError, psutil.NoSuchProcess):
        return False


def _role(process: psutil.Process) -> str | None:
    words = process.cmdline()
    if "roi.cli" in words:
        return words[words.index("roi.cli") + 1]
    spawned = any("spawn_main" in word for word in words)  # the model's process, or some role's decoder
    above = process.parent() if spawned else None
    return MODEL if above is not None and "worker" in above.cmdline() else None

"""Orthanc, tuned, from this machine or from a folder with a newer Debian."""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import urllib3

from benchmarks.corpora import Corpus
from benchmarks.peers import MissingError, Peer
from benchmarks.sender import Part10
from tests.servers.postgres import running_postgres
from tests.servers.process import find_program


class Orthanc(Peer):
    """Orthanc with SQLite, tuned: no Nagle, 128 KiB PDUs, 8 threads, durability as shipped.

    `root` is a folder with a Debian of its own (`make_chroot`); None runs the installed one.
    """

    aet = "ORTHANC"
    promise = "file synced, row in WAL (NORMAL)"
    stow = "/dicom-web/studies"
    plugins: tuple[str, ...] = ("libOrthancDicomWeb.so",)

    def __init__(self, root: Path | None = None) -> None:
        super().__init__()
        self._root = root
        version = subprocess.run([*self._enter(), "Orthanc", "--version"], capture_output=True, text=True, check=True)
        self.name = f"orthanc {version.stdout.split()[1].split('+')[0]}"

    def command(self, folder: Path) -> list[str]:
        """Configure and run it, inside its folder where it has one."""
        config = {
            "StorageDirectory": self._inside(folder / "storage"),
            "IndexDirectory": self._inside(folder / "index"),
            "Plugins": [self._inside(self._plugins() / name) for name in self.plugins],
            "HttpPort": self.http_port,
            "HttpBindAddresses": ["127.0.0.1"],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": self.aet,
            "DicomPort": self.dicom_port,
            "DefaultEncoding": "Utf8",
            "MaximumPduLength": 131072,
            "DicomThreadsCount": 8,
            **self.more(),
        }
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        return [*self._enter(), "Orthanc", self._inside(folder / "config.json")]

    def more(self) -> dict[str, object]:
        """Return further settings."""
        return {}

    def stored(self, folder: Path, corpus: Corpus) -> set[str]:  # noqa: ARG002 - the peers' common form
        """Ask over QIDO-RS (PS3.18 10.6)."""
        return {uid for study in corpus.studies for uid in self._instances(study)}

    def holds(self, folder: Path) -> int:  # noqa: ARG002 - the common form
        """Return how many instances it holds."""
        return int(json.loads(self._call("GET", "/statistics"))["CountInstances"])

    def data_set(self, folder: Path, uid: str) -> memoryview:  # noqa: ARG002 - the peers' common form
        """Fetch the file over Orthanc's own interface, as it is stored."""
        [found] = json.loads(self._call("POST", "/tools/lookup", uid.encode()))
        return Part10.read(memoryview(self._call("GET", f"/instances/{found['ID']}/file"))).dataset

    def workplace(self, work: Path) -> Path:
        """Keep the data inside its own folder, which must be on the disk that the others write to."""
        if self._root is None:
            return work
        place = self._root / "srv"
        if place.stat().st_dev != work.stat().st_dev:
            raise MissingError(f"{self._root} and {work} lie on different disks: put both on one")
        return place / work.name

    def _instances(self, study: str) -> list[str]:
        items: list[dict[str, Any]] = json.loads(self._call("GET", f"/dicom-web/studies/{study}/instances"))
        return [item["00080018"]["Value"][0] for item in items]

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        url = f"http://127.0.0.1:{self.http_port}{path}"
        accept = {"Accept": "application/dicom+json"} if path.startswith("/dicom-web") else {}
        answer = urllib3.request(method, url, body=body, headers=accept, timeout=60)
        if answer.status != 200:
            raise MissingError(f"{self.name}: {path} answered {answer.status}")
        return answer.data

    def _enter(self) -> list[str]:
        return ["chroot", str(self._root)] if self._root else []

    def _inside(self, path: Path) -> str:
        return f"/{path.relative_to(self._root)}" if self._root else str(path)

    def _plugins(self) -> Path:
        return (self._root or Path("/")) / "usr/share/orthanc/plugins"


class OrthancAtRest(Orthanc):
    """The same, but that it never looks again at what came.

    A minute after ten thousand studies, that takes a core for many minutes, in which it would answer later than it
    can, and so would everybody else on the machine.
    """

    def more(self) -> dict[str, object]:
        """Put it off for a day."""
        return {"StableAge": 86_400}


class OrthancPostgres(Orthanc):
    """The same with its index in PostgreSQL, the files in its folder."""

    promise = "file synced, row in PostgreSQL"
    plugins = ("libOrthancDicomWeb.so", "libOrthancPostgreSQLIndex.so")

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(root)
        self.name += " on PostgreSQL"
        self._database_port = 0

    def available(self) -> bool:
        """Tell whether its plugin is there."""
        return (self._plugins() / self.plugins[1]).exists()

    def start_behind(self, folder: Path, stack: ExitStack) -> list[int]:
        """Start a PostgreSQL, its durability as shipped."""
        server = stack.enter_context(running_postgres(folder / "postgres"))
        server.make_database("orthanc")
        self._database_port = int(server.url.rpartition(":")[2].partition("/")[0])
        return [server.pid]

    def more(self) -> dict[str, object]:
        """Name the database."""
        database = {
            "EnableIndex": True,
            "EnableStorage": False,
            "Host": "127.0.0.1",
            "Port": self._database_port,
            "Database": "orthanc",
            "Username": "postgres",
            "Password": "",
            "EnableSsl": False,
            "Lock": False,
        }
        return {"PostgreSQL": database}


def make_chroot(folder: Path) -> None:
    """Unpack a Debian 13 with Orthanc 1.12 into `folder`, where it is not there yet: 1 GB, under a minute.

    Nothing is mounted into it.  Needs root and debootstrap; packages come from where this machine's apt gets its own.
    """
    if not (folder / "usr/sbin/Orthanc").exists():
        places = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
            capture_output=True,
            text=True,
            check=True,
        )
        mirror = [place for place in places.stdout.splitlines() if place.endswith("/debian")][:1]
        packages = "--include=orthanc,orthanc-dicomweb,orthanc-postgresql"
        subprocess.run(["debootstrap", "--variant=minbase", packages, "trixie", str(folder), *mirror], check=True)
    # Orthanc looks its own name up for each DICOMweb answer: five seconds where nobody answers
    (folder / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")


def installed_orthanc() -> bool:
    """Tell whether the machine has an Orthanc of its own."""
    return find_program("Orthanc") is not None

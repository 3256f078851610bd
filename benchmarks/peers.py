"""The servers that an ingest run compares: ours, DCMTK's storescp, and Orthanc, each as it is best tuned."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import urllib3

from benchmarks.corpora import Corpus
from benchmarks.sender import VERIFICATION, Association
from tests.servers.dcmtk import NO_DELAY, dcmtk
from tests.servers.process import Program, Server, find_program, free_port


class MissingError(RuntimeError):
    """A run that lost an instance gives no number."""


class Peer(ABC):
    """A server under test."""

    name: ClassVar[str]
    aet: ClassVar[str]
    promise: ClassVar[str]
    """What has happened before Success is answered."""

    def __init__(self) -> None:
        self.dicom_port = free_port()

    @contextmanager
    def running(self, folder: Path) -> Iterator[Server]:
        """Run the server on an empty `folder`, from its first answered C-ECHO on."""
        folder.mkdir(parents=True)
        program = Program(
            name=self.name,
            command=self.command(folder),
            folder=folder,
            is_ready=self._echo,
            env=NO_DELAY,  # Orthanc is built on DCMTK too
        )
        with Server(program, f"127.0.0.1:{self.dicom_port}") as server:
            yield server

    @abstractmethod
    def command(self, folder: Path) -> list[str]:
        """Return the command that runs the server in the foreground."""

    @abstractmethod
    def stored(self, folder: Path, corpus: Corpus) -> set[str]:
        """Return the SOP Instance UIDs that the running server holds of the corpus's studies."""

    def check(self, folder: Path, corpus: Corpus) -> None:
        """Raise `MissingError` unless the server holds exactly what was sent."""
        stored = self.stored(folder, corpus)
        if stored != corpus.instances:
            lost = len(corpus.instances - stored)
            raise MissingError(f"{self.name}: {lost} of {len(corpus.instances)} {corpus.name} instances are missing")

    def workplace(self, work: Path) -> Path:
        """Return where the server's folder is made: on the same disk for all."""
        return work

    def _echo(self) -> None:
        association = Association(self.dicom_port, self.aet, [VERIFICATION])
        association.echo()
        association.release()


class Roi(Peer):
    """Our gateway with nothing configured: SQLite and a directory."""

    name = "roi gateway"
    aet = "ROI"
    promise = "object, folder and row synced"

    def command(self, folder: Path) -> list[str]:
        """Run the gateway role alone, as the distributed set-up does."""
        options = ["--data", str(folder / "data"), "--dicom-port", str(self.dicom_port), "--aet", self.aet]
        return [sys.executable, "-m", "roi.cli", "gateway", *options]

    def stored(self, folder: Path, corpus: Corpus) -> set[str]:  # noqa: ARG002 - the peers' common form
        """Read the catalogue, and look at each object's length."""
        with closing(sqlite3.connect(f"file:{folder}/data/catalogue.sqlite?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT sop_instance_uid, object_key, size_bytes FROM instances").fetchall()
        return {uid for uid, key, size in rows if self._object(folder, key).stat().st_size == size}

    def _object(self, folder: Path, key: str) -> Path:
        return folder / "data/store/objects" / key[:2] / key


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


class Orthanc(Peer):
    """Orthanc with SQLite, tuned: no Nagle, 128 KiB PDUs, 8 threads, durability as shipped.

    `root` is a folder with a Debian of its own (`make_chroot`); None runs the installed one.
    """

    aet = "ORTHANC"
    promise = "file synced, row in WAL (NORMAL)"

    def __init__(self, root: Path | None = None) -> None:
        super().__init__()
        self._root = root
        self._http_port = free_port()
        version = subprocess.run([*self._enter(), "Orthanc", "--version"], capture_output=True, text=True, check=True)
        self.name = f"orthanc {version.stdout.split()[1].split('+')[0]}"  # type: ignore[misc]

    def command(self, folder: Path) -> list[str]:
        """Configure and run it, inside its folder where it has one."""
        config = {
            "StorageDirectory": self._inside(folder / "storage"),
            "IndexDirectory": self._inside(folder / "index"),
            "Plugins": [self._inside(self._plugin())],
            "HttpPort": self._http_port,
            "HttpBindAddresses": ["127.0.0.1"],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": self.aet,
            "DicomPort": self.dicom_port,
            "DefaultEncoding": "Utf8",
            "MaximumPduLength": 131072,
            "DicomThreadsCount": 8,
        }
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        return [*self._enter(), "Orthanc", self._inside(folder / "config.json")]

    def stored(self, folder: Path, corpus: Corpus) -> set[str]:  # noqa: ARG002 - the peers' common form
        """Ask over QIDO-RS (PS3.18 10.6)."""
        return {uid for study in corpus.studies for uid in self._instances(study)}

    def workplace(self, work: Path) -> Path:
        """Keep the data inside its own folder, which must be on the disk that the others write to."""
        if self._root is None:
            return work
        place = self._root / "srv"
        if place.stat().st_dev != work.stat().st_dev:
            raise MissingError(f"{self._root} and {work} lie on different disks: put both on one")
        return place / work.name

    def _instances(self, study: str) -> list[str]:
        url = f"http://127.0.0.1:{self._http_port}/dicom-web/studies/{study}/instances"
        answer = urllib3.request("GET", url, headers={"Accept": "application/dicom+json"}, timeout=60)
        items: list[dict[str, Any]] = answer.json()
        return [item["00080018"]["Value"][0] for item in items]

    def _enter(self) -> list[str]:
        return ["chroot", str(self._root)] if self._root else []

    def _inside(self, path: Path) -> str:
        return f"/{path.relative_to(self._root)}" if self._root else str(path)

    def _plugin(self) -> Path:
        folder = (self._root or Path("/")) / "usr/share/orthanc/plugins"
        return folder / "libOrthancDicomWeb.so"


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
        packages = "--include=orthanc,orthanc-dicomweb"
        subprocess.run(["debootstrap", "--variant=minbase", packages, "trixie", str(folder), *mirror], check=True)
    # Orthanc looks its own name up for each DICOMweb answer: five seconds where nobody answers
    (folder / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")


def installed_orthanc() -> bool:
    """Tell whether the machine has an Orthanc of its own."""
    return find_program("Orthanc") is not None

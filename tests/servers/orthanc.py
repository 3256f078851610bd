"""Orthanc as a peer: a foreign archive that sends to us and receives from us."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from tests.servers.process import Program, Server, find_program, free_port

_PLUGINS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"))


class OrthancServer(Server):
    """A running Orthanc; `url` is its REST root, DICOMweb lies below ``/dicom-web``."""

    aet = "ORTHANC"
    dicom_port: int

    def add_peer(self, name: str, aet: str, port: int) -> None:
        """Make a DICOM node on this machine known as `name`, for sending and C-MOVE."""
        self.call("PUT", f"/modalities/{name}", {"AET": aet, "Host": "127.0.0.1", "Port": port})

    def call(self, method: str, path: str, body: object = None) -> object:
        """Call the REST API and return what the JSON of the answer says."""
        answer = urllib3.request(method, self.url + path, body=json.dumps(body), timeout=30, retries=False)
        if answer.status != 200:
            raise ConnectionError(f"{method} {path} answered {answer.status}")
        return json.loads(answer.data or b"null")


def available() -> str | None:
    """Return why Orthanc cannot be run here, or None."""
    if not find_program("Orthanc"):
        return "Orthanc is not installed"
    return None if _dicomweb_plugin() else "Orthanc's DICOMweb plugin is not installed"


@contextmanager
def running_orthanc(folder: Path) -> Iterator[OrthancServer]:
    """Run an empty Orthanc below `folder` that answers anybody on loopback."""
    folder.mkdir(parents=True)
    http_port, dicom_port = free_port(), free_port()
    url = f"http://127.0.0.1:{http_port}"
    config = {
        "Name": "peer",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [str(_dicomweb_plugin())],
        "HttpPort": http_port,
        "HttpBindAddresses": ["127.0.0.1"],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": OrthancServer.aet,
        "DicomPort": dicom_port,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "DefaultEncoding": "Utf8",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    program = Program(
        name="Orthanc",
        command=[str(find_program("Orthanc")), str(folder / "config.json")],
        folder=folder,
        is_ready=lambda: urllib3.request("GET", f"{url}/system", timeout=2, retries=False),
        env={"TCP_NODELAY": "1"},  # Debian's DCMTK leaves Nagle on: 40 ms a response
    )
    server = OrthancServer(program, url)
    server.dicom_port = dicom_port
    with server:
        yield server


def _dicomweb_plugin() -> Path | None:
    found = (path for folder in _PLUGINS for path in sorted(folder.glob("libOrthancDicomWeb.so*")))
    return next(found, None)

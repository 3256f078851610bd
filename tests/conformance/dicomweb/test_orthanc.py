"""Orthanc's DICOMweb plugin as a client of ours: it stores, searches, and fetches by WADO-RS (T-6).

Its client cannot read the 204 of a search without a match: the site here answers an empty list (W-45)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from pydicom.dataset import Dataset

from tests import builders
from tests.conformance.dicomweb.conftest import served
from tests.servers.orthanc import OrthancServer

pytestmark = [pytest.mark.servers, pytest.mark.filterwarnings("ignore::ResourceWarning")]

STUDY, SERIES = "2.25.1", "2.25.1.1"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "ours"
    folder.mkdir()
    with served(folder, public=True, qido_empty=200) as address:
        yield address


@pytest.fixture
def orthanc(orthanc_server: OrthancServer, site: str) -> Iterator[OrthancServer]:
    """Orthanc, empty, that knows us as `ours`."""
    orthanc_server.call("PUT", "/dicom-web/servers/ours", {"Url": f"{site}/dicom-web/"})
    yield orthanc_server
    _empty(orthanc_server)


def _empty(orthanc: OrthancServer) -> None:
    for study in _listed(orthanc, "studies"):
        urllib3.request("DELETE", f"{orthanc.url}/studies/{study}", retries=False)


def _listed(orthanc: OrthancServer, what: str) -> list[str]:
    found: Any = orthanc.call("GET", f"/{what}")
    return list(found)


def _send(orthanc: OrthancServer, data_set: Dataset) -> str:
    answer = urllib3.request("POST", f"{orthanc.url}/instances", body=builders.part10(data_set), retries=False)
    named: str = answer.json()["ID"]
    return named


def _ask(orthanc: OrthancServer, service: str, body: object) -> urllib3.BaseHTTPResponse:
    url = f"{orthanc.url}/dicom-web/servers/ours/{service}"
    return urllib3.request("POST", url, body=json.dumps(body), timeout=60, retries=False)


def test_what_orthanc_stores_is_found_and_fetched_by_it(orthanc: OrthancServer, site: str) -> None:
    """STOW-RS, QIDO-RS and WADO-RS by another's client; the pixels come back as they were (W-20, W-47, W-30)."""
    slices = [
        builders.ct_slice(number, PatientName="Nguyễn^Đào", SpecificCharacterSet="ISO_IR 192") for number in (1, 2, 3)
    ]
    resources = [_send(orthanc, each) for each in slices]
    stored = _ask(orthanc, "stow", {"Resources": resources, "Synchronous": True})
    assert stored.status == 200
    assert urllib3.request("GET", f"{site}/dicom-web/studies/{STUDY}/instances").json()[2]["00080018"]["Value"] == [
        "2.25.1.1.3"
    ]

    found = _ask(orthanc, "qido", {"Uri": "/studies", "Arguments": {"PatientName": "nguyen*"}})
    assert found.status == 200
    (told,) = found.json()
    assert told["0020000D"]["Value"] == STUDY  # Orthanc writes it so
    assert _ask(orthanc, "qido", {"Uri": "/studies", "Arguments": {"PatientID": "nobody"}}).json() == []

    _empty(orthanc)
    fetched = _ask(orthanc, "retrieve", {"Resources": [{"Study": STUDY}], "Synchronous": True})
    assert fetched.status == 200
    assert len(_listed(orthanc, "instances")) == 3
    pixels = {hashlib.sha256(each.PixelData).hexdigest() for each in slices}
    assert pixels == {_pixels(orthanc, each) for each in _listed(orthanc, "instances")}


def _pixels(orthanc: OrthancServer, instance: str) -> str:
    raw = urllib3.request("GET", f"{orthanc.url}/instances/{instance}/frames/0/raw", retries=False)
    return hashlib.sha256(raw.data).hexdigest()


def test_orthanc_reads_one_series_and_its_metadata_through_us(orthanc: OrthancServer) -> None:
    """Its WADO client asks for parts, and for metadata in JSON and XML (W-5, W-30)."""
    resources = [_send(orthanc, builders.ct_slice(number)) for number in (1, 2)]
    assert _ask(orthanc, "stow", {"Resources": resources, "Synchronous": True}).status == 200
    _empty(orthanc)
    assert (
        _ask(orthanc, "retrieve", {"Resources": [{"Study": STUDY, "Series": SERIES}], "Synchronous": True}).status
        == 200
    )
    assert len(_listed(orthanc, "instances")) == 2
    place = f"/studies/{STUDY}/series/{SERIES}"
    metadata = _ask(orthanc, "get", {"Uri": f"{place}/metadata", "HttpHeaders": {"Accept": "application/dicom+json"}})
    assert len(metadata.json()) == 2
    accept = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    assert b"NativeDicomModel" in _ask(orthanc, "get", {"Uri": f"{place}/metadata", "HttpHeaders": accept}).data
    picture = _ask(orthanc, "get", {"Uri": f"{place}/instances/2.25.1.1.1/rendered"})
    assert picture.data.startswith(b"\xff\xd8")


def test_a_transfer_that_orthanc_retries_stores_nothing_twice(orthanc: OrthancServer, site: str) -> None:
    resource = _send(orthanc, builders.ct_slice(1))
    for _ in range(2):
        assert _ask(orthanc, "stow", {"Resources": [resource], "Synchronous": True}).status == 200
    assert len(urllib3.request("GET", f"{site}/dicom-web/instances").json()) == 1

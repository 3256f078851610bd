"""A foreign client stores, searches and fetches back what it sent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset

from tests import builders
from tests.unit.api.requests import read

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:pydicom")


@pytest.fixture
def client(base_url: str) -> Iterator[DICOMwebClient]:
    session = requests.Session()
    yield DICOMwebClient(url=f"{base_url}/dicom-web", session=session)
    session.close()


def as_read(data_set: Dataset) -> Dataset:
    """As read from a file: this client sends a data set that was not without its preamble."""
    return read(builders.part10(data_set))


@pytest.fixture
def sent(client: DICOMwebClient) -> list[Dataset]:
    told = {"PatientName": "Nguyễn^Thị Đào", "SpecificCharacterSet": "ISO_IR 192", "StudyDate": "20260301"}
    data_sets = [as_read(builders.ct_slice(number, **told)) for number in range(1, 5)]
    client.store_instances(data_sets)
    return data_sets


def test_what_was_sent_is_fetched_back_equal(client: DICOMwebClient, sent: list[Dataset]) -> None:
    assert client.retrieve_study("2.25.1") == sent
    assert client.retrieve_series("2.25.1", "2.25.1.1") == sent
    assert client.retrieve_instance("2.25.1", "2.25.1.1", "2.25.1.1.3") == sent[2]
    assert list(client.iter_study("2.25.1")) == sent


def test_a_study_is_found_by_a_name_typed_without_accents(client: DICOMwebClient, sent: list[Dataset]) -> None:
    (found,) = client.search_for_studies(search_filters={"PatientName": "nguyen thi d*", "StudyDate": "20260101-"})
    assert found["0020000D"]["Value"] == ["2.25.1"]
    assert found["00100010"]["Value"] == [{"Alphabetic": "Nguyễn^Thị Đào"}]
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    assert len(client.search_for_series("2.25.1")) == 1
    assert len(client.search_for_instances("2.25.1", "2.25.1.1")) == 4
    assert len(client.search_for_instances("2.25.1", limit=3)) == 3


def test_metadata_and_pixels_make_the_data_set_again(client: DICOMwebClient, sent: list[Dataset]) -> None:
    metadata: list[dict[str, Any]] = client.retrieve_series_metadata("2.25.1", "2.25.1.1")
    uri = metadata[0]["7FE00010"]["BulkDataURI"].replace("http://127.0.0.1", client.base_url.removesuffix("/dicom-web"))
    (pixels,) = client.retrieve_bulkdata(uri)
    del metadata[0]["00083002"]
    assert Dataset.from_json(metadata[0], bulk_data_uri_handler=lambda *_: bytes(pixels)) == sent[0]


def test_a_long_series_streams_both_ways(client: DICOMwebClient, tmp_path: Path) -> None:
    data_sets = [as_read(builders.ct_slice(number, size=512)) for number in range(1, 41)]
    client.store_instances(data_sets)
    found = client.retrieve_series("2.25.1", "2.25.1.1")
    assert [one.PixelData for one in found] == [one.PixelData for one in data_sets]


# ------------------------------------------------------------------------------------------------- its command line
def command(base_url: str, *words: str) -> str:
    program = Path(sys.executable).with_name("dicomweb_client")
    asked = [str(program), "--url", f"{base_url}/dicom-web", *words]
    ran = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_command_line_stores_searches_and_retrieves(base_url: str, tmp_path: Path) -> None:  # T-10
    one = ["--study", "2.25.1", "--series", "2.25.1.1", "--instance", "2.25.1.1.1"]
    files = [tmp_path / f"{number}.dcm" for number in (1, 2)]
    for number, file in enumerate(files, 1):
        file.write_bytes(builders.part10(builders.ct_slice(number, StudyDescription="Head")))
    command(base_url, "store", "instances", *map(str, files))
    command(base_url, "store", "instances", "--study", "2.25.1", str(files[0]))

    found = json.loads(
        command(
            base_url, "search", "studies", "--filter", "PatientID=P1", "--field", "00081030", "--limit", "5", "--fuzzy"
        )
    )
    assert [study["00081030"]["Value"] for study in found] == [["Head"]]
    assert json.loads(command(base_url, "search", "studies", "--filter", "PatientID=nobody")) == []
    assert len(json.loads(command(base_url, "search", "instances", *one[:2]))) == 2

    assert len(json.loads(command(base_url, "retrieve", "studies", *one[:2], "metadata"))) == 2
    folder = tmp_path / "fetched"
    folder.mkdir()
    command(base_url, "retrieve", "instances", *one, "full", "--save", "--output-dir", str(folder))
    (file,) = folder.iterdir()
    assert read(file.read_bytes()) == read(files[0].read_bytes())
    command(base_url, "retrieve", "instances", *one, "frames", "--numbers", "1", "--save", "--output-dir", str(folder))
    assert len(list(folder.iterdir())) == 2

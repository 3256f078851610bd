"""Real files of every kind go in by STOW-RS and come back by WADO-RS: byte for byte, but where the web forbids it."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset

from api import ApiContext, create_app
from api.dicomweb.explicit import is_for_web
from pacs_gateway.ingest import Ingest
from pacs_gateway.part10 import MAX_META_BYTES, read_meta
from storage.archive import Archive
from tests import builders

BASE = "http://127.0.0.1"
FOLDERS = ("modality", "transfer_syntax", "charset", "derived")
BIG_ENDIAN = "1.2.840.10008.1.2.2"

REFUSED = {
    "CR-ModalitySequenceLUT.dcm",
    "HTJ2KLossless_08_RGB.dcm",
    "HTJ2K_08_RGB.dcm",
    "JLSL_RGB_ILV1.dcm",
    "JPEGLSNearLossless_16.dcm",
    "NeurosurgeryPlan.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "chrSQEncoding.dcm",
    "chrSQEncoding1.dcm",
    "empty_charset_LEI.dcm",
    "jpeg2000-multiframe-multifragments.dcm",
    "nibabel_0.dcm",
    "nibabel_decimal_rescale.dcm",
    "rtdose.dcm",
    "rtplan.dcm",
    "rtstruct.dcm",
}
"""Files without a study or SOP UID, without file meta, or whose meta information contradicts the data set."""


@pytest.fixture(scope="module")
def empty_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    builders.archive(folder).close()
    return folder / "catalogue.sqlite"


@pytest.fixture
def client(tmp_path: Path, empty_catalogue: Path) -> Iterator[TestClient]:
    (tmp_path / "catalogue.sqlite").write_bytes(empty_catalogue.read_bytes())
    archive: Archive = builders.archive(tmp_path)
    context = ApiContext(archive=archive, ingest=Ingest(archive), public_base_url=BASE)
    with TestClient(create_app(context), base_url=BASE) as made:
        yield made
    archive.close()


def names(folder: str) -> list[str]:
    root = Path(__file__).parents[4] / "shared" / "data" / "dicom" / folder
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else ["no real data"]


def split(file: bytes) -> tuple[str, bytes]:
    meta = read_meta(file[:MAX_META_BYTES])
    return meta.transfer_syntax_uid, file[meta.length :]


def elements(file: bytes) -> dict[str, Any]:
    """The values of a file as pydicom reads them, group lengths left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(io.BytesIO(file), force=True)
        return {f"{one.tag:08X}": one.value for one in data_set if one.tag.element}


def swapped(value: bytes) -> bytes:
    return b"".join(value[at : at + 2][::-1] for at in range(0, len(value), 2))


@pytest.mark.parametrize("path", [f"{folder}/{name}" for folder in FOLDERS for name in names(folder)])
def test_a_real_file_comes_back(client: TestClient, shared_data: Path, path: str) -> None:
    sent = (shared_data / "dicom" / path).read_bytes()
    answer = client.post("/dicom-web/studies", content=sent, headers={"Content-Type": "application/dicom"})
    if Path(path).name in REFUSED:
        failed = [len(answer.json().get(tag, {"Value": []})["Value"]) for tag in ("00081198", "0008119A")]
        assert (answer.status_code, failed) in [(409, [1, 0]), (400, [0, 1])]  # named, if its meta information names it
        return
    assert answer.status_code == 200
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0].removeprefix(BASE)
    given = client.get(url, headers={"Accept": "application/dicom"})
    assert given.status_code == 200
    syntax, data_set = split(sent)
    if is_for_web(syntax):
        assert split(given.content) == (syntax, data_set)
    else:
        expected = elements(sent)
        if syntax == BIG_ENDIAN and b"\x7f\xe0\0\x10OW" in sent:  # pydicom leaves the order of words to its caller
            expected["7FE00010"] = swapped(expected["7FE00010"])
        assert (split(given.content)[0], elements(given.content)) == ("1.2.840.10008.1.2.1", expected)
    _check_metadata(client, url, sent)


def _check_metadata(client: TestClient, url: str, sent: bytes) -> None:
    """Every attribute is told once, as strict JSON, and pydicom can read it."""
    answer = client.get(f"{url}/metadata")
    assert answer.status_code == 200

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    (model,) = json.loads(answer.text, parse_constant=refuse)
    assert set(model) - {"00083002"} == {tag for tag in elements(sent) if not tag.startswith("0002")} - {"00083002"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = Dataset.from_json(model, bulk_data_uri_handler=lambda *_: None)
    assert len(read) == len(model)


BAD = [f"{folder}/{name}" for folder in ("bad", "fuzz") for name in names(folder)]


@pytest.mark.parametrize("path", BAD)
def test_a_broken_file_has_a_defined_answer_and_the_server_goes_on(
    client: TestClient, shared_data: Path, path: str
) -> None:
    sent = (shared_data / "dicom" / path).read_bytes()
    answer = client.post("/dicom-web/studies", content=sent, headers={"Content-Type": "application/dicom"})
    assert answer.status_code in {200, 400, 409}
    if answer.status_code == 200:
        url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0].removeprefix(BASE)
        assert client.get(f"{url}/metadata").status_code in {200, 406}
        given = client.get(url, headers={"Accept": "application/dicom"})
        assert given.status_code == 200
        assert split(given.content)[1] == split(sent)[1] or not is_for_web(split(sent)[0])
    assert client.get("/health/live").status_code == 200

from __future__ import annotations

import io
import json
import warnings
import zipfile

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from api import ApiContext, create_app
from storage import schema
from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.errors import ObjectMissing
from storage.records import ObjectKey
from tests import builders
from tests.unit.api.conftest import BASE
from tests.unit.api.requests import data_set_bytes, parts, read, store

SERIES = "/dicom-web/studies/2.25.1/series/2.25.1.1"
ONE = f"{SERIES}/instances/2.25.1.1.1"
ALONE = {"Accept": "application/dicom"}


@pytest.fixture
def slices(client: TestClient) -> list[Dataset]:
    made = [builders.ct_slice(number, PatientName="Nguyễn^Văn", SpecificCharacterSet="ISO_IR 192") for number in (1, 2)]
    assert store(client, *made).status_code == 200
    return made


@pytest.mark.parametrize("path", ["/dicom-web/studies/2.25.1", SERIES])
def test_a_study_and_a_series_come_back_byte_for_byte(client: TestClient, slices: list[Dataset], path: str) -> None:
    # W-27, W-30
    answer = client.get(path, headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'})
    assert answer.status_code == 200
    assert [data_set_bytes(part) for part in parts(answer)] == [data_set_bytes(builders.part10(one)) for one in slices]


def test_an_instance_comes_alone_or_as_the_only_part(client: TestClient, slices: list[Dataset]) -> None:  # W-30
    alone = client.get(ONE, headers=ALONE)
    assert (alone.status_code, alone.headers["content-type"], alone.headers["content-disposition"]) == (
        200,
        "application/dicom",
        'attachment; filename="2.25.1.1.1.dcm"',
    )
    assert int(alone.headers["content-length"]) == len(alone.content)
    assert parts(client.get(ONE)) == [alone.content]
    assert read(alone.content) == slices[0]


def test_an_instance_held_already_is_304_and_head_has_no_body(client: TestClient, slices: list[Dataset]) -> None:
    tag = client.get(ONE, headers=ALONE).headers["etag"]
    assert client.get(ONE, headers={**ALONE, "If-None-Match": tag}).status_code == 304
    head = client.head(ONE, headers=ALONE)
    assert (head.status_code, head.headers["etag"], head.content) == (200, tag, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web/studies/1.2",
        "/dicom-web/studies/2.25.1/series/1.2",
        f"{SERIES}/instances/1.2",
        "/dicom-web/studies/1.2/metadata",
        f"{ONE}/bulkdata/00080060/0/00080060",
        f"{ONE}/bulkdata/..%2f..%2fetc%2fpasswd",
        f"{ONE}/bulkdata/7FE00011",
    ],
)
def test_what_is_not_here_is_404(client: TestClient, slices: list[Dataset], path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "accept", ["image/jpeg", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.91", "application/dicom+xml"]
)
def test_what_is_not_made_here_is_not_acceptable(client: TestClient, slices: list[Dataset], accept: str) -> None:
    assert client.get(ONE, headers={"Accept": accept}).status_code == 406


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_what_the_web_does_not_know_leaves_as_explicit_little_endian(client: TestClient, syntax: str) -> None:  # W-1
    original = read(builders.part10(builders.ct_slice(1)))
    kept = builders.ct_slice(1)
    kept.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        pixels = original.PixelData
        kept.PixelData = b"".join(pixels[at : at + 2][::-1] for at in range(0, len(pixels), 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert store(client, kept).status_code == 200
    answer = client.get(ONE, headers={"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"})
    assert answer.status_code == 200
    given = read(answer.content)
    assert (given.file_meta.TransferSyntaxUID, given.file_meta.MediaStorageSOPInstanceUID) == (
        "1.2.840.10008.1.2.1",
        "2.25.1.1.1",
    )
    assert given == original
    values = client.get(f"{ONE}/bulkdata/7FE00010", headers={"Accept": "application/octet-stream"})
    assert values.content == original.PixelData
    (model,) = client.get(f"{ONE}/metadata").json()
    assert (
        Dataset.from_json(
            {tag: made for tag, made in model.items() if tag != "00083002"},
            bulk_data_uri_handler=lambda *_: values.content,
        )
        == original
    )


def test_metadata_tells_every_attribute_and_where_the_pixels_are(client: TestClient, slices: list[Dataset]) -> None:
    # W-5, W-33
    for path, count in ((f"{ONE}/metadata", 1), (f"{SERIES}/metadata", 2), ("/dicom-web/studies/2.25.1/metadata", 2)):
        answer = client.get(path)
        assert answer.headers["content-type"] == "application/dicom+json"
        models = json.loads(answer.text)
        assert len(models) == count
    told = {f"{element.tag:08X}" for element in slices[0]} | {"00083002"}
    assert set(models[0]) == told
    assert models[0]["7FE00010"] == {"vr": "OW", "BulkDataURI": f"{BASE}{ONE}/bulkdata/7FE00010"}
    assert models[0]["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Nguyễn^Văn"}]}


def test_bulk_data_is_exactly_the_values_bytes(client: TestClient, slices: list[Dataset]) -> None:  # W-34
    answer = client.get(f"{ONE}/bulkdata/7FE00010")
    assert answer.headers["content-type"].startswith('multipart/related; type="application/octet-stream"')
    assert parts(answer) == [slices[0].PixelData]


def damage(archive: Archive, key: ObjectKey) -> None:
    assert isinstance(archive.objects, MemoryStore)
    content = bytearray(archive.objects._objects[key])
    content[-1] ^= 1
    archive.objects._objects[key] = bytes(content)


def test_a_rotten_object_is_never_given_whole(context: ApiContext, archive: Archive) -> None:  # W-30
    with TestClient(create_app(context), base_url=BASE) as client:
        store(client, builders.ct_slice(1))
        (key,) = archive.objects.keys()
        damage(archive, key)
        for headers in (ALONE, {}):
            answer = client.get(ONE, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")


def test_a_rotten_value_is_never_given_whole(context: ApiContext, archive: Archive) -> None:
    with TestClient(create_app(context), base_url=BASE, raise_server_exceptions=False) as client:
        store(client, builders.ct_slice(1))
        (key,) = archive.objects.keys()
        damage(archive, key)
        for headers in ({"Accept": "application/octet-stream"}, {}):
            answer = client.get(f"{ONE}/bulkdata/7FE00010", headers=headers)
            assert answer.status_code == 500


def test_a_rotten_deflated_object_tells_no_metadata(context: ApiContext, archive: Archive) -> None:
    data_set = builders.ct_slice(1)
    data_set.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    with TestClient(create_app(context), base_url=BASE) as client:
        store(client, data_set)
        assert client.get(f"{ONE}/metadata").status_code == 200
        (key,) = archive.objects.keys()
        archive.objects._objects[key] += b"\0\0"  # type: ignore[attr-defined]  # zlib itself would not mind
        with archive.database.write() as tx:
            tx.execute(sa.update(schema.instances).values(size_bytes=schema.instances.c.size_bytes + 2))
        assert client.get(f"{ONE}/metadata").status_code == 500


def test_an_object_that_is_gone_is_500_before_anything_is_sent(client: TestClient, archive: Archive) -> None:
    store(client, builders.ct_slice(1))
    (key,) = archive.objects.keys()
    archive.objects.remove(key)
    with pytest.raises(ObjectMissing):
        archive.objects.size(key)
    assert client.get(ONE, headers=ALONE).status_code == 500
    assert client.get("/dicom-web/studies/2.25.1").status_code == 500


def test_a_data_set_that_does_not_parse_to_its_end_is_still_given_as_it_is(client: TestClient) -> None:
    content = builders.part10(builders.ct_slice(1))[:-10]
    client.post("/dicom-web/studies", content=content, headers={"Content-Type": "application/dicom"})
    assert client.get(f"{ONE}/metadata").status_code == 406
    assert data_set_bytes(client.get(ONE, headers=ALONE).content) == data_set_bytes(content)


@pytest.mark.parametrize("path", ["/dicom-web/studies/2.25.1", SERIES, ONE])
def test_a_zip_file_holds_the_instances(client: TestClient, slices: list[Dataset], path: str) -> None:  # W-30
    answer = client.get(path, headers={"Accept": "application/zip"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
        assert found.testzip() is None
        files = {name: data_set_bytes(found.read(name)) for name in found.namelist()}
    expected = {f"2.25.1.1/{one.SOPInstanceUID}.dcm": data_set_bytes(builders.part10(one)) for one in slices}
    assert files == (expected if path != ONE else dict(list(expected.items())[:1]))
    assert client.get(path, headers={"Accept": "application/zip"}).content == answer.content

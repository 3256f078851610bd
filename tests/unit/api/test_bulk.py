"""Every bulk value of an instance, a series or a study, and all pixel data, in one answer (PS3.18 10.4.1.1.5)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset

from tests import builders
from tests.unit.api.conftest import BASE
from tests.unit.api.requests import parts, store
from tests.unit.api.test_frames import FRAMES, JPEG_LS, compressed

STUDY = "/dicom-web/studies/2.25.1"
SERIES = f"{STUDY}/series/2.25.1.1"
LONG = "x" * 2000


def with_long_text(number: int) -> Dataset:
    """A slice with a long value of its own, and one inside of a sequence."""
    item = Dataset()
    item.add_new(0x0040A160, "UT", LONG + "z")
    return builders.ct_slice(number, TextValue=LONG, ContentSequence=[item])


def places(answer: Any) -> list[str]:
    return [place.decode() for place in re.findall(rb"Content-Location: (\S+)\r\n", answer.content)]


def uris(model: Any) -> list[str]:
    found = [made["BulkDataURI"] for made in model.values() if "BulkDataURI" in made]
    return found + [
        uri for made in model.values() if made["vr"] == "SQ" for item in made["Value"] for uri in uris(item)
    ]


@pytest.mark.parametrize(("path", "count"), [(STUDY, 2), (SERIES, 2), (f"{SERIES}/instances/2.25.1.1.1", 1)])
def test_all_bulk_values_come_with_the_addresses_that_metadata_give(  # W-34
    client: TestClient, path: str, count: int
) -> None:
    slices = [with_long_text(number) for number in (1, 2)]
    assert store(client, *slices).status_code == 200
    answer = client.get(f"{path}/bulkdata")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith('multipart/related; type="application/octet-stream"')
    told = client.get(f"{path}/metadata").json()
    assert len(places(answer)) == 3 * count
    assert sorted(places(answer)) == sorted(uri for model in told for uri in uris(model))
    for place, value in zip(places(answer), parts(answer), strict=True):
        alone = client.get(place.removeprefix(BASE), headers={"Accept": "application/octet-stream"})
        assert alone.content == value
    assert parts(answer).count(slices[0].PixelData) == count


@pytest.mark.parametrize("path", [STUDY, SERIES, f"{SERIES}/instances/2.25.1.1.1"])
def test_an_instance_resource_as_octets_is_its_bulk_data(client: TestClient, path: str) -> None:
    """PS3.18 Table 10.4.4-1, note 2: required, for historical reasons."""
    store(client, *(with_long_text(number) for number in (1, 2)))
    answer = client.get(path, headers={"Accept": "multipart/related; type=application/octet-stream"})
    assert answer.status_code == 200
    assert answer.content == client.get(f"{path}/bulkdata").content
    assert client.get(path).headers["content-type"].startswith('multipart/related; type="application/dicom"')


@pytest.mark.parametrize("path", [STUDY, SERIES, f"{SERIES}/instances/2.25.1.1.1"])
def test_native_pixels_come_with_the_address_that_metadata_give(client: TestClient, path: str) -> None:
    """PS3.18 10.4.3.3.6."""
    store(client, builders.ct_slice(1))
    (model,) = client.get(f"{path}/metadata").json()
    assert places(client.get(f"{path}/pixeldata")) == uris(model)


def test_what_has_no_bulk_data_is_404(client: TestClient) -> None:
    data_set = builders.ct_slice(1)
    del data_set.PixelData
    store(client, data_set)
    for path in ("bulkdata", "pixeldata"):
        for where in (STUDY, SERIES, "/dicom-web/studies/2.25.9"):
            assert client.get(f"{where}/{path}").status_code == 404


def test_an_unchanged_answer_is_304_and_another_form_406(client: TestClient) -> None:
    store(client, builders.ct_slice(1))
    for path in ("bulkdata", "pixeldata"):
        tag = client.get(f"{STUDY}/{path}").headers["etag"]
        assert client.get(f"{STUDY}/{path}", headers={"If-None-Match": tag}).status_code == 304
        assert client.get(f"{STUDY}/{path}", headers={"Accept": "text/html"}).status_code == 406
        assert client.head(f"{SERIES}/{path}").content == b""


def test_pixel_data_of_a_study_is_one_value_or_the_frames_of_each_instance(client: TestClient) -> None:  # W-31
    slices, cine = [builders.ct_slice(number) for number in (2, 3)], compressed()
    assert store(client, cine, *slices).status_code == 200
    for path in (STUDY, SERIES):
        decoded = client.get(f"{path}/pixeldata")
        pixels = [each.PixelData for each in slices]
        assert sorted(parts(decoded)) == sorted([*(frame.tobytes() for frame in FRAMES), *pixels])
    kept = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
    answer = client.get(f"{STUDY}/pixeldata", headers=kept)
    assert f"Content-Type: image/jls; transfer-syntax={JPEG_LS}".encode() in answer.content
    assert set(pixels) < set(parts(answer))
    assert [place.rpartition("instances/")[2] for place in places(answer)] == [
        *(f"2.25.1.1.1/frames/{number}" for number in (1, 2, 3)),
        "2.25.1.1.2/bulkdata/7FE00010",
        "2.25.1.1.3/bulkdata/7FE00010",
    ]

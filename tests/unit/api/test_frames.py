"""Frames over HTTP: which form goes out for which Accept, and what is answered to a wrong list."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from tests import builders
from tests.unit.api import requests

INSTANCE = "/dicom-web/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1"
NATIVE = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
EXPLICIT, JPEG_LS, OPAQUE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.92"
OHIF = "multipart/related; type=application/octet-stream; transfer-syntax=*"

FRAMES = np.random.default_rng(7).integers(0, 4096, (3, 16, 16)).astype(np.uint16)


def native(**attributes: Any) -> Dataset:
    data_set = builders.ct_slice(NumberOfFrames=3, PixelRepresentation=0, **attributes)
    data_set.PixelData = FRAMES.tobytes()
    return data_set


def compressed(syntax: str = JPEG_LS) -> Dataset:
    data_set = native()
    data_set.file_meta.TransferSyntaxUID = UID(syntax)
    frames = [imagecodecs.jpegls_encode(frame) for frame in FRAMES] if syntax == JPEG_LS else [b"opaque"] * 3
    data_set.PixelData = encapsulate(frames)
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    return data_set


def padded(frame: np.ndarray) -> bytes:
    encoded: bytes = imagecodecs.jpegls_encode(frame)
    return encoded + b"\0" * (len(encoded) % 2)


def get(client: TestClient, path: str, accept: str | None = None) -> Any:
    return client.get(f"{INSTANCE}/{path}", headers={} if accept is None else {"Accept": accept})


def part_types(answer: Any) -> list[str]:
    lines = answer.content.split(b"\r\n")
    return [line.removeprefix(b"Content-Type: ").decode() for line in lines if line.startswith(b"Content-Type: ")]


@pytest.mark.parametrize("accept", [None, "*/*", OHIF, "multipart/related; type=application/octet-stream"])
def test_native_frames_go_out_in_the_order_asked_for(client: TestClient, accept: str | None) -> None:  # W-31
    requests.store(client, native())
    answer = get(client, "frames/3,1,3", accept)
    assert answer.status_code == 200
    assert requests.parts(answer) == [FRAMES[2].tobytes(), FRAMES[0].tobytes(), FRAMES[2].tobytes()]
    assert part_types(answer) == [NATIVE] * 3
    assert b"/instances/2.25.1.1.1/frames/3\r\n" in answer.content


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "multipart/related; type=application/octet-stream",
        f'multipart/related; type="application/octet-stream"; transfer-syntax={EXPLICIT}',
    ],
)
def test_compressed_frames_go_out_decoded_where_nothing_else_is_asked_for(
    client: TestClient, accept: str | None
) -> None:
    requests.store(client, compressed())
    answer = get(client, "frames/2", accept)
    assert (answer.status_code, part_types(answer)) == (200, [NATIVE])
    assert requests.parts(answer) == [FRAMES[1].tobytes()]


@pytest.mark.parametrize(
    "accept",
    [
        OHIF,
        f"multipart/related; type=application/octet-stream; transfer-syntax={JPEG_LS}",
        "multipart/related; type=image/jls",
        f'multipart/related; type="image/jls"; transfer-syntax={JPEG_LS}',
        'multipart/related; type="image/jls"; transfer-syntax=*',
        'multipart/related; type="image/*"',
        f'multipart/related; type="image/jpeg", {OHIF};q=0.5',
    ],
)
def test_compressed_frames_go_out_as_stored_where_that_is_asked_for(client: TestClient, accept: str) -> None:
    # W-4, W-31
    requests.store(client, compressed())
    answer = get(client, "frames/2", accept)
    assert (answer.status_code, part_types(answer)) == (200, [f"image/jls; transfer-syntax={JPEG_LS}"])
    assert requests.parts(answer) == [padded(FRAMES[1])]


def test_one_frame_may_go_out_alone(client: TestClient) -> None:
    requests.store(client, compressed())
    assert get(client, "frames/2", "application/octet-stream").content == FRAMES[1].tobytes()
    alone = get(client, "frames/2", "image/jls")
    assert (alone.headers["content-type"], alone.content) == ("image/jls", padded(FRAMES[1]))
    assert get(client, "frames/1,2", "image/jls").status_code == 406


def test_frames_that_nothing_decodes_go_out_as_stored_or_not_at_all(client: TestClient) -> None:
    requests.store(client, compressed(OPAQUE))
    assert part_types(get(client, "frames/1")) == [f"image/jpx; transfer-syntax={OPAQUE}"]
    refused = get(client, "frames/1", "multipart/related; type=application/octet-stream")
    assert refused.status_code == 406
    assert f"frames in {OPAQUE} are not decoded" in refused.json()["detail"]
    assert f"image/jpx; transfer-syntax={OPAQUE}" in refused.json()["detail"]


@pytest.mark.parametrize("accept", ["multipart/related; type=image/jpeg", "image/png", "application/dicom+json"])
def test_a_form_that_is_not_had_is_406_and_tells_of_those_that_are(client: TestClient, accept: str) -> None:
    requests.store(client, compressed())
    refused = get(client, "frames/1", accept)
    assert (refused.status_code, NATIVE in refused.json()["detail"]) == (406, True)


@pytest.mark.parametrize(
    ("frames", "status"),
    [
        ("0", 400),
        ("-1", 400),
        ("1,", 400),
        ("one", 400),
        ("1.5", 400),
        ("%D9%A1", 400),  # a digit, but of another script
        ("1" * 12, 400),
        (",".join(["1"] * 1001), 400),
        ("4", 404),
        ("9999999999", 404),
        ("1%2F2", 404),
    ],
)
def test_a_wrong_list_has_a_clear_answer(client: TestClient, frames: str, status: int) -> None:  # W-31, R-48
    requests.store(client, native())
    assert get(client, f"frames/{frames}").status_code == status


def test_a_thousand_frames_may_be_named(client: TestClient) -> None:
    requests.store(client, native())
    assert len(requests.parts(get(client, "frames/" + ",".join(["2"] * 1000)))) == 1000


def test_pixel_data_is_one_value_or_its_frames(client: TestClient) -> None:
    requests.store(client, native())
    assert requests.parts(get(client, "pixeldata")) == [FRAMES.tobytes()]
    assert get(client, "pixeldata", "application/octet-stream").content == FRAMES.tobytes()


@pytest.mark.parametrize("accept", ["image/*", 'multipart/related; type="image/*"'])
def test_any_image_type_is_one_that_frames_are_made_into(client: TestClient, accept: str) -> None:  # W-3
    requests.store(client, native())
    answer = get(client, "frames/1", accept)
    root = answer.headers["content-type"].removeprefix('multipart/related; type="')
    assert (answer.status_code, root.startswith("image/")) == (200, True)


def test_compressed_pixel_data_is_given_frame_by_frame(client: TestClient) -> None:
    requests.store(client, compressed())
    assert requests.parts(get(client, "pixeldata")) == [frame.tobytes() for frame in FRAMES]
    assert requests.parts(get(client, "pixeldata", OHIF)) == [padded(frame) for frame in FRAMES]


def test_an_unchanged_frame_is_not_sent_again(client: TestClient) -> None:
    requests.store(client, compressed())
    tag = get(client, "frames/1").headers["etag"]
    again = client.get(f"{INSTANCE}/frames/1", headers={"If-None-Match": tag})
    other = client.get(f"{INSTANCE}/frames/1", headers={"If-None-Match": tag, "Accept": OHIF})
    assert (again.status_code, again.content, other.status_code) == (304, b"", 200)


def test_head_tells_what_get_would(client: TestClient) -> None:
    requests.store(client, compressed())
    told, given = client.head(f"{INSTANCE}/frames/1"), get(client, "frames/1")
    assert (told.status_code, told.content) == (200, b"")
    assert told.headers["content-type"] == given.headers["content-type"]


def test_an_instance_without_frames_and_one_that_is_not_kept_are_404(client: TestClient) -> None:
    data_set = builders.ct_slice()
    del data_set.PixelData, data_set.Rows
    requests.store(client, data_set)
    assert [get(client, path).status_code for path in ("frames/1", "pixeldata")] == [404, 404]
    assert client.get(f"{INSTANCE}9/frames/1").status_code == 404


@pytest.mark.parametrize("change", [{"Rows": 17}, {"Columns": 60000}, {"SamplesPerPixel": 3}, {"BitsAllocated": 8}])
def test_a_codestream_that_is_not_what_the_attributes_say_is_406(client: TestClient, change: dict[str, int]) -> None:
    data_set = compressed()
    for keyword, value in change.items():
        setattr(data_set, keyword, value)
    requests.store(client, data_set)
    refused = get(client, "frames/1")
    assert refused.status_code == 406
    assert get(client, "frames/1", OHIF).status_code == 200 or "BitsAllocated" in change
    assert client.get(INSTANCE, headers={"Accept": "application/dicom"}).status_code == 200


def test_garbage_in_a_codestream_is_406(client: TestClient) -> None:
    data_set = compressed()
    broken = imagecodecs.jpegls_encode(FRAMES[0])
    data_set.PixelData = encapsulate([broken[:60] + bytes(40), broken[:50], b"\xff\xd8\xff\xd9"])
    requests.store(client, data_set)
    assert [get(client, f"frames/{number}").status_code for number in (2, 3)] == [406, 406]
    assert get(client, "frames/1").status_code in {200, 406}

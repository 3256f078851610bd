"""STOW-RS with metadata and bulk data apart."""

from __future__ import annotations

import json
from typing import Any

import imagecodecs
import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

from api.dicomweb.native import as_xml, from_xml
from storage.archive import Archive
from tests import builders
from tests.unit.api.requests import read, store
from tests.unit.api.test_native import told

ONE = "/dicom-web/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1"
ALONE = {"Accept": "application/dicom"}
OCTETS = "application/octet-stream"
Given = tuple[str, str, bytes]
RAMP = np.arange(32 * 48, dtype=np.uint8).reshape(32, 48)
COLOURS = np.stack([RAMP, RAMP // 2, 255 - RAMP], axis=2)


def post(client: TestClient, *given: Given, root: str = "application/dicom+json", **headers: str) -> Any:
    """Post parts of (Content-Type, Content-Location, content)."""
    body = b"".join(
        f"--x\r\nContent-Type: {kind}\r\nContent-Location: {place}\r\n\r\n".encode() + content + b"\r\n"
        for kind, place, content in given
    )
    content_type = f'multipart/related; type="{root}"; boundary=x'
    return client.post("/dicom-web/studies", content=body + b"--x--", headers={"Content-Type": content_type, **headers})


def metadata(*models: object) -> Given:
    return "application/dicom+json", "", json.dumps(models).encode()


def model_of(data_set: Dataset, uri: str | None = "pixels") -> dict[str, Any]:
    model: dict[str, Any] = json.loads(data_set.to_json(bulk_data_threshold=10**9))
    if uri is not None:
        model["7FE00010"] = {"vr": "OW", "BulkDataURI": uri}
    return model


def kept(client: TestClient) -> Dataset:
    answer = client.get(ONE, headers=ALONE)
    assert answer.status_code == 200
    return read(answer.content)


def test_metadata_and_pixels_become_the_data_set_again(client: TestClient) -> None:  # W-21
    original = read(builders.part10(told()))
    answer = post(client, metadata(model_of(original)), (OCTETS, "pixels", original.PixelData))
    assert (answer.status_code, len(answer.json()["00081199"]["Value"])) == (200, 1)
    assert kept(client) == original


def test_what_we_gave_out_can_be_sent_back(client: TestClient) -> None:
    store(client, told())
    (model,) = client.get(f"{ONE}/metadata").json()
    pixels = client.get(f"{ONE}/bulkdata/7FE00010", headers={"Accept": OCTETS}).content
    before = kept(client)
    uri = model["7FE00010"]["BulkDataURI"]
    for uid, root in (("2.25.77", "application/dicom+json"), ("2.25.78", "application/dicom+xml")):
        model["00080018"]["Value"] = [uid]
        first = metadata(model) if root.endswith("json") else (root, "", as_xml(model))
        answer = post(client, first, (OCTETS, uri, pixels), root=root)
        assert answer.status_code == 200
        after = read(client.get(ONE.replace("2.25.1.1.1", uid), headers=ALONE).content)
        after.SOPInstanceUID = before.SOPInstanceUID
        assert after == before


@pytest.mark.parametrize(
    ("content_type", "syntax"),
    [
        ("image/jls", "1.2.840.10008.1.2.4.80"),
        ("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.50"),
    ],
)
def test_compressed_frames_become_fragments(client: TestClient, content_type: str, syntax: str) -> None:
    frames = [b"\xff\xd8odd", b"\xff\xd8even"]
    answer = post(client, metadata(model_of(builders.ct_slice(1))), *((content_type, "pixels", one) for one in frames))
    assert answer.status_code == 200
    data_set = kept(client)
    assert data_set.file_meta.TransferSyntaxUID == syntax
    found = generate_frames(data_set.PixelData, number_of_frames=2)
    assert [one.rstrip(b"\0") for one in found] == frames


@pytest.mark.parametrize(
    ("frame", "syntax"),
    [
        (imagecodecs.jpeg8_encode(np.zeros((8, 8), np.uint8)), "1.2.840.10008.1.2.4.50"),
        (imagecodecs.jpeg_encode(np.zeros((8, 8), np.uint8), lossless=True, predictor=1), "1.2.840.10008.1.2.4.70"),
        (imagecodecs.jpeg_encode(np.zeros((8, 8), np.uint8), lossless=True, predictor=5), "1.2.840.10008.1.2.4.57"),
        (b"\xff\xd8none", "1.2.840.10008.1.2.4.70"),
        (imagecodecs.jpegls_encode(np.zeros((8, 8), np.uint8)), "1.2.840.10008.1.2.4.80"),
        (imagecodecs.jpegls_encode(np.zeros((8, 8), np.uint8), level=2), "1.2.840.10008.1.2.4.81"),
        (imagecodecs.jpeg2k_encode(RAMP, codecformat="J2K", reversible=True), "1.2.840.10008.1.2.4.90"),
        (imagecodecs.jpeg2k_encode(RAMP, codecformat="J2K", level=40), "1.2.840.10008.1.2.4.91"),
    ],
)
def test_pixels_without_a_transfer_syntax_are_kept_as_what_they_are(
    client: TestClient, frame: bytes, syntax: str
) -> None:
    """PS3.18 10.5.2: what is stored conforms to PS3.5."""
    kind = "image/jp2" if frame[:2] == b"\xff\x4f" else "image/jls" if b"\xff\xf7" in frame[:8] else "image/jpeg"
    assert post(client, metadata(model_of(builders.ct_slice(1))), (kind, "pixels", frame)).status_code == 200
    data_set = kept(client)
    assert data_set.file_meta.TransferSyntaxUID == syntax
    (found,) = generate_frames(data_set.PixelData, number_of_frames=1)
    assert found.rstrip(b"\0") == frame.rstrip(b"\0")


@pytest.mark.parametrize(
    ("kind", "frame", "told"),
    [
        ("image/jpeg", imagecodecs.jpeg8_encode(RAMP), (1, "MONOCHROME2", 8)),
        ("image/jpeg", imagecodecs.jpeg8_encode(COLOURS), (3, "YBR_FULL_422", 8)),
        ("image/jls", imagecodecs.jpegls_encode(RAMP.astype(np.uint16) * 16), (1, "MONOCHROME2", 12)),
        ("image/jp2", imagecodecs.jpeg2k_encode(COLOURS, codecformat="J2K", reversible=True), (3, "YBR_RCT", 8)),
        ("image/jp2", imagecodecs.jpeg2k_encode(COLOURS, codecformat="J2K", level=40), (3, "YBR_ICT", 8)),
    ],
)
def test_what_the_metadata_leave_to_the_pixels_is_read_from_them(
    client: TestClient, kind: str, frame: bytes, told: tuple[int, str, int]
) -> None:
    """PS3.18 10.5.2: a request may omit the Image Pixel Description Macro."""
    model = model_of(builders.ct_slice(1))
    for tag in [tag for tag in model if tag.startswith(("002800", "002801"))]:
        del model[tag]
    assert post(client, metadata(model), (kind, "pixels", frame)).status_code == 200
    data_set = kept(client)
    assert (data_set.Rows, data_set.Columns) == RAMP.shape
    assert (data_set.SamplesPerPixel, data_set.PhotometricInterpretation) == told[:2]
    assert told[2] <= data_set.BitsStored <= data_set.BitsAllocated
    assert client.get(f"{ONE}/rendered").status_code == 200


def test_an_encapsulated_value_stays_as_it_is(client: TestClient) -> None:
    value = encapsulate([b"ab", b"cd"]) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    part = (f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.4.90", "pixels", value)
    assert post(client, metadata(model_of(builders.ct_slice(1))), part).status_code == 200
    assert list(generate_frames(kept(client).PixelData, number_of_frames=2)) == [b"ab", b"cd"]


FAILED = {
    "00081150": {"vr": "UI", "Value": [builders.CT]},
    "00081155": {"vr": "UI", "Value": ["2.25.1.1.1"]},
    "00081197": {"vr": "US", "Value": [0xC000]},
}


def test_a_value_that_did_not_come_is_never_fetched(client: TestClient, archive: Archive) -> None:  # W-21, R-41
    for uri in ("pixels", "http://169.254.169.254/", "file:///etc/passwd", "http://127.0.0.1:8080/dicom-web/studies"):
        answer = post(client, metadata(model_of(builders.ct_slice(1), uri)), (OCTETS, "other", b"ab"))
        assert (answer.status_code, answer.json()["00081198"]["Value"]) == (409, [FAILED])
    good = post(
        client,
        metadata(model_of(builders.ct_slice(1), "gone"), model_of(builders.ct_slice(2))),
        (OCTETS, "pixels", builders.ct_slice(2).PixelData),
    )
    assert (good.status_code, len(list(archive.objects.keys()))) == (202, 1)


NESTED = b'[{"00081140":{"vr":"SQ","Value":[' * 100_000


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"[1]",
        b'[{"00100010": 1}]',
        b'\xef\xbb\xbf[{"00100010": {"vr": "PN"}}]',
        '[{"00100010": {"vr": "PN"}}]'.encode("utf-16"),
        b'[{"00100010": {"vr": "PN"}, "00100010": {"vr": "PN"}}]',
        b'[{"00281050": {"vr": "FD", "Value": [NaN]}}]',
        b'[{"00281050": {"vr": "FD", "Value": [' + b"1" * 10_000 + b"]}}]",
        NESTED,
    ],
)
def test_what_is_no_strict_json_is_400(client: TestClient, content: bytes) -> None:
    answer = post(client, ("application/dicom+json", "", content))
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    "wrong",
    [
        {"00100010": {"vr": "PN", "Value": ["Nguyễn"]}},
        {"00100010": {"vr": "XX", "Value": ["a"]}},
        {"00100010": {"Value": ["a"]}},
        {"0010": {"vr": "PN"}},
        {"00280010": {"vr": "US", "Value": [70000]}},
        {"00280010": {"vr": "US", "Value": [True]}},
        {"00280010": {"vr": "US", "Value": "64"}},
        {"00281050": {"vr": "FD", "Value": [10**400]}},
        {"00080008": {"vr": "CS", "Value": [1]}},
        {"00081030": {"vr": "LO", "Value": ["\ud800"]}},
        {"00189004": {"vr": "AT", "Value": ["12"]}},
        {"00420011": {"vr": "OB", "InlineBinary": "%%"}},
        {"00420011": {"vr": "OB", "InlineBinary": 1}},
        {"00081140": {"vr": "SQ", "Value": ["a"]}},
        {"00081140": {"vr": "SQ", "Value": [{"0008": {}}]}},
        {"00080018": {"vr": "UI", "Value": ["../../etc"]}},
        {"00080018": {"vr": "UI"}},
        {"0020000D": {"vr": "UI"}},
    ],
)
def test_a_data_set_that_cannot_be_written_fails_and_nothing_of_it_is_kept(
    client: TestClient, archive: Archive, wrong: dict[str, Any]
) -> None:
    model = model_of(builders.ct_slice(1)) | wrong
    answer = post(client, metadata(model), (OCTETS, "pixels", b"\0\0"))
    if "00080018" in wrong:
        assert (answer.status_code, answer.json()["0008119A"]["Value"]) == (400, [{"00081197": FAILED["00081197"]}])
    else:
        assert (answer.status_code, answer.json()["00081198"]["Value"]) == (409, [FAILED])
    assert list(archive.objects.keys()) == []


@pytest.mark.parametrize(
    "part",
    [
        (OCTETS, "", b"x"),
        ("text/html", "pixels", b"x"),
        ("multipart/related", "pixels", b"x"),
        ("application/dicom", "pixels", b"x"),
    ],
)
def test_a_part_without_a_place_or_of_another_type_is_400(client: TestClient, part: Given) -> None:
    assert post(client, metadata(model_of(builders.ct_slice(1))), part).status_code == 400


def test_the_answer_comes_as_xml_where_that_is_wanted(client: TestClient) -> None:  # W-22
    part = (OCTETS, "pixels", builders.ct_slice(1).PixelData)
    answer = post(client, metadata(model_of(builders.ct_slice(1))), part, Accept="application/dicom+xml")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+xml")
    assert from_xml([answer.content])["00081199"]["Value"][0]["00081155"]["Value"] == ["2.25.1.1.1"]

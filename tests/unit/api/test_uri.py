"""WADO-URI: which object, in which form, and what is answered to parameters that no request has.  W-51."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydicom.uid import ImplicitVRLittleEndian

from tests import builders
from tests.unit.api import requests

WADO = "/dicom-web/wado"
NAMES = "requestType=WADO&studyUID=2.25.2&seriesUID=2.25.2.1&objectUID=2.25.2.1.1"
RAMP = np.arange(4096, dtype=np.uint16).reshape(32, 128)
EXPLICIT, OPAQUE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.92"
PNG, DICOM = "contentType=image/png", "contentType=application/dicom"


def kept(client: TestClient, **attributes: Any) -> None:
    assert requests.store(client, builders.radiograph(RAMP, **attributes)).status_code == 200


def get(client: TestClient, more: str = "", accept: str | None = None) -> Any:
    headers = {} if accept is None else {"Accept": accept}
    return client.get(f"{WADO}?{NAMES}{'&' if more else ''}{more}", headers=headers)


def shown(client: TestClient, more: str) -> Any:
    answer = get(client, f"{PNG}&{more}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text
    return imagecodecs.png_decode(answer.content)


def linear(center: float, width: float) -> Any:
    return np.rint(np.clip((RAMP - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255)


# ----------------------------------------------------------------------------------------------------- which object
@pytest.mark.parametrize(
    ("query", "status"),
    [
        (NAMES, 200),
        (f"{NAMES}&vendorsOwn=1&vendorsOwn=2", 200),
        (NAMES.replace("requestType=WADO&", ""), 400),
        (NAMES.replace("=WADO", "=wado"), 400),
        (NAMES.replace("&seriesUID=2.25.2.1", ""), 400),
        (NAMES.replace("objectUID=2.25.2.1.1", "objectUID=2.25.2.1.1%27--"), 400),
        (NAMES.replace("studyUID=2.25.2", f"studyUID={'1.' * 32}1"), 400),
        (f"{NAMES}&objectUID=2.25.2.1.1", 400),
        (NAMES.replace("studyUID=2.25.2", "studyUID=2.25.9"), 404),
        (NAMES.replace("seriesUID=2.25.2.1", "seriesUID=2.25.2.9"), 404),
        (NAMES.replace("objectUID=2.25.2.1.1", "objectUID=2.25.2.1.9"), 404),
    ],
)
def test_an_object_is_named_by_all_of_its_uids(client: TestClient, query: str, status: int) -> None:  # W-50
    kept(client)
    answer = client.get(f"{WADO}?{query}")
    assert answer.status_code == status
    assert status == 200 or answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("more", "accept", "given"),
    [
        ("", None, "image/jpeg"),
        ("", "*/*", "image/jpeg"),
        ("", "text/html, image/webp, */*;q=0.8", "image/jpeg"),
        ("", "image/png", "image/png"),
        ("", "application/dicom", "application/dicom"),
        ("", "image/jpeg;q=0.1, application/dicom;q=0.9", "application/dicom"),
        (PNG, None, "image/png"),
        (DICOM, "*/*", "application/dicom"),
        ("contentType=image/webp,image/png", "image/*", "image/png"),
        ("contentType=image/jpeg;q=0.5,image/png", None, "image/png"),
        ("contentType=image/gif", None, "image/gif"),
        ("contentType=image/webp", None, ""),
        (PNG, "image/jpeg", ""),
        ("", "text/html", ""),
        ("", "multipart/related; type=application/dicom", ""),
    ],
)
def test_the_form_is_the_most_wanted_of_those_that_both_content_type_and_accept_name(
    client: TestClient, more: str, accept: str | None, given: str
) -> None:
    kept(client)
    answer = get(client, more, accept)
    assert answer.status_code == (200 if given else 406)
    assert answer.headers["content-type"] == given or "image/jpeg, image/png" in answer.json()["detail"]


def test_what_is_no_image_is_given_as_a_dicom_file_alone(client: TestClient) -> None:
    data_set = builders.radiograph()
    del data_set.PixelData, data_set.Rows, data_set.Columns
    requests.store(client, data_set)
    assert get(client).headers["content-type"] == "application/dicom"
    assert get(client, PNG).status_code == 406


# ----------------------------------------------------------------------------------------------------- DICOM files
def test_a_dicom_file_is_the_one_that_wado_rs_gives(client: TestClient) -> None:
    kept(client)
    path = "/dicom-web/studies/2.25.2/series/2.25.2.1/instances/2.25.2.1.1"
    expected = client.get(path, headers={"Accept": "application/dicom"})
    for more in (DICOM, f"{DICOM}&transferSyntax={EXPLICIT}"):
        assert get(client, more).content == expected.content
    part = client.get(f"{WADO}?{NAMES}&{DICOM}", headers={"Range": "bytes=128-131"})
    assert (part.status_code, part.content) == (206, b"DICM")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "none", "*"])
def test_a_transfer_syntax_that_the_web_does_not_know_is_400(client: TestClient, syntax: str) -> None:
    kept(client)
    assert get(client, f"{DICOM}&transferSyntax={syntax}").status_code == 400


def test_a_transfer_syntax_that_is_not_made_here_is_406(client: TestClient) -> None:
    kept(client)
    assert get(client, f"{DICOM}&transferSyntax={OPAQUE}").status_code == 406
    assert get(client, accept=f"application/dicom; transfer-syntax={OPAQUE}").status_code == 406


def test_implicit_vr_leaves_as_explicit(client: TestClient) -> None:
    data_set = builders.radiograph(RAMP)
    data_set.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    requests.store(client, data_set)
    assert requests.read(get(client, DICOM).content).file_meta.TransferSyntaxUID == EXPLICIT


# ----------------------------------------------------------------------------------------------------- pictures
def test_a_window_is_that_of_the_standard(client: TestClient) -> None:
    kept(client)
    picture = shown(client, "windowCenter=1000&windowWidth=5e2").astype(int)
    assert np.abs(picture - linear(1000, 500)).max() <= 1


@pytest.mark.parametrize(
    ("more", "shape"),
    [
        ("", (32, 128)),
        ("rows=16", (16, 64)),
        ("columns=32", (8, 32)),
        ("rows=16&columns=32", (8, 32)),
        ("rows=64", (64, 256)),
        ("region=0.5,0,1,1", (32, 64)),
        ("region=0.25,0.5,0.75,1&columns=32", (8, 32)),
    ],
)
def test_rows_and_columns_are_the_most_and_the_proportions_stay(
    client: TestClient, more: str, shape: tuple[int, int]
) -> None:
    kept(client)
    assert shown(client, more).shape == shape


def test_a_region_is_that_part_of_the_image(client: TestClient) -> None:
    kept(client)
    assert np.array_equal(shown(client, "region=0.25,0.5,0.75,1"), shown(client, "")[16:, 32:96])


def test_a_frame_is_shown_by_its_number_and_else_the_middle_one(client: TestClient) -> None:
    frames = np.stack([np.full((32, 128), value, np.uint16) for value in (0, 2048, 4095)])
    kept(client, NumberOfFrames=3, PixelData=frames.tobytes())
    levels = [int(shown(client, more)[0, 0]) for more in ("frameNumber=1", "frameNumber=3", "")]
    assert (levels[0], levels[1], abs(levels[2] - 128) <= 1) == (0, 255, True)
    assert get(client, "frameNumber=4").status_code == 400


def test_an_image_of_a_single_frame_has_frame_1(client: TestClient) -> None:
    kept(client)
    assert np.array_equal(shown(client, "frameNumber=1"), shown(client, ""))
    refused = get(client, "frameNumber=2")
    assert (refused.status_code, refused.json()["detail"]) == (400, "the instance has 1 frame")


def test_quality_is_that_of_the_jpeg(client: TestClient) -> None:
    kept(client)
    assert len(get(client, "imageQuality=1").content) < len(get(client, "imageQuality=100").content)


REFUSED = (
    *("anonymize=yes", "anonymize=no", "imageQuality=0", "imageQuality=101", "imageQuality=high", "frameNumber=0"),
    *("frameNumber=1.0", "frameNumber=-1", "frameNumber=%D9%A1", "rows=0", "rows=4097", "columns=1e3", "rows=+8"),
    *("windowCenter=40", "windowWidth=400", "windowCenter=40&windowWidth=0", "windowCenter=NaN&windowWidth=1"),
    *("windowCenter=1,2&windowWidth=3", "windowCenter=40&windowWidth=400&windowCenter=40"),
    *("region=0,0,1", "region=0,0,1,1,1", "region=0.5,0,0.5,1", "region=0,0,1,1.01", "region=-0.1,0,1,1", "region=,,,"),
    *("presentationUID=1.2", "presentationSeriesUID=1.2"),
    *("annotation=everything", "charset=%20", "contentType=", "contentType=picture"),
    *(f"transferSyntax={EXPLICIT}", f"{PNG}&transferSyntax={EXPLICIT}"),
    *(f"{DICOM}&{one}" for one in ("rows=9", "columns=9", "region=0,0,1,1", "windowCenter=40&windowWidth=400")),
    *(f"{DICOM}&{one}" for one in ("frameNumber=1", "imageQuality=50", "annotation=patient")),
)


@pytest.mark.parametrize("more", REFUSED)
def test_a_parameter_that_cannot_be_followed_is_400_and_never_passed_over(client: TestClient, more: str) -> None:
    kept(client)
    answer = get(client, more)
    assert (answer.status_code, bool(answer.json()["detail"])) == (400, True)


def test_charset_is_not_offered_and_that_is_said(client: TestClient) -> None:
    kept(client)
    answer = get(client, "charset=utf-8,iso-8859-1;q=0.5")
    assert (answer.status_code, answer.headers["warning"][:4]) == (200, "299 ")
    assert "charset" in answer.headers["warning"]
    assert "charset" in get(client, f"{DICOM}&charset=utf-8").headers["warning"]


# ----------------------------------------------------------------------------------------------------- conditions
@pytest.mark.parametrize("more", ["", DICOM])
def test_what_is_held_already_is_304_and_head_has_no_body(client: TestClient, more: str) -> None:
    kept(client)
    given = get(client, more)
    url = f"{WADO}?{NAMES}&{more}"
    held = client.get(url, headers={"If-None-Match": given.headers["etag"]})
    other = client.get(f"{url}&vendorsOwn=1", headers={"If-None-Match": given.headers["etag"]})
    told = client.head(url)
    assert (held.status_code, held.content, other.status_code) == (304, b"", 304)
    assert (told.status_code, told.content, told.headers["etag"]) == (200, b"", given.headers["etag"])
    assert told.headers["content-type"] == given.headers["content-type"]


def test_the_service_is_named_in_the_capabilities_and_in_the_document(client: TestClient) -> None:
    told = client.options("/dicom-web", headers={"Accept": "application/json"}).json()
    (one,) = [resource for resource in told["resources"] if resource["path"] == "wado"]
    assert one["methods"][0]["gives"][:5] == [
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/jp2",
        "application/dicom",
    ]
    parameters = client.get("/api/openapi.json").json()["paths"]["/dicom-web/wado"]["get"]["parameters"]
    named = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
    assert {"requestType", "studyUID", "seriesUID", "objectUID", "contentType", "frameNumber"} <= named
    assert client.post("/dicom-web/wado").headers["allow"] == "GET, HEAD, OPTIONS"

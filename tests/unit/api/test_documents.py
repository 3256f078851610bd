"""What is no still image, as people read it: reports, encapsulated documents, videos, moving pictures."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from api.dicomweb.native import from_xml
from tests import builders
from tests.unit.api.requests import store
from tests.unit.api.test_frames import native

PLACE = "/dicom-web/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1"
MARKUP = "<script>alert(1)</script>"


def plain(sop_class: str, **attributes: Any) -> Dataset:
    """An object without pixels."""
    data_set = builders.ct_slice(1, **attributes)
    del data_set.PixelData, data_set.Rows, data_set.Columns
    data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    return data_set


def named(meaning: str) -> list[Dataset]:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99ROI", meaning
    return [code]


def item(value_type: str, name: str, **attributes: Any) -> Dataset:
    made = Dataset()
    made.ValueType, made.ConceptNameCodeSequence = value_type, named(name)
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def measured(value: str, unit: str) -> list[Dataset]:
    made = Dataset()
    made.NumericValue, made.MeasurementUnitsCodeSequence = value, named(unit)
    made.MeasurementUnitsCodeSequence[0].CodeValue = unit
    return [made]


def report() -> Dataset:
    told = plain("1.2.840.10008.5.1.4.1.1.88.33", PatientName=f"Nguyễn^{MARKUP}", SpecificCharacterSet="ISO_IR 192")
    told.ConceptNameCodeSequence = named("Imaging Report")
    told.CompletionFlag = "COMPLETE"
    told.ContentSequence = [
        item(
            "CONTAINER",
            "Findings",
            ContentSequence=[
                item("TEXT", "Finding", TextValue=f"Xuất huyết {MARKUP}"),
                item("TEXT", "Detail", TextValue="long " * 1000 + "\r\nnext line"),
                item("NUM", "Volume", MeasuredValueSequence=measured("12.5", "mL")),
                item("CODE", "Side", ConceptCodeSequence=named("Left")),
            ],
        ),
        item("PNAME", "Observer", PersonName="Bs^Lan"),
    ]
    return told


def test_a_report_is_a_page_whose_every_word_is_escaped(client: TestClient) -> None:  # W-35, R-40
    assert store(client, report()).status_code == 200
    answer = client.get(f"{PLACE}/rendered")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert MARKUP not in answer.text
    assert "<script" not in answer.text
    assert "<h1>Imaging Report</h1>" in answer.text
    for said in ("Xuất huyết &lt;script&gt;", "12.5 mL", "Left", "Bs^Lan", "COMPLETE", "long long", "<br>\nnext line"):
        assert said in answer.text
    assert answer.text.count("<ul>") == answer.text.count("</ul>") == 2
    again = client.get(f"{PLACE}/rendered", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_a_report_is_text_where_that_is_asked_for(client: TestClient) -> None:  # W-35
    store(client, report())
    answer = client.get(f"{PLACE}/rendered", headers={"Accept": "text/plain"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    lines = answer.text.splitlines()
    assert lines[0] == "Imaging Report"
    found = [line for line in lines if line.strip().startswith(("Findings", "Volume", "Side"))]
    assert found == ["Findings", "  Volume: 12.5 mL", "  Side: Left"]
    assert client.get(f"{PLACE}/rendered", headers={"Accept": "application/pdf"}).status_code == 406


def test_a_report_is_its_native_model_where_xml_is_asked_for(client: TestClient) -> None:  # W-35
    store(client, report())
    answer = client.get(f"{PLACE}/rendered", headers={"Accept": "text/xml"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    told = from_xml([answer.content])
    assert told["0040A043"]["Value"][0]["00080104"]["Value"] == ["Imaging Report"]
    assert MARKUP not in answer.text


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("", "text/html; charset=utf-8"),
        ("&contentType=text/plain", "text/plain; charset=utf-8"),
        ("&contentType=application/dicom", "application/dicom"),
    ],
)
def test_a_report_is_read_by_wado_uri_too(client: TestClient, wanted: str, given: str) -> None:  # W-50
    """PS3.18 Table 8.7.4-1."""
    store(client, report())
    asked = "/dicom-web/wado?requestType=WADO&studyUID=2.25.1&seriesUID=2.25.1.1&objectUID=2.25.1.1.1"
    answer = client.get(asked + wanted)
    assert (answer.status_code, answer.headers["content-type"]) == (200, given)
    assert client.get(f"{asked}&contentType=image/jpeg").status_code == 406
    assert client.get(f"{asked}&contentType=text/html&rows=9").status_code == 400


def test_a_report_that_is_bent_has_a_page_all_the_same(client: TestClient) -> None:
    bent = report()
    bent.ContentSequence[0].ContentSequence[2].MeasuredValueSequence = []
    bent.ContentSequence[0].ConceptNameCodeSequence = []
    bent.ContentSequence.append(Dataset())
    del bent.ConceptNameCodeSequence
    store(client, bent)
    assert "<h1>Report</h1>" in client.get(f"{PLACE}/rendered").text


@pytest.mark.parametrize(
    ("sop_class", "media_type", "ending", "content"),
    [
        ("1.2.840.10008.5.1.4.1.1.104.1", "application/pdf", "pdf", b"%PDF-1.4\n" + b"x" * 300_000 + b"\n"),
        ("1.2.840.10008.5.1.4.1.1.104.2", "text/xml", "xml", b'<?xml-stylesheet href="evil.xsl"?><x/>'),
    ],
)
def test_an_encapsulated_document_leaves_as_a_file_in_a_sandbox(  # R-35, W-35
    client: TestClient, sop_class: str, media_type: str, ending: str, content: bytes
) -> None:
    told = plain(sop_class, EncapsulatedDocument=content, MIMETypeOfEncapsulatedDocument="text/html")
    assert store(client, told).status_code == 200
    answer = client.get(f"{PLACE}/rendered")
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert answer.headers["content-disposition"] == f'attachment; filename="2.25.1.1.1.{ending}"'
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.content == content + b"\0" * (len(content) % 2)
    assert client.get(f"{PLACE}/rendered", headers={"Accept": "image/jpeg"}).status_code == 406
    assert client.head(f"{PLACE}/rendered").content == b""


def test_a_document_that_is_not_there_and_another_object_are_406(client: TestClient) -> None:
    store(client, plain("1.2.840.10008.5.1.4.1.1.104.1"))
    assert client.get(f"{PLACE}/rendered").status_code == 406
    other = plain("1.2.840.10008.5.1.4.1.1.481.3")
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = UID("2.25.1.1.2")
    store(client, other)
    assert client.get(f"{PLACE[:-1]}2/rendered").status_code == 406


def test_a_video_is_shown_as_it_is_kept(client: TestClient) -> None:  # W-35
    told = native()
    told.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.102")
    told.PixelData = encapsulate([b"\0\0\0\x18ftypmp42"], has_bot=False)
    told["PixelData"].VR, told["PixelData"].is_undefined_length = "OB", True
    assert store(client, told).status_code == 200
    for accept in ("*/*", "video/mp4", "video/*"):
        answer = client.get(f"{PLACE}/rendered", headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
        assert answer.content.startswith(b"\0\0\0\x18ftypmp42")
    assert client.get(f"{PLACE}/rendered", headers={"Accept": "image/jpeg"}).status_code == 406


@pytest.mark.parametrize("name", ["image/gif", "image/jp2"])
def test_a_still_picture_comes_as_gif_and_as_jpeg_2000(client: TestClient, name: str) -> None:  # W-35
    store(client, builders.ct_slice(1), builders.radiograph())
    accept = {"Accept": name}
    answer = client.get(f"{PLACE}/rendered", headers=accept)
    png = client.get(f"{PLACE}/rendered", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, name)
    read = imagecodecs.gif_decode if name == "image/gif" else imagecodecs.jpeg2k_decode
    shown = read(answer.content)
    grey = shown[..., 0] if shown.ndim == 3 else shown
    assert np.array_equal(grey, imagecodecs.png_decode(png.content))


def test_colours_are_near_in_a_gif(client: TestClient) -> None:
    told = builders.ct_slice(1)
    told.SamplesPerPixel, told.PhotometricInterpretation, told.PlanarConfiguration = 3, "RGB", 0
    told.BitsAllocated = told.BitsStored = 8
    told.HighBit, told.PixelRepresentation = 7, 0
    pixels = np.random.default_rng(3).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    told.PixelData = pixels.tobytes()
    store(client, told)
    shown = imagecodecs.gif_decode(client.get(f"{PLACE}/rendered", headers={"Accept": "image/gif"}).content)
    assert np.abs(shown.astype(int) - pixels).max() <= 64


def test_a_cine_moves_as_gif(client: TestClient) -> None:  # W-35
    store(client, native(FrameTime="40"))
    answer = client.get(f"{PLACE}/rendered", headers={"Accept": "image/gif"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert answer.content.startswith(b"GIF89a")
    assert answer.content.count(b"\x21\xf9\x04\0\x04\0\0\0") == 3
    for number in (1, 2, 3):
        png = client.get(f"{PLACE}/frames/{number}/rendered", headers={"Accept": "image/png"}).content
        shown = imagecodecs.gif_decode(answer.content, index=number - 1)
        assert np.array_equal(shown[..., 0], imagecodecs.png_decode(png))
    assert client.get(f"{PLACE}/rendered").headers["content-type"] == "image/jpeg"


def test_too_many_frames_do_not_move(client: TestClient) -> None:
    told = builders.ct_slice(1, size=1, NumberOfFrames=101)
    told.PixelData = bytes(202)
    store(client, told)
    assert client.get(f"{PLACE}/rendered", headers={"Accept": "image/gif"}).status_code == 400

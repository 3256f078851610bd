"""DICOM XML against DICOM JSON, and against what must never be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset

from api.dicomweb.native import NAMESPACE, as_xml, from_xml
from api.errors import BodyRejected
from tests import builders
from tests.unit.api.requests import parts, store

XML = {"Accept": 'multipart/related; type="application/dicom+xml"'}
METADATA = "/dicom-web/studies/2.25.1/metadata"


def told() -> Dataset:
    """A data set of everything that has to be escaped, numbered or nested."""
    data_set = builders.ct_slice(1, SpecificCharacterSet="ISO_IR 192", PatientName="Nguyễn^<Đào>&=阮=")
    data_set.OtherPatientNames = ["A^B", "C^D^E^F^G"]
    data_set.StudyDescription = 'R&D <script>"]]>'
    data_set.PatientComments = " first\r\nsecond\tthird "
    data_set.ImageType = ["DERIVED", "", "AXIAL", ""]
    data_set.PatientBirthDate = ""
    data_set.FrameIncrementPointer = [0x00181063, 0x00181065]
    data_set.RedPaletteColorLookupTableData = bytes(range(16))
    block = data_set.private_block(0x0009, "Ours & Co", create=True)
    block.add_new(1, "LO", "private")
    data_set.add_new(0x00090012, "LO", "Another")
    data_set.add_new(0x00091210, "LO", "as its creator's number")
    inner = Dataset()
    inner.CodeMeaning = "sọ não"
    inner.PurposeOfReferenceCodeSequence = [Dataset(), Dataset()]
    data_set.RequestAttributesSequence = [inner, Dataset()]
    return data_set


def as_text(model: Any) -> Any:
    """A model with its numbers as text, as XML holds them."""
    if isinstance(model, dict):
        return {key: as_text(value) for key, value in model.items()}
    if isinstance(model, list):
        return [as_text(value) for value in model]
    return str(model) if isinstance(model, int | float) else model


def test_xml_says_what_json_says(client: TestClient) -> None:
    assert store(client, told(), builders.ct_slice(2)).status_code == 200
    given = client.get(METADATA, headers=XML)
    assert given.headers["content-type"].startswith('multipart/related; type="application/dicom+xml"')
    expected = as_text(json.loads(client.get(METADATA).text))
    for part, model in zip(parts(given), expected, strict=True):
        assert from_xml([part]) == model


def test_a_private_attribute_names_its_creator_and_a_known_one_its_keyword(client: TestClient) -> None:
    store(client, told())
    (document,) = parts(client.get(METADATA, headers=XML))
    assert b'<DicomAttribute tag="00090001" vr="LO" privateCreator="Ours &amp; Co">' in document
    assert b'<DicomAttribute tag="00090010" vr="LO">' in document
    assert b'<DicomAttribute tag="00100010" vr="PN" keyword="PatientName">' in document
    assert b"<FamilyName>Nguy\xe1\xbb\x85n</FamilyName><GivenName>&lt;" in document


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    made = as_xml({"00081030": {"vr": "LO", "Value": ["a\x07\x1b\ufffeb"]}})
    assert from_xml([made]) == {"00081030": {"vr": "LO", "Value": ["a\ufffd\ufffd\ufffdb"]}}


def document(inner: str, head: str = "") -> bytes:
    return f'<?xml version="1.0"?>{head}<NativeDicomModel xmlns="{NAMESPACE}">{inner}</NativeDicomModel>'.encode()


NAME = '<DicomAttribute tag="00100010" vr="PN">{}</DicomAttribute>'
BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not xml",
        document("")[:-3],
        b"<other/>",
        document("<other/>"),
        document("<Value number='1'>x</Value>"),
        document('<DicomAttribute tag="0010" vr="PN"/>'),
        document(NAME.format("") * 2),
        document(NAME.format('<Value number="0">x</Value>')),
        document(NAME.format('<Value number="9999999">x</Value>')),
        document(NAME.format('<Value number="5000">x</Value>')),
        document('<DicomAttribute tag="00081140" vr="SQ"><Item number="1">' * 200),
        document(NAME.format("&x;"), '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        document("", '<!DOCTYPE a SYSTEM "http://127.0.0.1/evil.dtd">'),
        document(NAME.format("&a9;"), f'<!DOCTYPE a [<!ENTITY a0 "x">{BOMB}]>'),
        document("", "<!DOCTYPE a>"),
    ],
)
def test_what_is_no_native_model_or_declares_anything_is_refused(content: bytes) -> None:
    with pytest.raises(BodyRejected):
        from_xml([content])


def test_two_blocks_of_one_creator_stay_apart() -> None:  # as a Siemens MR has them
    model = {
        "00290010": {"vr": "LO", "Value": ["SAME"]},
        "00290011": {"vr": "LO", "Value": ["SAME"]},
        "00291060": {"vr": "LO", "Value": ["one"]},
        "00291160": {"vr": "LO", "Value": ["two"]},
    }
    assert from_xml([as_xml(model)]) == model

from __future__ import annotations

import io
import json
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from api.dicomweb.model import as_model, element, find
from api.dicomweb.walk import walk
from pacs_gateway.elements import Encoding
from tests.unit.api.test_explicit import encoded, rich, source

BULK = "http://h/b"


def model(content: bytes, encoding: Encoding = Encoding.EXPLICIT_LITTLE) -> dict[str, Any]:
    made = as_model(source(content), encoding, bulk_url=BULK, signed=True)
    text = json.dumps(made, allow_nan=False)  # a bare NaN would be no JSON
    assert list(made) == sorted(made)
    found: dict[str, Any] = json.loads(text)
    return found


def one(tag: int, vr: str, value: bytes, charset: bytes = b"ISO_IR 192") -> dict[str, Any]:
    """The JSON of one element, encoded by hand."""
    set_of = b"\x08\0\x05\0CS" + len(charset).to_bytes(2, "little") + charset
    head = tag.to_bytes(4, "big")[1::-1] + tag.to_bytes(4, "big")[:1:-1] + vr.encode()
    long = vr in {"OB", "OD", "OF", "OL", "OV", "OW", "SV", "UC", "UN", "UR", "UT", "UV"}
    length = b"\0\0" + len(value).to_bytes(4, "little") if long else len(value).to_bytes(2, "little")
    made = model(set_of + head + length + value)
    found: dict[str, Any] = made[f"{tag:08X}"]
    return found


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("LO", b"", {"vr": "LO"}),
        ("LO", b"  ", {"vr": "LO"}),
        ("LO", b"a\\\\b ", {"vr": "LO", "Value": ["a", None, "b"]}),
        ("LT", b"  two\r\nlines\\ ", {"vr": "LT", "Value": ["  two\r\nlines\\"]}),
        ("UI", b"1.2.3\0", {"vr": "UI", "Value": ["1.2.3"]}),
        ("PN", "Nguyễn^Đào==x ".encode(), {"vr": "PN", "Value": [{"Alphabetic": "Nguyễn^Đào", "Phonetic": "x"}]}),
        ("PN", b"= ", {"vr": "PN"}),
        ("IS", b"12\\+3 ", {"vr": "IS", "Value": [12, 3]}),
        ("IS", b"N/A ", {"vr": "IS", "Value": ["N/A"]}),
        ("DS", b"1.0E+3\\ 12 \\\\.5", {"vr": "DS", "Value": [1000.0, 12, None, 0.5]}),
        ("DS", b"0.12345678901234567", {"vr": "DS", "Value": ["0.12345678901234567"]}),
        ("DS", b"1,5 ", {"vr": "DS", "Value": ["1,5"]}),
        ("US", b"\1\0\xff\xff", {"vr": "US", "Value": [1, 65535]}),
        ("US", b"\1\0\xff", {"vr": "UN", "InlineBinary": "AQD/"}),
        ("SS", b"\xff\xff", {"vr": "SS", "Value": [-1]}),
        ("FD", b"\0" * 6 + b"\xf8\x7f" + b"\0" * 6 + b"\xf0\xff", {"vr": "FD", "Value": ["NaN", "-inf"]}),
        ("AT", b"\x18\0\x63\x10", {"vr": "AT", "Value": ["00181063"]}),
        ("UV", b"\xff" * 8, {"vr": "UV", "Value": ["18446744073709551615"]}),
        ("OB", b"\1\2", {"vr": "OB", "InlineBinary": "AQI="}),
        ("UT", b"x" * 2000, {"vr": "UT", "BulkDataURI": f"{BULK}/00091010"}),
    ],
)
def test_each_vr_has_its_json(vr: str, value: bytes, expected: dict[str, Any]) -> None:
    # W-80, W-81, W-82, W-83, W-84, W-85, W-88
    assert one(0x00091010, vr, value) == expected


def test_a_known_attribute_sent_as_un_shows_its_true_vr() -> None:  # W-86
    assert one(0x00200011, "UN", b"7 ") == {"vr": "IS", "Value": [7]}
    assert one(0x00091010, "UN", b"7 ") == {"vr": "UN", "InlineBinary": "NyA="}


def test_text_is_decoded_by_its_own_character_set() -> None:  # W-87
    assert one(0x00100010, "PN", b"\xc4nneas^Muster ", b"ISO_IR 100")["Value"] == [{"Alphabetic": "Änneas^Muster"}]
    assert one(0x00100020, "LO", b"\xff\xfe", b"ISO_IR 192")["Value"] == ["\ufffd\ufffd"]


def test_pydicom_reads_back_what_it_wrote() -> None:
    data_set = rich()
    made = model(encoded(data_set, implicit=False))
    assert made["7FE00010"] == {"vr": "OW", "BulkDataURI": f"{BULK}/7FE00010"}
    read = Dataset.from_json(made, bulk_data_uri_handler=lambda *_: data_set.PixelData)
    assert read == data_set


def test_bulk_data_inside_a_sequence_is_found_by_its_path() -> None:  # W-34
    item = Dataset()
    item.add_new(0x00091010, "UT", "y" * 1500)
    data_set = Dataset()
    data_set.ContentSequence = [Dataset(), item]
    content = encoded(data_set, implicit=False)
    uri = model(content)["0040A730"]["Value"][1]["00091010"]["BulkDataURI"]
    assert uri == f"{BULK}/0040A730/1/00091010"
    step = find(walk(source(content), Encoding.EXPLICIT_LITTLE), ("0040A730", "1", "00091010"))
    assert step is not None
    assert content[step.start : step.start + step.length] == b"y" * 1500
    assert find(walk(source(content), Encoding.EXPLICIT_LITTLE), ("0040A730", "0", "00091010")) is None


def test_the_first_of_repeated_attributes_stands() -> None:
    content = b"\x08\0\x60\0CS\2\0CT" + b"\x08\0\x60\0CS\2\0MR"
    assert model(content) == {"00080060": {"vr": "CS", "Value": ["CT"]}}
    assert pydicom.dcmread(io.BytesIO(content), force=True).Modality == "MR"


def test_values_of_ours_have_the_same_json() -> None:
    assert element("PatientName", "Nguyễn^Đào=x") == (
        "00100010",
        {"vr": "PN", "Value": [{"Alphabetic": "Nguyễn^Đào", "Ideographic": "x"}]},
    )
    assert element("ModalitiesInStudy", ("CT", "SR")) == ("00080061", {"vr": "CS", "Value": ["CT", "SR"]})
    assert element("NumberOfStudyRelatedSeries", 0) == ("00201206", {"vr": "IS", "Value": [0]})
    assert [element("Rows", None), element("StudyID", "")] == [("00280010", {"vr": "US"}), ("00200010", {"vr": "SH"})]

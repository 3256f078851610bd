"""Attributes become fields: against pydicom on real files, and against what a sender may do."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filereader import dcmread

from pacs_gateway import header as header_module
from pacs_gateway.errors import HeaderRejected, HeaderUnreadable, UidRejected
from pacs_gateway.header import HEAD_BYTES, is_uid, read_header
from pacs_gateway.part10 import MAX_META_BYTES, read_meta
from storage.records import Header, InstanceUid, SeriesUid, StudyUid
from tests.unit.pacs_gateway.datasets import data_set, element

IMPLICIT, EXPLICIT, DEFLATED, BIG = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2"))

CT = Header(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    sop_instance_uid=InstanceUid("1.2.3.4.5"),
    series_instance_uid=SeriesUid("1.2.3.4"),
    study_instance_uid=StudyUid("1.2.3"),
    transfer_syntax_uid=EXPLICIT,
    patient_id="P1",
    patient_name="Phạm^Văn^Đức",
    study_date="20260102",
    modality="CT",
    instance_number=7,
    rows=4,
    columns=2,
    image_position_patient=(-1.5, 2.0, 30.0),
)


def read(data: bytes, syntax: str = EXPLICIT) -> Header:
    return read_header(data[:HEAD_BYTES], syntax, lambda offset, length: data[offset : offset + length])


@pytest.mark.parametrize(
    ("syntax", "data"),
    [
        (EXPLICIT, data_set()),
        (IMPLICIT, data_set(explicit=False)),
        (BIG, data_set({"Rows": b"\0\4", "Columns": b"\0\2"}, order=">")),
        (DEFLATED, zlib.compress(data_set(), wbits=-15)),
        ("1.2.840.10008.1.2.4.112", data_set()),
        ("1.2.3.4.5.6", data_set()),
    ],
)
def test_header_is_the_same_in_every_encoding(syntax: str, data: bytes) -> None:
    assert read(data, syntax) == replace(CT, transfer_syntax_uid=syntax)


def test_head_alone_is_enough_for_a_usual_object() -> None:
    def more(offset: int, length: int) -> bytes:
        raise AssertionError((offset, length))

    assert read_header(data_set(), EXPLICIT, more) == CT


@pytest.mark.parametrize(("syntax", "explicit"), [(EXPLICIT, True), (IMPLICIT, False)])
def test_both_priorities_are_read(syntax: str, explicit: bool) -> None:
    asked = {"RequestedProcedurePriority": b"HIGH", "RequestPriority": b"LOW "}
    found = read(data_set(asked, explicit=explicit), syntax)
    assert (found.requested_procedure_priority, found.request_priority) == ("HIGH", "LOW")


@pytest.mark.parametrize(("syntax", "explicit"), [(EXPLICIT, True), (IMPLICIT, False)])
def test_damage_beyond_what_is_needed_refuses_nothing(syntax: str, explicit: bool) -> None:
    whole = data_set({"RequestedProcedurePriority": b"HIGH", "RequestPriority": b"LOW "}, explicit=explicit)
    damage = struct.pack("<HH", 0x0041, 0x1010) + (b"OB\0\0" if explicit else b"") + struct.pack("<I", 0x7FFFFFFF)
    cut = whole.index(struct.pack("<HH", 0x2200, 0x0020))
    found = read(whole[:cut] + damage + whole[cut:], syntax)
    assert (found.requested_procedure_priority, found.request_priority) == ("HIGH", None)


def test_header_longer_than_the_head_is_read_on() -> None:
    assert read(data_set({"EncapsulatedDocument": None, "LossyImageCompressionMethod": b"X" * 40_000})) == CT
    private = struct.pack("<HH2sHI", 9, 0x1010, b"OB", 0, 200_000) + bytes(200_000)
    plain = data_set()
    cut = plain.index(element("PatientName", CT.patient_name.encode()))  # type: ignore[union-attr]
    assert read(plain[:cut] + private + plain[cut:]) == CT


FIELDS = {"ImageType": "image_type"} | {
    keyword: name
    for keyword, name, _ in header_module._FIELDS
    if keyword not in {"ImageType", "RequestAttributesSequence"}
}


def _by_pydicom(dataset: pydicom.Dataset, syntax: str) -> dict[str, object]:
    values: dict[str, object] = {"transfer_syntax_uid": syntax}
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        values[_snake(keyword)] = str(dataset.get(keyword, "")).strip()
    for keyword, name in FIELDS.items():
        value = dataset.get(keyword)
        if value in (None, ""):
            values[name] = () if name == "image_type" else None
        elif name in {"image_type", "image_position_patient", "image_orientation_patient"}:
            many = [value] if isinstance(value, str) else list(value)
            values[name] = tuple(map(str.strip, many)) if name == "image_type" else tuple(map(float, many)) or None
        else:
            values[name] = int(value) if isinstance(value, int) else str(value).strip()
    asked = dataset.get("RequestAttributesSequence") or []
    for keyword, name in {
        "ScheduledProcedureStepID": "scheduled_procedure_step_ids",
        "RequestedProcedureID": "requested_procedure_ids",
    }.items():
        told = [str(item.get(keyword) or "").strip() for item in asked]
        values[name] = "\\".join(told) if any(told) else None
    return values


def _snake(keyword: str) -> str:
    names = {"SOPClassUID": "sop_class_uid", "SOPInstanceUID": "sop_instance_uid"}
    return names.get(keyword) or keyword.removesuffix("InstanceUID").lower() + "_instance_uid"


def test_header_agrees_with_pydicom_on_every_real_file(shared_data: Path) -> None:
    compared = []
    for folder in ("modality", "transfer_syntax", "charset", "derived"):
        for path in sorted((shared_data / "dicom" / folder).iterdir()):
            content = path.read_bytes()
            try:
                meta = read_meta(content[:MAX_META_BYTES])
                found = read(content[meta.length :], meta.transfer_syntax_uid)
            except HeaderRejected:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = _by_pydicom(dcmread(BytesIO(content), stop_before_pixels=True), meta.transfer_syntax_uid)
            ours = {field.name: getattr(found, field.name) for field in fields(found)}
            if found.patient_name:  # pydicom drops empty component groups
                ours["patient_name"] = found.patient_name.rstrip("=")
            if path.name == "chrGB2312.dcm":  # pydicom leaves the escape sequence of ISO 2022 IR 58 in the name
                assert ours.pop("patient_name") == "Zhang^XiaoDong=张^小东"
                del expected["patient_name"]
            assert ours == expected, path.name
            compared.append(path.name)
    assert len(compared) >= 100


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "{} is missing or empty"),
        (b"", "{} is missing or empty"),
        (b"\0", "{} is missing or empty"),
        (b"1..2", "{} is not a UID"),
        (b"1.2.", "{} is not a UID"),
        (b"1.2\n", "{} is not a UID"),
        (b"1." + b"2" * 63, "{} is not a UID"),
        (b"../../etc/passwd", "{} is not a UID"),
        ("１.２".encode(), "{} is not a UID"),
    ],
)
def test_missing_or_illegal_uid_is_rejected(keyword: str, value: bytes | None, message: str) -> None:
    with pytest.raises(UidRejected, match=f"^{message.format(keyword)}$"):
        read(data_set({keyword: value}))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"InstanceNumber": b"x"}, {"instance_number": None}),
        ({"InstanceNumber": b"99999999999"}, {"instance_number": None}),
        ({"InstanceNumber": b"1_0"}, {"instance_number": None}),
        ({"InstanceNumber": b""}, {"instance_number": None}),
        ({"InstanceNumber": b" -3 "}, {"instance_number": -3}),
        ({"NumberOfFrames": b"1e9"}, {"number_of_frames": None}),
        ({"Rows": b""}, {"rows": None}),
        ({"Rows": b"\4\0\0\0"}, {"rows": 4}),
        ({"Rows": b"\xff\xff\xff\xff"}, {"rows": None}),
        ({"ImagePositionPatient": b"1\\2"}, {"image_position_patient": None}),
        ({"ImagePositionPatient": b"1\\nan\\2"}, {"image_position_patient": None}),
        ({"ImagePositionPatient": b"1\\1e999\\2"}, {"image_position_patient": None}),
        ({"ImageType": b"ORIGINAL\\PRIMARY "}, {"image_type": ("ORIGINAL", "PRIMARY")}),
        ({"ImageType": b""}, {"image_type": ()}),
        ({"PatientID": b" A\0B\x1b[31m\n "}, {"patient_id": "AB[31m"}),
        ({"PatientName": b"\xff\xfe"}, {"patient_name": "��"}),
        ({"SpecificCharacterSet": b"NONSENSE", "PatientName": b"J\xf6rg"}, {"patient_name": "Jörg"}),
        ({"SpecificCharacterSet": b"ISO-IR 100", "PatientName": b"J\xf6rg"}, {"patient_name": "Jörg"}),
        ({"SpecificCharacterSet": None, "PatientName": b"J\xf6rg"}, {"patient_name": "Jörg"}),
        (
            {"SpecificCharacterSet": b"\\ISO 2022 IR 87", "PatientName": b"A=\x1b$B;3ED\x1b(B^\x1b$BB@"},
            {"patient_name": "A=山田^太"},
        ),
        ({"SpecificCharacterSet": b"\\ISO 2022 IR 87", "PatientName": b"\x1bZZ\x1b"}, {"patient_name": "ZZ"}),
        (
            {"PatientComments": b"x" * 60, "RequestedProcedurePriority": b"STAT"},
            {"requested_procedure_priority": "STAT"},
        ),
    ],
)
def test_unusual_value_is_read_or_left_out(changes: dict[str, bytes | None], expected: dict[str, object]) -> None:
    assert read(data_set(changes)) == replace(CT, **expected)  # type: ignore[arg-type]


def test_first_of_an_element_that_occurs_twice_counts() -> None:  # R-29
    twice = element("PatientID", b"P1") + element("PatientID", b"P2")
    assert read(data_set().replace(element("PatientID", b"P1"), twice)) == CT


def _nested(depth: int, *, explicit: bool = True) -> bytes:
    """A sequence of undefined length below (0008,1140), `depth` deep."""
    sequence = b"\x08\x00\x40\x11" + (b"SQ\0\0" if explicit else b"") + b"\xff\xff\xff\xff"
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    item_end, sequence_end = b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
    return (sequence + item) * depth + (item_end + sequence_end) * depth


@pytest.mark.parametrize("depth", [1, 2, 10, 64])
def test_sequences_are_stepped_over(depth: int) -> None:
    plain = data_set()
    cut = plain.index(element("PatientName", CT.patient_name.encode()))  # type: ignore[union-attr]
    assert read(plain[:cut] + _nested(depth) + plain[cut:]) == CT


def test_unknown_value_of_undefined_length_is_a_sequence_in_implicit() -> None:
    nested = b"\x08\x00\x40\x11UN\0\0\xff\xff\xff\xff" + _nested(3, explicit=False)[8:]
    plain = data_set()
    cut = plain.index(element("PatientName", CT.patient_name.encode()))  # type: ignore[union-attr]
    assert read(plain[:cut] + nested + plain[cut:]) == CT


@pytest.mark.parametrize("depth", [65, 1000, 20_000])
def test_deeper_nesting_than_any_real_object_is_refused(depth: int) -> None:  # R-20
    with pytest.raises(HeaderUnreadable):
        read(_nested(depth) + data_set())


@given(st.binary(max_size=400))
def test_any_bytes_are_a_header_or_a_rejection(data: bytes) -> None:
    for syntax in (IMPLICIT, EXPLICIT, DEFLATED, BIG):
        try:
            read(data, syntax)
        except HeaderRejected:
            continue


@given(st.data())
def test_damaged_data_set_is_a_header_or_a_rejection(choose: st.DataObject) -> None:
    explicit = choose.draw(st.booleans())
    damaged = bytearray(data_set(explicit=explicit))
    for _ in range(choose.draw(st.integers(1, 4))):
        damaged[choose.draw(st.integers(0, len(damaged) - 1))] = choose.draw(st.integers(0, 255))
    end = choose.draw(st.integers(0, len(damaged)))
    try:
        found = read(bytes(damaged[:end]), EXPLICIT if explicit else IMPLICIT)
    except HeaderRejected:
        return
    assert all(map(is_uid, (found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid)))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "PatientName": st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40),
            "PatientID": st.from_regex(r"[A-Z0-9]{1,16}", fullmatch=True),
            "Modality": st.sampled_from(["CT", "MR", "CR", "US"]),
            "StudyDescription": st.text("abc ăâđêôơư", max_size=64),
            "InstanceNumber": st.integers(-(2**31), 2**31 - 1).map(str),
        },
    )
)
def test_quick_and_careful_reader_agree(values: dict[str, str]) -> None:
    data = data_set({keyword: value.encode() for keyword, value in values.items()})
    quick = header_module._scan(data[:HEAD_BYTES])
    careful = header_module.read_elements(
        lambda offset, length: data[offset : offset + length],
        header_module.Encoding.EXPLICIT_LITTLE,
        header_module.WANTED,
        header_module.LAST_NEEDED,
        header_module.MAX_VALUE_BYTES,
        welcome=header_module.LAST_WANTED,
    )
    assert quick == careful


def test_a_value_longer_than_any_may_be_is_kept_in_part() -> None:
    text = "Ặ" * 1000
    found = read(data_set({"SpecificCharacterSet": b"ISO_IR 192", "PatientID": text.encode(), "Modality": b"X" * 1000}))
    assert (found.patient_id, found.modality) == (text[: header_module.MAX_TEXT], "X" * header_module.MAX_CODE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", True), ("1.2.840", True), ("1.02", True), ("", False), ("1.a", False), ("1" * 65, False)],
)
def test_uid_is_digits_and_dots(text: str, expected: bool) -> None:
    assert is_uid(text) is expected


def test_bytes_of_one_series_are_read_anew_under_another_character_set() -> None:
    name = "Đặng^Thị^Hoà"
    raw = name.encode()
    as_utf8 = data_set({"SpecificCharacterSet": b"ISO_IR 192", "PatientName": raw + b" " * (len(raw) % 2)})
    as_latin = data_set({"SpecificCharacterSet": b"ISO_IR 100", "PatientName": raw + b" " * (len(raw) % 2)})
    assert [read(as_utf8).patient_name, read(as_utf8).patient_name] == [name, name]
    assert read(as_latin).patient_name not in {None, name}


# ------------------------------------------------------------------------------------------------------- requests
def _requests(*items: dict[str, bytes], explicit: bool, order: str, undefined: bool) -> bytes:
    """Write (0040,0275) Request Attributes Sequence, before which and after which are other attributes."""

    def tag(group: int, number: int, length: int) -> bytes:
        return struct.pack(f"{order}HHI", group, number, 0xFFFFFFFF if undefined else length)

    written = b""
    for item in items:
        content = b"".join(element(name, value, explicit=explicit, order=order) for name, value in item.items())
        written += tag(0xFFFE, 0xE000, len(content)) + content
        written += struct.pack(f"{order}HHI", 0xFFFE, 0xE00D, 0) if undefined else b""
    written += struct.pack(f"{order}HHI", 0xFFFE, 0xE0DD, 0) if undefined else b""
    if not explicit:
        return tag(0x0040, 0x0275, len(written)) + written
    length = 0xFFFFFFFF if undefined else len(written)
    return struct.pack(f"{order}HH2sHI", 0x0040, 0x0275, b"SQ", 0, length) + written


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize(
    ("syntax", "explicit", "order"), [(EXPLICIT, True, "<"), (IMPLICIT, False, "<"), (BIG, True, ">")]
)
def test_the_requests_of_a_series_are_read_place_by_place(
    syntax: str, explicit: bool, order: str, undefined: bool
) -> None:
    inner = {"ScheduledProcedureStepDescription": "sọ".encode()}
    asked = _requests(
        {**inner, "ScheduledProcedureStepID": b"SPS1", "RequestedProcedureID": b"RP1"},
        inner,
        {"RequestedProcedureID": "RP\\Đ".encode()},
        explicit=explicit,
        order=order,
        undefined=undefined,
    )
    sizes = {"Rows": struct.pack(f"{order}H", 4), "Columns": struct.pack(f"{order}H", 2)}
    started = {"PerformedProcedureStepStartDate": b"20260102", "PerformedProcedureStepStartTime": b"0830"}
    bits = {"BitsAllocated": struct.pack(f"{order}H", 16)}
    whole = data_set({**sizes, **started, **bits}, explicit=explicit, order=order)
    cut = whole.index(element("PixelData", bytes(16), explicit=explicit, order=order))
    found = read(whole[:cut] + asked + whole[cut:], syntax)
    assert found == replace(
        CT,
        transfer_syntax_uid=syntax,
        pps_start_date="20260102",
        pps_start_time="0830",
        bits_allocated=16,
        scheduled_procedure_step_ids="SPS1\\\\",
        requested_procedure_ids="RP1\\\\RP Đ",
    )


@pytest.mark.parametrize("undefined", [False, True])
def test_of_requests_that_are_cut_the_whole_ones_count(undefined: bool) -> None:
    items = [{"ScheduledProcedureStepID": b"SPS%04d" % number} for number in range(1000)]
    asked = _requests(*items, explicit=True, order="<", undefined=undefined)
    whole = data_set()
    cut = whole.index(element("PixelData", bytes(16)))
    told = read(whole[:cut] + asked + whole[cut:]).scheduled_procedure_step_ids
    assert told is not None
    assert told.startswith("SPS0000\\SPS0001\\")
    assert len(told) == header_module.MAX_TEXT

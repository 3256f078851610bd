"""Data sets as bytes, built element by element."""

from __future__ import annotations

import struct

from pydicom.datadict import dictionary_VR, tag_for_keyword

LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}

CT_HEADER: dict[str, bytes] = {
    "SpecificCharacterSet": b"ISO_IR 192",
    "SOPClassUID": b"1.2.840.10008.5.1.4.1.1.2",
    "SOPInstanceUID": b"1.2.3.4.5",
    "StudyDate": b"20260102",
    "Modality": b"CT",
    "PatientName": "Phạm^Văn^Đức".encode(),
    "PatientID": b"P1",
    "StudyInstanceUID": b"1.2.3",
    "SeriesInstanceUID": b"1.2.3.4",
    "InstanceNumber": b"7",
    "ImagePositionPatient": b"-1.5\\2\\3e1",
    "Rows": struct.pack("<H", 4),
    "Columns": struct.pack("<H", 2),
    "PixelData": bytes(16),
}


def element(keyword: str, value: bytes, *, explicit: bool = True, order: str = "<") -> bytes:
    tag, vr = tag_for_keyword(keyword), dictionary_VR(keyword).split()[0]
    assert tag is not None
    if len(value) % 2:
        value += b"\0" if vr == "UI" else b" "
    if not explicit:
        return struct.pack(f"{order}HHI", tag >> 16, tag & 0xFFFF, len(value)) + value
    if vr in LONG:
        return struct.pack(f"{order}HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(value)) + value
    return struct.pack(f"{order}HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def data_set(changes: dict[str, bytes | None] | None = None, *, explicit: bool = True, order: str = "<") -> bytes:
    """A small CT; `changes` replace, add or (None) leave out elements, which stay in tag order."""
    values = {**CT_HEADER, **(changes or {})}
    present = {keyword: value for keyword, value in values.items() if value is not None}
    ordered = sorted(present, key=lambda keyword: tag_for_keyword(keyword) or 0)
    return b"".join(element(keyword, present[keyword], explicit=explicit, order=order) for keyword in ordered)


def sop_uids() -> tuple[str, str]:
    return CT_HEADER["SOPClassUID"].decode(), CT_HEADER["SOPInstanceUID"].decode()

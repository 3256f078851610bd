"""The attributes read from an arriving instance: the one place where attributes become fields.

Two readers share one table.  `_scan` walks the first bytes of an explicit little endian data set, one unpacking an
element; whatever is unusual (another encoding, an undefined length, a header longer than the head) makes it give up
and `pacs_gateway.elements.read_elements` walk the same attributes carefully.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from pydicom.datadict import tag_for_keyword

from pacs_gateway.charset import Encodings, decode_text, encodings_of
from pacs_gateway.elements import LONG_FORM, SHORT_FORM, Encoding, Reader, encoding_of, items_of, read_elements
from pacs_gateway.errors import HeaderUnreadable, UidRejected
from storage.records import Header, InstanceUid, SeriesUid, StudyUid

HEAD_BYTES: Final = 32 * 1024
"""How much of a data set is worth reading before anything is known about it."""

MAX_VALUE_BYTES: Final = 4096
"""No more of a value is read: a header is a row, not a document."""

MAX_TEXT: Final = 512
"""Letters of a text that are kept, eight times what an LO may have (PS3.5 6.2): an index entry holds 2704 bytes."""
MAX_CODE: Final = 64
"""The same for what is ASCII: codes, dates and times."""

_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_INTEGER: Final = re.compile(rb"[+-]?[0-9]{1,12}")
_DECIMAL: Final = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_INT32: Final = 2**31
_ASCII: Final = ("ascii",)

_REMEMBERED: Final = 64
"""Series whose common attributes need not be decoded again; with the longest values, some MB."""


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise LookupError(keyword)
    return int(tag)


# ------------------------------------------------------------------------------------- from attribute to field
def _text(value: bytes, encodings: Encodings, _: Encoding) -> str | None:
    return decode_text(value, encodings)[:MAX_TEXT].rstrip() or None


def _plain(value: bytes, _: Encodings, __: Encoding) -> str | None:
    return decode_text(value, _ASCII)[:MAX_CODE].rstrip() or None


def _texts(value: bytes, _: Encodings, __: Encoding) -> tuple[str, ...]:
    return tuple(part.strip() for part in decode_text(value, _ASCII).split("\\")) if value.strip(b" \0") else ()


def _integer(value: bytes, _: Encodings, __: Encoding) -> int | None:
    text = value.strip(b" \0")
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -_INT32 <= number < _INT32 else None


def _unsigned(value: bytes, _: Encodings, encoding: Encoding) -> int | None:
    if len(value) not in {2, 4}:
        return None
    number = int.from_bytes(value, encoding.byteorder)
    return number if number < _INT32 else None


def _vector(count: int) -> Callable[[bytes, Encodings, Encoding], tuple[float, ...] | None]:
    def read(value: bytes, _: Encodings, __: Encoding) -> tuple[float, ...] | None:
        parts = [part.strip() for part in value.strip(b" \0").split(b"\\")]
        if len(parts) != count or not all(map(_DECIMAL.fullmatch, parts)):
            return None
        numbers = tuple(map(float, parts))
        return numbers if all(map(math.isfinite, numbers)) else None

    return read


def _in_items(keyword: str) -> Callable[[bytes, Encodings, Encoding], str | None]:
    """Read an attribute of a sequence's items, as a multiple value: place by place, empty where an item has none."""
    wanted = frozenset({_tag(keyword)})

    def read(value: bytes, encodings: Encodings, encoding: Encoding) -> str | None:
        told = [_in_item(item, wanted, encodings, encoding) for item in items_of(value, encoding)]
        return "\\".join(told)[:MAX_TEXT] if any(told) else None

    return read


def _in_item(item: bytes, wanted: frozenset[int], encodings: Encodings, encoding: Encoding) -> str:
    written = Encoding.EXPLICIT_LITTLE if encoding.deflated else encoding
    try:
        found = read_elements(
            lambda offset, length: item[offset : offset + length], written, wanted, max(wanted), MAX_VALUE_BYTES
        )
    except HeaderUnreadable:
        return ""
    return (_text(b"".join(found.values()), encodings, encoding) or "").replace("\\", " ")


_FIELDS: Final = (
    ("ImageType", "image_type", _texts),
    ("StudyDate", "study_date", _plain),
    ("StudyTime", "study_time", _plain),
    ("AccessionNumber", "accession_number", _text),
    ("Modality", "modality", _plain),
    ("Manufacturer", "manufacturer", _text),
    ("ReferringPhysicianName", "referring_physician_name", _text),
    ("StationName", "station_name", _text),
    ("StudyDescription", "study_description", _text),
    ("SeriesDescription", "series_description", _text),
    ("PatientName", "patient_name", _text),
    ("PatientID", "patient_id", _text),
    ("IssuerOfPatientID", "issuer_of_patient_id", _text),
    ("PatientBirthDate", "patient_birth_date", _plain),
    ("PatientSex", "patient_sex", _plain),
    ("BodyPartExamined", "body_part_examined", _plain),
    ("ProtocolName", "protocol_name", _text),
    ("StudyID", "study_id", _text),
    ("SeriesNumber", "series_number", _integer),
    ("InstanceNumber", "instance_number", _integer),
    ("ImagePositionPatient", "image_position_patient", _vector(3)),
    ("ImageOrientationPatient", "image_orientation_patient", _vector(6)),
    ("NumberOfFrames", "number_of_frames", _integer),
    ("Rows", "rows", _unsigned),
    ("Columns", "columns", _unsigned),
    ("BitsAllocated", "bits_allocated", _unsigned),
    ("PerformedProcedureStepStartDate", "pps_start_date", _plain),
    ("PerformedProcedureStepStartTime", "pps_start_time", _plain),
    ("RequestAttributesSequence", "scheduled_procedure_step_ids", _in_items("ScheduledProcedureStepID")),
    ("RequestAttributesSequence", "requested_procedure_ids", _in_items("RequestedProcedureID")),
    ("RequestedProcedurePriority", "requested_procedure_priority", _plain),
    ("RequestPriority", "request_priority", _plain),
)
"""keyword, field of `Header`, how its value is read."""

_UIDS: Final = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


_CHARSET_TAG: Final = _tag("SpecificCharacterSet")
_UID_TAGS: Final = {keyword: _tag(keyword) for keyword in _UIDS}
_FIELD_TAGS: Final = tuple((_tag(keyword), name, read) for keyword, name, read in _FIELDS)
_OWN: Final = frozenset({"instance_number", "image_position_patient"})
"""What differs from one instance of a series to the next."""
_OWN_TAGS: Final = tuple(each for each in _FIELD_TAGS if each[1] in _OWN)
_SHARED_TAGS: Final = tuple(each for each in _FIELD_TAGS if each[1] not in _OWN)
WANTED: Final = frozenset({_CHARSET_TAG, *_UID_TAGS.values(), *(tag for tag, _, _ in _FIELD_TAGS)})
LAST_NEEDED: Final = _tag("RequestedProcedurePriority")
"""A data set has to parse as far as this."""
LAST_WANTED: Final = max(WANTED)
"""What stands between is read where it is easily had, and its absence or damage refuses nothing."""


# ----------------------------------------------------------------------------------------------------- reading
def is_uid(text: str) -> bool:
    """Tell whether `text` is digits and dots, 64 characters at most (PS3.5 9.1).

    Leading zeros of a component are let pass: they are met, and they do no harm.
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def read_header(head: bytes, transfer_syntax_uid: str, more: Reader) -> Header:
    """Read the header of a data set whose first bytes are `head`.

    Parameters
    ----------
    head
        Data set bytes from the start; 32 KiB are enough for nearly every object.
    transfer_syntax_uid
        What the data set is encoded in.
    more
        Reads any part of the data set: called only where `head` does not suffice.

    Returns
    -------
    Header
        Text decoded by (0008,0005) Specific Character Set, undecodable bytes replaced, control characters dropped.

    Raises
    ------
    HeaderUnreadable
        The data set does not parse up to the last attribute needed.
    UidRejected
        A study, series, SOP class or SOP instance UID is missing or not a UID.
    """
    encoding = encoding_of(transfer_syntax_uid)
    values = _scan(head) if encoding is Encoding.EXPLICIT_LITTLE else None
    if values is None:
        values = read_elements(more, encoding, WANTED, LAST_NEEDED, MAX_VALUE_BYTES, welcome=LAST_WANTED)
    return _header(values, encoding, transfer_syntax_uid)


_ELEMENT: Final = Struct("<HH2sH")
_LONG_LENGTH: Final = Struct("<I")
_LONGEST_START: Final = 12
"""Tag, VR and length of an element in the long form; a data set that ends sooner is left to the careful reader."""

_BEFORE_DATA: Final = 0x0003FFFF
"""Groups up to 0003 are no part of a data set."""


def _scan(head: bytes) -> dict[int, bytes] | None:
    """Read wanted values from an explicit little endian head; None where anything needed is out of the ordinary."""
    values: dict[int, bytes] = {}
    unpack, size, position, last = _ELEMENT.unpack_from, len(head), 0, _BEFORE_DATA
    end = size - _LONGEST_START
    while position <= end:
        group, element, vr, length = unpack(head, position)
        tag = group << 16 | element
        if tag <= last:
            break
        last = tag
        if tag > LAST_WANTED:
            return values
        if vr in SHORT_FORM:
            position += 8
        elif vr in LONG_FORM:
            (length,) = _LONG_LENGTH.unpack_from(head, position + 8)
            position += 12
        else:
            break
        if tag in WANTED:
            if position + length > size:
                break
            values[tag] = head[position : position + min(length, MAX_VALUE_BYTES)]
        position += length
    return values if last > LAST_NEEDED else None


def _header(values: Mapping[int, bytes], encoding: Encoding, transfer_syntax_uid: str) -> Header:
    uids = {keyword: _uid(keyword, values.get(tag, b"")) for keyword, tag in _UID_TAGS.items()}
    encodings = _encodings(values.get(_CHARSET_TAG, b""))
    shared = _shared(tuple(values.get(tag) for tag, _, _ in _SHARED_TAGS), encodings, encoding)
    own = {name: read(values[tag], encodings, encoding) for tag, name, read in _OWN_TAGS if tag in values}
    return Header(
        sop_class_uid=uids["SOPClassUID"],
        sop_instance_uid=InstanceUid(uids["SOPInstanceUID"]),
        series_instance_uid=SeriesUid(uids["SeriesInstanceUID"]),
        study_instance_uid=StudyUid(uids["StudyInstanceUID"]),
        transfer_syntax_uid=transfer_syntax_uid,
        **{**shared, **own},
    )


_encodings = lru_cache(maxsize=_REMEMBERED)(encodings_of)


@lru_cache(maxsize=_REMEMBERED)
def _shared(values: tuple[bytes | None, ...], encodings: Encodings, encoding: Encoding) -> Mapping[str, Any]:
    """Read what the instances of a series have in common, once for each series that arrives."""
    told = zip(_SHARED_TAGS, values, strict=True)
    return {name: read(value, encodings, encoding) for (_, name, read), value in told if value is not None}


@lru_cache(maxsize=_REMEMBERED)
def _uid(keyword: str, value: bytes) -> str:
    text = value.decode("latin-1").rstrip("\0 ")
    if not text:
        raise UidRejected(f"{keyword} is missing or empty")
    if not is_uid(text):
        raise UidRejected(f"{keyword} is not a UID")
    return text


def unreadable_beyond(head: bytes) -> Reader:
    """Return a reader over `head` alone, for a caller that has no more and wants to hear so."""

    def read(offset: int, length: int) -> bytes:
        if offset + length > len(head):
            raise HeaderUnreadable(f"the header does not end within the first {len(head)} bytes")
        return head[offset : offset + length]

    return read

"""DICOM files: preamble and file meta information, read with bounds and written as ours (PS3.10 7.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from struct import Struct
from typing import Final

from pacs_gateway.elements import LONG_FORM, SHORT_FORM
from pacs_gateway.errors import Part10Rejected
from pacs_gateway.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from storage.records import Origin

PREFIX_BYTES: Final = 132
MAX_META_BYTES: Final = 256 * 1024
_USUAL_META_BYTES: Final = 1024
Piece = bytes | memoryview
"""A part of a file on its way in."""

_GROUP: Final = Struct("<H")
_ELEMENT: Final = Struct("<HH2sH")
_LONG_LENGTH: Final = Struct("<I")


# ----------------------------------------------------------------------------------------------------- writing
def write_meta(
    transfer_syntax_uid: str,
    sop_class_uid: str,
    sop_instance_uid: str,
    origin: Origin,
    received: datetime | None = None,
) -> bytes:
    """Return preamble and file meta information of a data set that came from `origin`.

    The preamble is zero whatever the sender's was.  (0002,0016) Source, (0002,0017) Sending and (0002,0018) Receiving
    Application Entity Title are written where the instance came through an association.  What only we know, by which
    way and when it came, stands in (0002,0102) Private Information, so that a catalogue can be rebuilt with it.
    """
    source, receiver = _ascii(origin.calling_aet), _ascii(origin.called_aet)
    elements = [
        (0x0001, b"OB", b"\0\1"),
        (0x0002, b"UI", _ascii(sop_class_uid)),
        (0x0003, b"UI", _ascii(sop_instance_uid)),
        (0x0010, b"UI", _ascii(transfer_syntax_uid)),
        (0x0012, b"UI", _ascii(IMPLEMENTATION_CLASS_UID)),
        (0x0013, b"SH", _ascii(IMPLEMENTATION_VERSION_NAME)),
        (0x0016, b"AE", source),
        (0x0017, b"AE", source),
        (0x0018, b"AE", receiver),
    ]
    if received is not None:
        told = f"{origin.via}\\{received.isoformat()}"
        elements += [(0x0100, b"UI", _ascii(IMPLEMENTATION_CLASS_UID)), (0x0102, b"OB", _ascii(told))]
    body = b"".join(_element(number, vr, value) for number, vr, value in elements if value)
    return bytes(128) + b"DICM" + _element(0, b"UL", _LONG_LENGTH.pack(len(body))) + body


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "replace")


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in {b"UI", b"OB"} else b" "
    if vr == b"OB":
        return _ELEMENT.pack(2, number, vr, 0) + _LONG_LENGTH.pack(len(value)) + value
    return _ELEMENT.pack(2, number, vr, len(value)) + value


# ----------------------------------------------------------------------------------------------------- reading
@dataclass(frozen=True, kw_only=True, slots=True)
class FileMeta:
    """What a file's own meta information says; empty where it says nothing."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    length: int
    """Bytes before the data set."""
    calling_aet: str = ""
    """(0002,0017) Sending Application Entity Title."""
    called_aet: str = ""
    via: str = ""
    """How it came, where we wrote this file ourselves; see `storage.records.Origin`."""
    received: datetime | None = None
    """When it came, where we wrote this file ourselves."""


def read_meta(start: bytes | bytearray) -> FileMeta:
    """Read preamble and group 0002 from the first bytes of a file.

    The group is walked to its first foreign element; its (0002,0000) length, which is often wrong, is not believed.
    A file that starts with the group is taken too: programs write it so where a data set never was a file.

    Raises
    ------
    Part10Rejected
        There is no preamble with prefix, no file meta information, or none that ends; the message says which.
    """
    if not (start[128:PREFIX_BYTES] == b"DICM" or _is_bare(start)):
        raise Part10Rejected("no DICM prefix after a preamble of 128 bytes")
    values, position = _walk_group_2(start)
    if not values:
        raise Part10Rejected("no file meta information follows the preamble")
    via, received = _private_information(values)
    meta = FileMeta(
        sop_class_uid=_uid(values, 0x0002),
        sop_instance_uid=_uid(values, 0x0003),
        transfer_syntax_uid=_uid(values, 0x0010),
        length=position,
        calling_aet=_uid(values, 0x0017),
        called_aet=_uid(values, 0x0018),
        via=via,
        received=received,
    )
    if not meta.transfer_syntax_uid:
        raise Part10Rejected("the file meta information names no transfer syntax")
    return meta


def _is_bare(start: bytes | bytearray) -> bool:
    """Tell whether a file starts with an element of its meta information."""
    return start[128:PREFIX_BYTES] != b"DICM" and start[:2] == b"\2\0" and bytes(start[4:6]) in SHORT_FORM | LONG_FORM


def _walk_group_2(start: bytes | bytearray) -> tuple[dict[int, bytes], int]:
    values: dict[int, bytes] = {}
    position = 0 if _is_bare(start) else PREFIX_BYTES
    while position + 2 <= len(start) and _GROUP.unpack_from(start, position)[0] == 2:
        if position + 12 > len(start):
            raise Part10Rejected("the file ends inside its file meta information")
        _, number, vr, length = _ELEMENT.unpack_from(start, position)
        position += 8
        if vr in LONG_FORM:
            (length,) = _LONG_LENGTH.unpack_from(start, position)
            position += 4
        elif vr not in SHORT_FORM:
            raise Part10Rejected(f"file meta element (0002,{number:04x}) is not explicit VR little endian")
        if position + length > len(start):
            raise Part10Rejected(f"file meta element (0002,{number:04x}) is longer than its file, or than is taken")
        values.setdefault(number, bytes(start[position : position + length]))
        position += length
    return values, position


def _private_information(values: dict[int, bytes]) -> tuple[str, datetime | None]:
    """Return way and time of arrival; nothing where another program's, or no, private information is there."""
    if _uid(values, 0x0100) != IMPLEMENTATION_CLASS_UID:
        return "", None
    via, _, received = _uid(values, 0x0102).partition("\\")
    try:
        return via, datetime.fromisoformat(received)
    except ValueError:  # not what we write: damaged, and only the time of arrival is lost
        return "", None


def _uid(values: dict[int, bytes], number: int) -> str:
    return values.get(number, b"").decode("latin-1").strip("\0 ")


def split_meta(chunks: Iterable[Piece]) -> tuple[FileMeta, Iterator[Piece]]:
    """Read a file's meta information from its chunks; return it and the chunks of the data set.

    Raises
    ------
    Part10Rejected
        As `read_meta`.
    """
    source = iter(chunks)
    start = bytearray()
    look_at = _USUAL_META_BYTES
    for chunk in source:
        start += chunk
        if len(start) >= look_at:
            if len(start) >= MAX_META_BYTES or _meta_ends_in(start):
                break
            look_at = 2 * len(start)
    meta = read_meta(start)
    return meta, _rest(memoryview(start)[meta.length :], source)


def _meta_ends_in(start: bytearray) -> bool:
    try:
        _, position = _walk_group_2(start)
    except Part10Rejected:
        return False  # more of it may follow, or `read_meta` will say what is wrong
    return position + 2 <= len(start)


def _rest(first: memoryview, source: Iterator[Piece]) -> Iterator[Piece]:
    if first:
        yield first
    yield from source

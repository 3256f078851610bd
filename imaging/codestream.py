"""What a compressed frame says of itself, read before a codec allocates anything by it (R-26)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from imaging.errors import DecodeRefused

_FRAME_HEADERS: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
"""SOFn of JPEG (ISO 10918-1 B.1.1.3) and SOF55 of JPEG-LS (ISO 14495-1 C.1)."""
_BARE: Final = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
"""Markers without a length."""
_SCAN, _ADOBE = 0xDA, 0xEE
_LOSSLESS, _LS = 0xC3, 0xF7
_SCANNED: Final = {
    _LOSSLESS: ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57"),
    _LS: ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"),
}
_FIRST: Final = {_LOSSLESS: b"\1", _LS: b"\0"}
"""Lossless JPEG with the first predictor, and with any; JPEG-LS without a loss, and near it (PS3.5 10.3)."""
_JPEG2000_LOSSLESS, _JPEG2000_ANY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
_PROCESSES: Final = {0xC0: "1.2.840.10008.1.2.4.50", 0xC1: "1.2.840.10008.1.2.4.51", 0xC2: "1.2.840.10008.1.2.4.55"}
"""Frame header -> transfer syntax: baseline, extended, and the retired progressive JPEG."""
_MAX_MARKERS: Final = 1000
_SIZ: Final = Struct(">HHIIIIIIIIH")
_MAX_TILES: Final = 65535
_JXL, _JXL_BOX = b"\xff\x0a", b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a"
_BOX: Final = Struct(">I4s")
_MAX_BOXES: Final = 100
_SIZE_BITS: Final = (9, 13, 18, 30)
_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width by height of ISO 18181-1, where the header names a ratio."""


class Extent(NamedTuple):
    """Rows, columns, components and bits of a sample."""

    rows: int
    columns: int
    components: int
    bits: int


def jpeg_extent(frame: bytes) -> Extent:
    """Return what the frame header of JPEG or JPEG-LS says; `DecodeRefused` where there is none."""
    for marker, position in _segments(frame):
        if marker in _FRAME_HEADERS:
            rows = int.from_bytes(frame[position + 5 : position + 7], "big")
            columns = int.from_bytes(frame[position + 7 : position + 9], "big")
            return Extent(rows, columns, frame[position + 9], frame[position + 4])
    raise DecodeRefused("the frame is no JPEG image")


def jpeg_transfer_syntax(frame: bytes) -> str:
    """Return the transfer syntax of JPEG or JPEG-LS by what its headers name; empty where DICOM has none."""
    process = -1
    for marker, position in _segments(frame):
        if marker == _SCAN and process in _SCANNED:
            place = position + 5 + 2 * frame[position + 4]  # behind the components: the predictor, or NEAR
            first, others = _SCANNED[process]
            return first if frame[place : place + 1] == _FIRST[process] else others
        if marker in _FRAME_HEADERS:
            process = marker
    return _PROCESSES.get(process, "")


def jpeg2000_transfer_syntax(frame: bytes) -> str:
    """Return the transfer syntax of JPEG 2000 by its wavelet (ISO 15444-1 A.6.1); empty where none is told."""
    coding = _coding(frame)
    return (_JPEG2000_LOSSLESS if coding[9] else _JPEG2000_ANY) if coding else ""


def photometric_of(frame: bytes, transfer_syntax_uid: str) -> str:
    """Return the (0028,0004) Photometric Interpretation of colours in three components (PS3.5 8.2)."""
    if transfer_syntax_uid in {_JPEG2000_LOSSLESS, _JPEG2000_ANY}:
        coding = _coding(frame)
        is_transformed = bool(coding and coding[4])
        return "RGB" if not is_transformed else "YBR_RCT" if coding[9] else "YBR_ICT"
    if transfer_syntax_uid not in _PROCESSES.values():
        return "RGB"
    told = next((place for marker, place in _segments(frame) if marker == _ADOBE), None)
    is_rgb = told is not None and frame[told + 4 : told + 9] == b"Adobe" and frame[told + 15 : told + 16] == b"\0"
    return "RGB" if is_rgb else "YBR_FULL_422"


def _coding(frame: bytes) -> bytes:
    """Return what the COD segment of JPEG 2000 says, empty where there is none."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    place = frame.find(b"\xff\x52", start) if start >= 0 else -1
    found = frame[place + 4 : place + 14] if place >= 0 else b""
    return found if len(found) == 10 else b""


def _segments(frame: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker and the place of each segment of JPEG up to the first scan."""
    position = 2
    for _ in range(_MAX_MARKERS):
        while frame[position : position + 2] == b"\xff\xff":  # fill bytes (ISO 10918-1 B.1.1.2)
            position += 1
        if position + 10 > len(frame) or frame[position] != 0xFF:
            return
        marker, length = frame[position + 1], int.from_bytes(frame[position + 2 : position + 4], "big")
        yield marker, position
        if marker == _SCAN:
            return
        position += 2 if marker in _BARE else 2 + length


def jpeg2000_extent(frame: bytes) -> Extent:
    """Return what the SIZ segment says (ISO 15444-1 A.5.1), behind the boxes of a JP2 file where there are some."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or start + 4 + _SIZ.size + 3 > len(frame):
        raise DecodeRefused("the frame is no JPEG 2000 image")
    _, _, right, bottom, left, top, tile_width, tile_height, _, _, components = _SIZ.unpack_from(frame, start + 4)
    columns, rows = right - left, bottom - top
    if not tile_width or not tile_height or (rows // tile_height + 1) * (columns // tile_width + 1) > _MAX_TILES:
        raise DecodeRefused("the frame has tiles that no image has")
    return Extent(rows, columns, components, (frame[start + 4 + _SIZ.size] & 0x7F) + 1)


def jpeg_xl_size(frame: bytes) -> tuple[int, int]:
    """Return rows and columns by the SizeHeader of JPEG XL (ISO 18181-1 Annex D), in a container or not."""
    start = _jpeg_xl_start(frame)
    if frame[start : start + 2] != _JXL or len(frame) < start + 12:
        raise DecodeRefused("the frame is no JPEG XL image")
    bits = _Bits(int.from_bytes(frame[start + 2 : start + 12], "little"))
    is_small = bits.take(1)
    rows = bits.length(small=bool(is_small))
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        return rows, rows * across // down
    return rows, bits.length(small=bool(is_small))


class _Bits:
    """Bits of a header, the lowest first."""

    def __init__(self, value: int) -> None:
        self._value = value

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken

    def length(self, *, small: bool) -> int:
        return (self.take(5) + 1) * 8 if small else self.take(_SIZE_BITS[self.take(2)]) + 1


def _jpeg_xl_start(frame: bytes) -> int:
    """Return where the codestream begins: in its box (ISO 18181-2), or at once."""
    position = 0 if frame.startswith(_JXL_BOX) else len(frame)
    for _ in range(_MAX_BOXES):
        if position + _BOX.size > len(frame):
            return 0
        length, kind = _BOX.unpack_from(frame, position)
        if kind in {b"jxlc", b"jxlp"}:
            return position + _BOX.size + (4 if kind == b"jxlp" else 0)
        position += length or len(frame)
    return 0

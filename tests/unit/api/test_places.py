"""Where frames are: by computation, by either offset table, or by their fragments; and how little is read for one."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from api.dicomweb.places import locate, stored_pieces
from api.errors import DataSetUnreadable

NATIVE, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
JPEG, RLE, VIDEO = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.102"


@dataclass
class Reader:
    """Bytes that count how many of them are read."""

    content: bytes
    reads: list[int] = field(default_factory=list)

    def __call__(self, offset: int, length: int) -> bytes:
        given = self.content[offset : offset + length]
        self.reads.append(len(given))
        return given


def element(group: int, number: int, vr: str, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    if vr in {"OB", "OW", "OV", "OF"}:
        return struct.pack("<HH2sHI", group, number, vr.encode(), 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), len(value)) + value


def short(number: int, value: int) -> bytes:
    return element(0x28, number, "US", value.to_bytes(2, "little"))


def image(
    pixels: bytes, *, rows: int = 4, columns: int = 4, bits: int = 8, frames: Any = 1, before: bytes = b""
) -> bytes:
    """An image's data set: `pixels` is the element of the pixels, `before` what stands just in front of it."""
    return b"".join(
        (
            short(0x0002, 1),
            element(0x28, 0x0004, "CS", b"MONOCHROME2 "),
            element(0x28, 0x0008, "IS", str(frames).encode().ljust(2)),
            short(0x0010, rows),
            short(0x0011, columns),
            short(0x0100, bits),
            short(0x0101, bits),
            short(0x0102, max(bits - 1, 0)),
            short(0x0103, 0),
            before,
            pixels,
        )
    )


def native(content: bytes) -> bytes:
    return element(0x7FE0, 0x0010, "OW", content)


def item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def fragments(*contents: bytes, table: bytes = b"", end: bool = True) -> bytes:
    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    delimiter = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if end else b""
    return head + item(table) + b"".join(map(item, contents)) + delimiter


def frame(content: bytes, syntax: str, number: int) -> bytes:
    read = Reader(content)
    places = locate(read, len(content), syntax)
    assert places is not None
    return b"".join(stored_pieces(read, places, number))


def offsets(code: str, *contents: bytes) -> bytes:
    starts = np.cumsum([0, *(len(content) + 8 for content in contents)])[:-1]
    return starts.astype(code).tobytes()


FIRST, SECOND, THIRD = b"\xff\xd8\xff\xe0one!", b"\xff\xd8\xff\xe0second", b"\xff\xd8\xff\xe0the third"
THREE = (FIRST, SECOND, THIRD + b"\0")


@pytest.mark.parametrize(
    "content",
    [
        image(fragments(*THREE, table=offsets("<u4", *THREE)), frames=3),
        image(fragments(*THREE), frames=3, before=element(0x7FE0, 1, "OV", offsets("<u8", *THREE))),
        image(fragments(*THREE), frames=3),
        image(fragments(*THREE, table=b"\0\0\0\0"), frames=3),  # a table that tells of one frame only
    ],
    ids=["basic", "extended", "none", "short"],
)
def test_encapsulated_frames_are_found(content: bytes) -> None:  # W-32
    assert [frame(content, JPEG, number) for number in (3, 1, 2)] == [THREE[2], FIRST, SECOND]


def test_frames_in_several_fragments_are_put_together() -> None:  # W-32
    split = (FIRST[:6], FIRST[6:], SECOND[:4], SECOND[4:8], SECOND[8:])
    assert frame(image(fragments(*split), frames=2), JPEG, 2) == SECOND
    table = struct.pack("<II", 0, len(FIRST) + 16)
    assert frame(image(fragments(*split, table=table), frames=2), JPEG, 1) == FIRST
    assert frame(image(fragments(*split), frames=1), RLE, 1) == FIRST + SECOND


def test_a_video_is_one_stream_whatever_its_number_of_frames() -> None:
    content = image(fragments(b"abcd", b"efgh"), frames=100)
    places = locate(Reader(content), len(content), VIDEO)
    assert places is not None
    assert (places.count, frame(content, VIDEO, 1)) == (1, b"abcdefgh")


def test_bit_packed_frames_begin_inside_a_byte() -> None:  # W-32
    bits = np.random.default_rng(7).integers(0, 2, (3, 3, 5))
    content = image(
        native(np.packbits(bits.reshape(-1), bitorder="little").tobytes()), rows=3, columns=5, bits=1, frames=3
    )
    for number in (1, 2, 3):
        expected = np.packbits(bits[number - 1].reshape(-1), bitorder="little").tobytes()
        assert frame(content, NATIVE, number) == expected


@pytest.mark.parametrize(("rows", "columns", "bits"), [(3, 3, 8), (2, 2, 16), (3, 5, 1)])
def test_big_endian_frames_come_in_little_endian(rows: int, columns: int, bits: int) -> None:
    import io

    little = np.random.default_rng(7).integers(0, 256, (3 * rows * columns * bits + 15) // 16 * 2, np.uint8).tobytes()
    data_set = Dataset()
    data_set.SamplesPerPixel, data_set.Rows, data_set.Columns, data_set.NumberOfFrames = 1, rows, columns, 3
    data_set.BitsAllocated = data_set.BitsStored = bits
    data_set.PhotometricInterpretation = "MONOCHROME2"
    file = io.BytesIO()
    data_set.add_new(0x7FE00010, "OW", np.frombuffer(little, "<u2").byteswap().tobytes())
    data_set.save_as(file, implicit_vr=False, little_endian=False)
    plain = image(native(little), rows=rows, columns=columns, bits=bits, frames=3)
    for number in (1, 2, 3):
        assert frame(file.getvalue(), str(ExplicitVRBigEndian), number) == frame(plain, NATIVE, number)


@pytest.mark.parametrize("frames", [1, 600])
def test_little_is_read_for_a_frame_of_many(frames: int) -> None:
    size = 512 * 512
    content = image(native(bytes(size * 2 * frames)), rows=512, columns=512, bits=16, frames=frames)
    read = Reader(content)
    places = locate(read, len(content), NATIVE)
    assert places is not None
    assert sum(len(piece) for piece in stored_pieces(read, places, frames)) == size * 2
    assert sum(read.reads) <= size * 2 * 1.1
    assert len(read.reads) == 2


def test_little_is_read_for_a_compressed_frame_of_many() -> None:
    frames = [b"\xff\xd8\xff\xe0" + bytes([number]) * 300_000 for number in range(40)]
    content = image(fragments(*frames, table=offsets("<u4", *frames)), frames=40)
    read = Reader(content)
    places = locate(read, len(content), JPEG)
    assert places is not None
    assert b"".join(stored_pieces(read, places, 20)) == frames[19]
    assert sum(read.reads) <= len(frames[19]) * 1.1


def test_an_object_without_pixels_has_no_places() -> None:
    content = short(0x0010, 4)
    assert locate(Reader(content), len(content), NATIVE) is None


LIES = {
    "no frames": (image(native(bytes(16)), frames=0), NATIVE),
    "fewer than none": (image(native(bytes(16)), frames=-1), NATIVE),
    "frames in words": (image(native(bytes(16)), frames="1e9"), NATIVE),
    "too many frames": (image(native(bytes(16)), frames=999999), NATIVE),
    "no rows": (image(native(bytes(16)), rows=0), NATIVE),
    "rows beyond the pixels": (image(native(bytes(16)), rows=60000, columns=60000), NATIVE),
    "24 bits": (image(native(bytes(16)), bits=24), NATIVE),
    "no bits": (image(native(bytes(16)), bits=0), NATIVE),
    "a table beyond the data": (image(fragments(*THREE, table=struct.pack("<III", 0, 16, 10**9)), frames=3), JPEG),
    "a table that goes back": (image(fragments(*THREE, table=struct.pack("<III", 0, 40, 16)), frames=3), JPEG),
    "a table into a fragment": (image(fragments(*THREE, table=struct.pack("<III", 0, 18, 34)), frames=3), JPEG),
    "fewer fragments than frames": (image(fragments(b"ab", b"cd"), frames=3), RLE),
    "no delimiter": (image(fragments(b"ab", b"cd", end=False), frames=2), RLE),
    "no fragments": (image(fragments(), frames=2), RLE),
    "a fragment of no length": (
        image(fragments(b"ab")[:-16] + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + b"ab", frames=1),
        RLE,
    ),
    "a fragment beyond the end": (image(fragments(b"abcd", end=False)[:-2]), RLE),
}


@pytest.mark.parametrize("lie", LIES)
def test_pixels_that_lie_are_refused(lie: str) -> None:
    content, syntax = LIES[lie]
    number = {"a table into a fragment": 2, "too many frames": 999999}.get(lie, 1)
    with pytest.raises(DataSetUnreadable):
        frame(content, syntax, number)


def test_ten_thousand_tiny_fragments_are_walked_in_few_reads() -> None:
    content = image(fragments(*[b"ab"] * 10_000), frames=10_000)
    read = Reader(content)
    places = locate(read, len(content), RLE)
    assert places is not None
    assert {after - before for before, after in pairwise(places.borders)} == {10}
    assert len(read.reads) < 40

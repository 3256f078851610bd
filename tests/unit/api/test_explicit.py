"""Re-encoding for the web, with pydicom as the other opinion."""

from __future__ import annotations

import io
import warnings
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from api.dicomweb.explicit import explicit_little, is_signed
from api.dicomweb.source import Source
from api.dicomweb.walk import walk
from api.errors import DataSetUnreadable
from pacs_gateway.elements import Encoding
from tests import builders
from tests.unit.api.requests import data_set_bytes


def source(content: bytes) -> Source:
    return Source(lambda offset, length: content[offset : offset + length], len(content))


def reencode(content: bytes, encoding: Encoding) -> Dataset:
    def read(offset: int, length: int) -> bytes:
        return content[offset : offset + length]

    signed = is_signed(read, encoding)
    made = b"".join(explicit_little(source(content), encoding, signed=signed))
    return pydicom.dcmread(io.BytesIO(made), force=True)


def encoded(data_set: Dataset, *, implicit: bool, little: bool = True) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        dcmwrite(file, data_set, implicit_vr=implicit, little_endian=little)
    return file.getvalue()


def rich() -> Dataset:
    """Sequences in sequences, private elements, ambiguous VRs before and after Pixel Representation."""
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.PatientName = "Nguyễn^Thị Đào"
    data_set.SmallestImagePixelValue = -5
    data_set.LUTDescriptor = [16, 0, 16]
    data_set.PixelRepresentation = 1
    data_set.BitsAllocated = 16
    data_set.FrameIncrementPointer = 0x00181063
    data_set.TableOfXBreakPoints = [1, 70_000]
    block = data_set.private_block(0x0019, "ROI TRIAL", create=True)
    block.add_new(0x01, "LO", "private text")
    item, inner = Dataset(), Dataset()
    inner.CodeValue = "T-1"
    item.ConceptNameCodeSequence = [inner, Dataset()]
    item.FloatingPointValue = 0.1
    data_set.ContentSequence = [item, Dataset()]
    data_set.ReferencedStudySequence = []
    data_set.add_new(0x7FE00010, "OW", bytes(range(256)) * 40)
    return data_set


def test_implicit_becomes_explicit_value_for_value() -> None:
    data_set = rich()
    del data_set[0x00190010], data_set[0x00191001]  # what an implicit encoding no longer tells comes back as UN
    assert reencode(encoded(data_set, implicit=True), Encoding.IMPLICIT_LITTLE) == data_set


def test_an_unknown_private_element_keeps_its_bytes_as_un() -> None:
    made = reencode(encoded(rich(), implicit=True), Encoding.IMPLICIT_LITTLE)
    assert made[0x00190010].value == "ROI TRIAL"
    assert (made[0x00191001].VR, made[0x00191001].value) == ("UN", b"private text")


def test_big_endian_pixels_and_numbers_are_swapped() -> None:
    data_set = rich()
    data_set[0x7FE00010].value = b"\1\2" * 800_000
    made = reencode(encoded(data_set, implicit=False, little=False), Encoding.EXPLICIT_BIG)
    assert made.PixelData == b"\2\1" * 800_000
    data_set[0x7FE00010].value = made.PixelData
    assert made == data_set


def test_an_illegal_value_leaves_as_it_came() -> None:
    data_set = builders.ct_slice()
    content = data_set_bytes(builders.part10(data_set))
    implicit = b"\x20\0\x13\0\x04\0\0\0N/A " + b"\x28\0\x03\1\2\0\0\0\1\0"
    made = b"".join(explicit_little(source(implicit), Encoding.IMPLICIT_LITTLE, signed=True))
    assert made == b"\x20\0\x13\0IS\x04\0N/A " + b"\x28\0\x03\1US\2\0\1\0"
    assert b"".join(explicit_little(source(content), Encoding.EXPLICIT_LITTLE, signed=False)) == content


def test_a_value_too_long_for_its_vr_goes_out_as_un() -> None:
    implicit = b"\x08\0\x11\x21" + (70_000).to_bytes(4, "little") + b"x" * 70_000
    made = b"".join(explicit_little(source(implicit), Encoding.IMPLICIT_LITTLE, signed=False))
    assert made == b"\x08\0\x11\x21UN\0\0" + (70_000).to_bytes(4, "little") + b"x" * 70_000


def test_group_lengths_are_left_out() -> None:
    implicit = b"\x08\0\0\0\x04\0\0\0\x0a\0\0\0" + b"\x08\0\x60\0\2\0\0\0CT"
    made = b"".join(explicit_little(source(implicit), Encoding.IMPLICIT_LITTLE, signed=False))
    assert made == b"\x08\0\x60\0CS\2\0CT"


@pytest.mark.parametrize(
    "broken",
    [
        b"\x08\0\x60\0\x40\0\0\0CT",
        b"\x08\0\x15\x11\xff\xff\xff\xff\xfe\xff\0\xe0\x04\0\0\0",
        b"\xfe\xff\x0d\xe0\0\0\0\0",
        b"\x08\0\x15\x11\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff\x08\0\x15\x11\xff\xff\xff\xff" * 100,
    ],
)
def test_what_does_not_parse_raises(broken: bytes) -> None:
    with pytest.raises(DataSetUnreadable):
        b"".join(explicit_little(source(broken + bytes(16)), Encoding.IMPLICIT_LITTLE, signed=False))


@given(content=st.binary(max_size=200), encoding=st.sampled_from(list(Encoding)))
def test_any_bytes_end_in_steps_or_in_our_error(content: bytes, encoding: Encoding) -> None:
    try:
        steps: list[Any] = list(walk(source(content), encoding))
    except DataSetUnreadable:
        return
    assert all(step.start + step.length <= len(content) for step in steps)

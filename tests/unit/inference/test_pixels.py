"""Pixels read in place are those that pydicom's own pipeline gives, for every form of them."""

from __future__ import annotations

import io
import tracemalloc
from itertools import product
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from inference.pixels import _plain, pixels_after, stored_pixels
from inference.selection import select
from inference.slices import Slice, read_slices
from inference.volume import load_volume
from storage.catalog import studies
from storage.records import StudyUid
from tests.builders import archive, card, ct_slice, keep_data_set, part10

FORMS = list(product((8, 16), (0, 1), (0, 3)))


def _read(data_set: Dataset) -> Dataset:
    return pydicom.dcmread(io.BytesIO(part10(data_set)))


def _slices(data_set: Dataset, folder: Path) -> list[Slice]:
    kept = archive(folder)
    keep_data_set(kept, data_set)
    with kept.database.read() as tx:
        return read_slices(studies.instances_of(tx, StudyUid("2.25.1")), kept.objects)


def _with_form(allocated: int, signed: int, unused: int) -> Dataset:
    """Every bit is set somewhere, those that are not pixel too."""
    data_set = ct_slice()
    data_set.BitsAllocated, data_set.BitsStored = allocated, allocated - unused
    data_set.HighBit, data_set.PixelRepresentation = allocated - unused - 1, signed
    values = np.random.default_rng(1).integers(0, 2**allocated, (16, 16), dtype=f"u{allocated // 8}")
    data_set.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    data_set["PixelData"].VR = "OW"
    return data_set


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(("allocated", "signed", "unused"), FORMS)
def test_pixels_read_in_place_are_those_of_the_pipeline(allocated: int, signed: int, unused: int, syntax: str) -> None:
    data_set = _with_form(allocated, signed, unused)
    data_set.file_meta.TransferSyntaxUID = syntax
    read = _read(data_set)
    found = _plain(read, read.PixelData)
    assert found is not None
    np.testing.assert_array_equal(found, read.pixel_array, strict=True)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(("allocated", "signed", "unused"), FORMS)
def test_pixels_behind_a_header_that_was_parsed_before_are_those_of_the_pipeline(
    allocated: int, signed: int, unused: int, syntax: str, tmp_path: Path
) -> None:
    data_set = _with_form(allocated, signed, unused)
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.DataSetTrailingPadding = bytes(200)
    (one,) = _slices(data_set, tmp_path)
    content = part10(data_set)
    found = pixels_after(one.head, content, len(one.opening))
    assert content.startswith(one.opening)
    assert found is not None
    np.testing.assert_array_equal(found, _read(data_set).pixel_array, strict=True)


def _compressed() -> Dataset:
    data_set = ct_slice()
    data_set.compress(RLELossless)
    return data_set


def _changed(**attributes: object) -> Dataset:
    data_set = ct_slice()
    for name, value in attributes.items():
        setattr(data_set, name, value)
    return data_set


@pytest.mark.parametrize(
    "data_set",
    [
        _compressed(),
        _changed(HighBit=14, BitsStored=12),
        _changed(NumberOfFrames=2, PixelData=ct_slice().PixelData * 2),
        _changed(SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="RGB", BitsAllocated=8),
    ],
    ids=["compressed", "raised", "frames", "colour"],
)
def test_every_other_form_goes_through_the_pipeline(data_set: Dataset) -> None:
    read = _read(data_set)
    assert _plain(read, read.PixelData) is None


def test_pixel_data_that_breaks_off_are_not_made_up() -> None:
    read = _read(_changed(PixelData=ct_slice().PixelData[:-2]))
    assert _plain(read, read.PixelData) is None
    with pytest.raises(ValueError, match="less than expected"):
        stored_pixels(read)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_slices_that_say_the_same_share_a_header_and_one_that_does_not_has_its_own(syntax: str, tmp_path: Path) -> None:
    kept = archive(tmp_path)
    for number in range(1, 5):
        data_set = ct_slice(number)
        data_set.file_meta.TransferSyntaxUID = syntax
        data_set.RescaleIntercept = -1024 if number < 4 else -1000
        keep_data_set(kept, data_set)
    with kept.database.read() as tx:
        one, same, third, other = read_slices(studies.instances_of(tx, StudyUid("2.25.1")), kept.objects)
    assert one.head is same.head is third.head
    assert (third.head.RescaleIntercept, other.head.RescaleIntercept) == (-1024, -1000)
    assert len({each.opening for each in (one, same, third, other)}) == 4  # the UIDs are in there


def test_what_breaks_off_or_is_something_else_behind_a_header_is_left_to_the_parser(tmp_path: Path) -> None:
    (one,) = _slices(ct_slice(), tmp_path)
    content, end = part10(ct_slice()), len(one.opening)
    assert pixels_after(one.head, content, end) is not None
    for broken in (content[:-1], content[: end + 12], content[: end + 3], content[:end]):
        assert pixels_after(one.head, broken, end) is None
    undefined = content[: end + 8] + b"\xff\xff\xff\xff" + content[end + 12 :]
    other = content[:end] + b"\xe0\x7f\x08\x00" + content[end + 4 :]
    assert [pixels_after(one.head, each, end) for each in (undefined, other)] == [None, None]


def test_a_stack_is_in_memory_once_while_it_is_read(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    for number in range(1, 65):
        keep_data_set(kept, ct_slice(number, size=128))
    with kept.database.read() as tx:
        instances = tuple(studies.instances_of(tx, StudyUid("2.25.1")))
    selected = select(instances, card().input_rules, kept.objects)
    tracemalloc.start()
    try:
        volume = load_volume(selected, kept.objects)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.8 * volume.voxels.nbytes

"""Stored instances to the arrays a model takes: Hounsfield units with geometry, or a radiograph as it is displayed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from inference.errors import NotSuitable
from inference.geometry import slice_normal, slice_positions_mm
from inference.pixels import stored_pixels
from models.contract import Radiograph, Volume
from storage.whole import read_whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from inference.selection import Selected
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord

Floats = npt.NDArray[np.float32]

_READERS = 8
_AIR_HU = -1024.0
_CLIP_PERCENT = (0.5, 99.5)
# What pydicom and its plug-ins raise for pixel data that lies, breaks off or needs a decoder that is not here.
_DECODE_ERRORS = (ValueError, AttributeError, RuntimeError, NotImplementedError, KeyError, TypeError, OSError)


def load_volume(selected: Selected, objects: ObjectStore) -> Volume:
    """Read the slices of a stack, several at a time, each to its place in the order selected.

    The stack is in memory once, as numbers; of the files, only those that are being read.

    Raises
    ------
    NotSuitable
        ``decode_error`` or ``mixed_matrix``.
    """
    first = _read(selected.instances[0], objects)
    lowest = _hounsfield(first)
    voxels = np.empty((len(selected.instances), *lowest.shape), dtype=np.float32)
    voxels[0] = lowest

    def fill(place: int) -> None:
        plane = _hounsfield(_read(selected.instances[place], objects))
        if plane.shape != lowest.shape:
            raise NotSuitable("mixed_matrix")
        voxels[place] = plane

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(fill, range(1, len(voxels))))
    positions = slice_positions_mm(selected.instances)
    if positions is None or "PixelSpacing" not in first:
        raise NotSuitable("no_geometry")
    step_mm = float(np.median(np.abs([after - before for before, after in pairwise(positions)])))
    row_mm, column_mm = (float(value) for value in first.PixelSpacing)
    return Volume(
        voxels=voxels,
        spacing_mm=(step_mm, row_mm, column_mm),
        affine_lps=_affine(selected.instances, row_mm, column_mm),
        instance_uids=tuple(str(each.sop_instance_uid) for each in selected.instances),
    )


def load_radiograph(selected: Selected, objects: ObjectStore) -> Radiograph:
    """Read one radiograph and bring it to 0..1 as displayed: modality LUT, VOI LUT, then MONOCHROME1 inverted.

    Raises
    ------
    NotSuitable
        ``decode_error`` or ``not_grayscale``.
    """
    instance = selected.instances[0]
    data_set = _read(instance, objects)
    if not str(data_set.get("PhotometricInterpretation", "")).startswith("MONOCHROME"):
        raise NotSuitable("not_grayscale")
    pixels = _displayed(data_set)
    if data_set.PhotometricInterpretation == "MONOCHROME1" or data_set.get("PresentationLUTShape") == "INVERSE":
        pixels = 1.0 - pixels
    view = str(data_set.get("ViewPosition", "")) or None
    return Radiograph(pixels=pixels, instance_uid=str(instance.sop_instance_uid), view=view)


def _read(instance: InstanceRecord, objects: ObjectStore) -> Dataset:
    content = read_whole(objects, instance)
    try:
        data_set = pydicom.dcmread(io.BytesIO(content))
        _ = stored_pixels(
            data_set
        )  # decoded here, in the reader's thread; what needs a decoder is kept on the data set
    except _DECODE_ERRORS as error:
        raise NotSuitable("decode_error", type(error).__name__) from error
    return data_set


def _hounsfield(data_set: Dataset) -> Floats:
    """Return stored values x (0028,1053) Rescale Slope + (0028,1052) Rescale Intercept, padding as air."""
    stored = stored_pixels(data_set)
    slope, intercept = float(data_set.get("RescaleSlope", 1)), float(data_set.get("RescaleIntercept", 0))
    hounsfield = stored.astype(np.float32)
    hounsfield *= np.float32(slope)
    hounsfield += np.float32(intercept)
    padding = data_set.get("PixelPaddingValue")
    if isinstance(padding, int):
        hounsfield[stored == padding] = _AIR_HU
    return np.maximum(hounsfield, np.float32(_AIR_HU), out=hounsfield)


def _displayed(data_set: Dataset) -> Floats:
    stored = stored_pixels(data_set)
    modality = apply_modality_lut(stored, data_set)
    if "VOILUTSequence" in data_set or "WindowCenter" in data_set:
        values = np.asarray(apply_voi_lut(modality, data_set, prefer_lut=True), dtype=np.float32)
        low, high = _output_range(data_set)
    else:
        values = np.asarray(modality, dtype=np.float32)
        low, high = (float(np.percentile(values, percent)) for percent in _CLIP_PERCENT)
    if high <= low:
        raise NotSuitable("flat_image")
    shown = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return np.asarray(shown, dtype=np.float32)


def _output_range(data_set: Dataset) -> tuple[float, float]:
    """Return the range that the VOI LUT maps to (PS3.3 C.11.2): the LUT's bits, or the modality LUT's full range."""
    if "VOILUTSequence" in data_set:
        bits = int(data_set.VOILUTSequence[0].LUTDescriptor[2])
        return 0.0, float(2**bits - 1)
    bits = int(data_set.BitsStored)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if data_set.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = float(data_set.get("RescaleSlope", 1)), float(data_set.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


def _affine(stack: Sequence[InstanceRecord], row_mm: float, column_mm: float) -> npt.NDArray[np.float64]:
    """Return the map from (column, row, slice) to LPS millimetres (PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1)."""
    orientation = stack[0].image_orientation_patient or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    first = np.array(stack[0].image_position_patient, dtype=np.float64)
    last = np.array(stack[-1].image_position_patient, dtype=np.float64)
    affine = np.eye(4)
    affine[:3, 0] = np.array(orientation[:3]) * column_mm
    affine[:3, 1] = np.array(orientation[3:]) * row_mm
    affine[:3, 2] = (last - first) / (len(stack) - 1) if len(stack) > 1 else slice_normal(orientation)
    affine[:3, 3] = first
    return affine

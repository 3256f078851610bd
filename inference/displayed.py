"""A radiograph as a reader would see it: 0..1, bright = dense, without what the collimator hides (PS3.3 C.11)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.processing import apply_rescale, apply_windowing

from inference.errors import NotSuitable
from inference.pixels import stored_pixels
from inference.slices import PARSE_ERRORS
from inference.stored import is_padding, stored_values
from storage.whole import read_whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from storage.ports import ObjectStore
    from storage.records import InstanceRecord

Floats = npt.NDArray[np.float32]

_CLIP_PERCENT = (0.5, 99.5)
_MOST_CROPPED = 0.45
"""No side loses more than this share of the image."""


def read_image(instance: InstanceRecord, objects: ObjectStore) -> Dataset:
    """Read an instance, whole and held against its digest, with its pixels decoded.

    Raises
    ------
    NotSuitable
        ``decode_error``.
    """
    return decoded(read_whole(objects, instance))


def decoded(content: bytes) -> Dataset:
    """Parse a whole file and decode its pixels; `NotSuitable` (decode_error) where that is not to be done."""
    try:
        data_set = pydicom.dcmread(io.BytesIO(content))
        stored_pixels(data_set)  # decoded here, in the reader's thread; what needs a decoder is kept on the data set
    except PARSE_ERRORS as error:
        raise NotSuitable("decode_error", type(error).__name__) from error
    return data_set


def displayed_radiograph(instance: InstanceRecord, objects: ObjectStore) -> Floats:
    """Read one radiograph as displayed: modality LUT, VOI LUT, then inversion, then the collimator's borders cut off.

    Raises
    ------
    NotSuitable
        ``decode_error``, ``not_grayscale`` or ``flat_image``.
    """
    data_set = read_image(instance, objects)
    if not str(data_set.get("PhotometricInterpretation", "")).startswith("MONOCHROME"):
        raise NotSuitable("not_grayscale")
    try:
        return without_borders(_displayed(data_set), _collimated(data_set))
    except PARSE_ERRORS as error:
        raise NotSuitable("decode_error", type(error).__name__) from error


def _displayed(data_set: Dataset) -> Floats:
    stored = stored_values(data_set, stored_pixels(data_set))
    padding = is_padding(data_set, stored)
    shades, places = _shades(stored)
    tables = [data_set.get(name) for name in ("ModalityLUTSequence", "VOILUTSequence")]
    modality = _looked_up(shades, tables[0][0], data_set) if tables[0] else apply_rescale(shades, data_set)
    if tables[1]:
        values, (low, high) = _looked_up(modality, tables[1][0], data_set), _table_range(tables[1][0])
    elif "WindowCenter" in data_set:
        values = np.asarray(apply_windowing(modality, data_set), dtype=np.float32)
        low, high = _table_range(tables[0][0]) if tables[0] else _stored_range(data_set)
    else:
        values = np.asarray(modality, dtype=np.float32)
        kept = values[places if padding is None else places[~padding]]
        low, high = (float(np.percentile(kept, percent)) for percent in _CLIP_PERCENT) if kept.size else (0.0, 0.0)
    if high <= low:
        raise NotSuitable("flat_image")
    shown = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    if data_set.PhotometricInterpretation == "MONOCHROME1" or data_set.get("PresentationLUTShape") == "INVERSE":
        shown = 1.0 - shown
    pixels = np.asarray(shown, dtype=np.float32)[places]
    if padding is not None:
        pixels[padding] = 0.0
    return pixels


def _shades(stored: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """Give the values between the lowest and the highest, and which of them each pixel has.

    What a pixel is shown as depends on its value alone, and a detector of millions of pixels knows some thousands of
    values.  Where an image has fewer pixels than that, each stands for itself.
    """
    low, high = int(stored.min()), int(stored.max())
    if high - low >= stored.size:
        return stored.reshape(-1), np.arange(stored.size).reshape(stored.shape)
    return np.arange(low, high + 1).astype(stored.dtype), np.subtract(stored, low, dtype=np.intp)


def _stored_range(data_set: Dataset) -> tuple[float, float]:
    """Return the range that a window maps to (PS3.3 C.11.2.1.2): what the stored bits can hold, rescaled."""
    bits = int(data_set.BitsStored)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if data_set.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = float(data_set.get("RescaleSlope", 1)), float(data_set.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


def _table_range(table: Dataset) -> tuple[float, float]:
    return 0.0, float(2 ** int(table.LUTDescriptor[2]) - 1)


def _looked_up(values: npt.NDArray[Any], table: Dataset, data_set: Dataset) -> Floats:
    """Send values through a lookup table (PS3.3 C.11.1.1): those before its first entry get that, those after its last.

    Entries of eight bits come one or two to a word.
    """
    count, first = int(table.LUTDescriptor[0]) or 2**16, int(table.LUTDescriptor[1])
    told = table.LUTData
    if isinstance(told, bytes):
        order = "<" if data_set.file_meta.TransferSyntaxUID.is_little_endian else ">"
        entries = np.frombuffer(told, dtype="u1" if len(told) < 2 * count else f"{order}u2")[:count]
    else:
        entries = np.asarray(told)
    places = np.clip(np.floor(values.astype(np.float64)) - first, 0, len(entries) - 1).astype(np.intp)
    return np.asarray(entries[places], dtype=np.float32)


# ------------------------------------------------------------------------------------------------ borders
Edges = tuple[int, int, int, int]
"""First row, end row, first column, end column of what is kept."""


def _collimated(data_set: Dataset) -> Edges | None:
    """Give what a rectangular collimator or shutter leaves open, (0018,1700), (0018,1600); None where none is told."""
    rows, columns = int(data_set.Rows), int(data_set.Columns)
    for kind in ("Collimator", "Shutter"):
        if "RECTANGULAR" in str(data_set.get(f"{kind}Shape", "")):
            names = ("UpperHorizontal", "LowerHorizontal", "LeftVertical", "RightVertical")
            edges = [data_set.get(f"{kind}{name}Edge") for name in names]
            if all(isinstance(edge, int) for edge in edges):
                upper, lower, left, right = edges
                return max(0, upper - 1), min(rows, lower), max(0, left - 1), min(columns, right)
    return None


def without_borders(shown: Floats, told: Edges | None = None) -> Floats:
    """Cut off what the collimator covers, as the header tells it, and the rows and columns at the sides of one shade.

    A border that would take more than nearly half of a side away is no collimator's; the image is then left whole.
    """
    rows, columns = shown.shape
    top, bottom, left, right = told or (0, rows, 0, columns)
    if told is not None and not _plausible(told, shown.shape):
        top, bottom, left, right = 0, rows, 0, columns
    inner = shown[top:bottom, left:right]
    first, end = _varied(inner.max(axis=1) - inner.min(axis=1))
    start, stop = _varied(inner.max(axis=0) - inner.min(axis=0))
    if not _plausible((first, end, start, stop), inner.shape):
        return inner
    return np.ascontiguousarray(inner[first:end, start:stop])


def _varied(spread: Floats) -> tuple[int, int]:
    """Give from where to where lines have more than one shade; the whole length where none has."""
    found = np.flatnonzero(spread > 0)
    return (int(found[0]), int(found[-1]) + 1) if found.size else (0, len(spread))


def _plausible(edges: Edges, shape: tuple[int, ...]) -> bool:
    top, bottom, left, right = edges
    cut = (top / shape[0], 1 - bottom / shape[0], left / shape[1], 1 - right / shape[1])
    return all(0 <= share <= _MOST_CROPPED for share in cut)

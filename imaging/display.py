"""Stored values to what a screen shows: modality LUT, VOI LUT, presentation (PS3.4 N.2), colour in RGB.

Values that no image has (a window of no width, a LUT without entries, NaN) are passed over, never followed (R-27).
"""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, convert_color_space

from imaging.errors import DecodeRefused
from imaging.jobs import Window

if TYPE_CHECKING:
    from imaging.codecs import Samples
    from imaging.jobs import FrameForm, Render

Shown = npt.NDArray[np.uint8]
"""Rows x columns, or rows x columns x 3 in RGB."""

_Floats = npt.NDArray[np.float64]
_LARGEST: Final = 1e15
_FUNCTIONS: Final = {"LINEAR": "linear", "LINEAR_EXACT": "linear-exact", "SIGMOID": "sigmoid"}
"""(0028,1056) VOI LUT Function -> its word in a URL."""
_BITMAP: Final = np.array([0.0, 1.0])
"""A segmentation's empty frame is black, not the grey of a flat image."""


def shown(job: Render, samples: Samples) -> Shown:
    """Return a frame as it is displayed, 0 to 255; a window that was asked for takes the place of the object's own.

    Raises
    ------
    DecodeRefused
        The attributes before the pixels cannot be read, or the colour model is not known.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # pydicom warns of values that this passes over
        header = header_of(job)
        if job.form.samples == 3:
            return _colour(job.form, samples)
        if job.form.photometric == "PALETTE COLOR":
            return _palette(header, samples[..., 0])
        return grey(job, header, samples)


def header_of(job: Render) -> Dataset:
    """Return the attributes before the pixels."""
    return read_dataset(io.BytesIO(job.header), job.implicit, job.little)


# ----------------------------------------------------------------------------------------------------- colour
def _colour(form: FrameForm, samples: Samples) -> Shown:
    spare = max(0, form.bits_stored - 8)
    eight = (samples >> spare).astype(np.uint8)
    if form.decoded_photometric == "RGB":
        return eight
    if not form.photometric.startswith("YBR"):
        raise DecodeRefused("no colour model that is rendered here")
    return np.asarray(convert_color_space(eight, "YBR_FULL", "RGB"), dtype=np.uint8)


def _palette(header: Dataset, samples: Samples) -> Shown:
    looked_up = apply_color_lut(samples, header)
    bits = int(header.RedPaletteColorLookupTableDescriptor[2])
    return np.asarray(looked_up >> (8 if bits > 8 else 0), dtype=np.uint8)


# ----------------------------------------------------------------------------------------------------- grey
def grey(job: Render, header: Dataset, samples: Samples) -> Shown:
    """Return the grey levels of a frame's one sample per pixel, presented as `header` says.

    Up to 16 bits each stored value is worked out once, whatever the size of the frame.
    """
    samples = samples[..., 0]
    inverse = job.form.photometric == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE"
    if samples.dtype.itemsize > 2 or job.form.floating:
        wide = _modality(job, header, samples.astype(np.float64))
        used = wide[np.isfinite(wide)]
        return _levels(job, header, wide, used, inverse=inverse)
    index = samples.view(f"u{samples.dtype.itemsize}")
    size = 1 << 8 * samples.dtype.itemsize
    values = _modality(job, header, _stored_values(job.form, size))
    present = np.bincount(index.reshape(-1), minlength=size) > 0
    padding = header.get("PixelPaddingValue")
    if isinstance(padding, int) and present.sum() > 1:
        present[padding % size] = False
    return np.take(_levels(job, header, values, values[present], inverse=inverse), index)


def _stored_values(form: FrameForm, size: int) -> _Floats:
    """Return the value of each bit pattern of a pixel cell; bits around the sample may hold overlays (PS3.5 8.1.1)."""
    bits = form.bits_stored
    shift = min(max(form.high_bit + 1 - bits, 0), max(form.bits_allocated - bits, 0))
    values = (np.arange(size) >> shift) & ((1 << bits) - 1)
    return np.where(form.signed & (values >= 1 << bits - 1), values - (1 << bits), values).astype(np.float64)


def _levels(job: Render, header: Dataset, values: _Floats, used: _Floats, *, inverse: bool) -> Shown:
    """Return `values` as 0 to 255 through the window asked for, the object's LUT or window, or over those `used`."""
    place = _functional(header, job.number, "FrameVOILUTSequence")
    window = job.picture.window
    lut = None if window else _lookup(_item(place, "VOILUTSequence"), values, signed=job.form.signed)
    if lut is not None:
        level, bits = lut
        shade = level / max((1 << bits) - 1, 1)
    else:
        shade = _windowed(values, window or _own_window(place) or _over(_BITMAP if job.form.bits_stored == 1 else used))
    shade = np.clip(np.nan_to_num(shade, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    return np.asarray(np.rint((1.0 - shade if inverse else shade) * 255), dtype=np.uint8)


def _modality(job: Render, header: Dataset, stored: _Floats) -> _Floats:
    """Return stored values through the modality LUT, or slope and intercept (PS3.3 C.11.1)."""
    lut = _lookup(_item(header, "ModalityLUTSequence"), stored, signed=job.form.signed)
    if lut is not None:
        return lut[0]
    place = _functional(header, job.number, "PixelValueTransformationSequence")
    slope, intercept = _number(place, "RescaleSlope"), _number(place, "RescaleIntercept")
    return stored * (1.0 if slope is None or slope == 0 else slope) + (intercept or 0.0)


def _windowed(values: _Floats, window: Window) -> _Floats:
    """Return 0 to 1 and beyond, by the functions of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if window.function == "sigmoid":
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - window.center) / window.width, -700, 700))))
    if window.function == "linear-exact":
        return (values - window.center) / window.width + 0.5
    if window.width <= 1:
        return np.asarray(values > window.center - 0.5, dtype=np.float64)
    return (values - (window.center - 0.5)) / (window.width - 1) + 0.5


def _own_window(place: Dataset) -> Window | None:
    center, width = _number(place, "WindowCenter"), _number(place, "WindowWidth")
    function = _FUNCTIONS.get(str(place.get("VOILUTFunction", "")), "linear")
    if center is None or width is None or width <= 0 or (function == "linear" and width < 1):
        return None
    return Window(center=center, width=width, function=function)


def _over(used: _Floats) -> Window:
    """Return the window over all values in use; one value alone is shown as mid-grey."""
    if not used.size:
        return Window(center=0.0, width=1.0, function="linear-exact")
    low, high = float(used.min()), float(used.max())
    return Window(center=(low + high) / 2, width=(high - low) or 1.0, function="linear-exact")


def _lookup(item: Dataset | None, values: _Floats, *, signed: bool) -> tuple[_Floats, int] | None:
    """Return values through a LUT and its bits, None where it is none that can be followed (PS3.3 C.11.1.1)."""
    descriptor = item.get("LUTDescriptor") if item is not None else None
    if item is None or not isinstance(descriptor, MultiValue | list) or len(descriptor) != 3:
        return None
    count, first, bits = (int(part) for part in descriptor)
    count = count or 65536
    found = entries(item.get("LUTData"), count)
    if found is None or not 8 <= bits <= 16:
        return None
    first = first - 65536 if signed and first > 32767 else first
    place = np.clip(np.nan_to_num(values) - first, 0, count - 1).astype(np.int64)
    return found[place].astype(np.float64), bits


def entries(data: object, count: int) -> npt.NDArray[np.uint16] | None:
    """Return the entries of a LUT, None where there are not so many."""
    if isinstance(data, bytes):
        packed = np.frombuffer(data, np.uint8 if count <= len(data) < 2 * count else "<u2", count=-1)
    elif isinstance(data, MultiValue | list):
        packed = np.asarray([int(one) & 0xFFFF for one in data])
    else:
        return None
    return packed[:count].astype(np.uint16) if 0 < count <= len(packed) else None


# ----------------------------------------------------------------------------------------------------- attributes
def _functional(header: Dataset, number: int, keyword: str) -> Dataset:
    """Return where a frame's attributes are: its own functional group, the shared one, or the data set itself."""
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    own = frames[number - 1] if number <= len(frames) else None
    shared = _item(header, "SharedFunctionalGroupsSequence")
    return _item(own, keyword) or _item(shared, keyword) or header


def _item(place: Dataset | None, keyword: str) -> Dataset | None:
    """Return the first item of a sequence, None where there is none."""
    sequence = place.get(keyword) if place is not None else None
    return sequence[0] if sequence and isinstance(sequence[0], Dataset) else None


def _number(place: Dataset, keyword: str) -> float | None:
    """Return the first value of an attribute, if it is a number that can be worked with."""
    value: Any = place.get(keyword)
    value = value[0] if isinstance(value, MultiValue | list) and value else value
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None  # absent, empty or no number: the caller's default
    return number if math.isfinite(number) and abs(number) <= _LARGEST else None

"""Overlay planes: bitmaps beside an image's pixels, or in bits of them that hold no sample (PS3.3 C.9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from imaging.codecs import Samples
    from imaging.display import Shown

Mask = npt.NDArray[np.bool_]

GROUPS: Final = range(0x6000, 0x6020, 2)
"""The groups of the planes that an image can have (PS3.5 7.6)."""
_ROWS, _COLUMNS, _FRAMES, _ORIGIN = 0x0010, 0x0011, 0x0015, 0x0050
_FIRST_FRAME, _BIT_POSITION, _DATA = 0x0051, 0x0102, 0x3000


def planes(header: Dataset, samples: Samples, number: int, *, little: bool = True) -> Iterator[tuple[int, Mask]]:
    """Yield the group of each plane of a frame, and where it is set, as large as the frame.

    `samples` are the frame's, rows x columns x samples per pixel, with all bits that were stored.  A plane that does
    not hold what it says is passed over.
    """
    size = samples.shape[0], samples.shape[1]
    for group in GROUPS:
        if (group, _DATA) in header:
            mask = _packed(header, group, number, little=little)
        elif (group, _BIT_POSITION) in header and samples.shape[2] == 1 and samples.dtype.kind in "iu":
            mask = _embedded(header, group, samples)
        else:
            continue
        if mask is not None:
            yield group, _placed(mask, _whole(header, group, _ORIGIN, 0), _whole(header, group, _ORIGIN, 1), size)


def drawn(image: Shown, mask: Mask, level: int = 255) -> Shown:
    """Return the image with a plane drawn into it."""
    marked = image.copy()
    marked[mask] = level
    return marked


def _packed(header: Dataset, group: int, number: int, *, little: bool) -> Mask | None:
    rows, columns = _whole(header, group, _ROWS), _whole(header, group, _COLUMNS)
    frames, first = _whole(header, group, _FRAMES) or 1, _whole(header, group, _FIRST_FRAME) or 1
    frame = number - first if frames > 1 else 0
    data = header[group, _DATA].value
    bits = rows * columns
    if not (isinstance(data, bytes) and bits and 0 <= frame < frames and (frame + 1) * bits <= 8 * len(data)):
        return None
    if not little:
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    start = frame * bits
    held = np.frombuffer(data, np.uint8, count=(start + bits + 7) // 8 - start // 8, offset=start // 8)
    unpacked = np.unpackbits(held, bitorder="little")[start % 8 : start % 8 + bits]
    return unpacked.reshape(rows, columns).astype(bool)


def _embedded(header: Dataset, group: int, samples: Samples) -> Mask | None:
    position = _whole(header, group, _BIT_POSITION)
    if not 0 < position < 8 * samples.dtype.itemsize:
        return None
    pattern = samples[..., 0].view(f"u{samples.dtype.itemsize}")
    return np.asarray(pattern >> position & 1, dtype=bool)


def _placed(mask: Mask, top: int, left: int, size: tuple[int, int]) -> Mask:
    """Return a plane whose first pixel lies over row `top` and column `left`, counted from 1, cut to the frame."""
    whole = np.zeros(size, dtype=bool)
    first_row, first_column = max(top or 1, 1) - 1, max(left or 1, 1) - 1
    part = mask[max(1 - (top or 1), 0) :, max(1 - (left or 1), 0) :]
    part = part[: max(size[0] - first_row, 0), : max(size[1] - first_column, 0)]
    whole[first_row : first_row + part.shape[0], first_column : first_column + part.shape[1]] = part
    return whole


def _whole(header: Dataset, group: int, element: int, place: int = 0) -> int:
    """Return a value of an attribute of the plane, 0 where there is none."""
    found: Any = header[group, element].value if (group, element) in header else None
    try:
        return int(found[place] if hasattr(found, "__getitem__") else [found][place])
    except (TypeError, ValueError, IndexError):
        return 0

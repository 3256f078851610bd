"""What is shown to a file: cut, scaled into the viewport, and encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import imagecodecs
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from imaging.display import Shown
    from imaging.jobs import Picture

MARK: Final = b"lossy rendering, not for diagnosis"
"""JPEG comment of every rendering (W-37)."""


def framed(image: Shown, picture: Picture) -> Shown:
    """Return the part of the image asked for, as large as the viewport allows with its proportions kept."""
    part = _cut(image, picture.crop)
    if picture.viewport is None:
        return part
    rows, columns = part.shape[:2]
    factor = min(picture.viewport[0] / columns, picture.viewport[1] / rows)
    return _scaled(part, max(1, round(rows * factor)), max(1, round(columns * factor)))


def encode(image: Shown, picture: Picture) -> bytes:
    """Return the picture as PNG, or as JPEG that says what it is."""
    image = np.ascontiguousarray(image)
    if picture.media_type == "image/png":
        return bytes(imagecodecs.png_encode(image, level=3))
    file = bytes(imagecodecs.jpeg8_encode(image, level=picture.quality))
    return file[:2] + b"\xff\xfe" + (len(MARK) + 2).to_bytes(2, "big") + MARK + file[2:]


def _cut(image: Shown, crop: tuple[float | None, float | None, float | None, float | None]) -> Shown:
    """Return a rectangle of the image, mirrored where its width or height is negative (PS3.18 8.3.5.1.3)."""
    rows, columns = image.shape[:2]
    left, top = crop[0] or 0.0, crop[1] or 0.0
    width, height = columns - left if crop[2] is None else crop[2], rows - top if crop[3] is None else crop[3]
    across, down = _range(left, abs(width), columns), _range(top, abs(height), rows)
    part = image[down, across]
    return part[:: -1 if height < 0 else 1, :: -1 if width < 0 else 1]


def _range(start: float, length: float, size: int) -> slice:
    """Return at least one pixel of those that there are."""
    first = min(max(0, int(start)), size - 1)
    return slice(first, max(first + 1, min(size, round(start + length))))


def _scaled(image: Shown, rows: int, columns: int) -> Shown:
    if image.shape[:2] == (rows, columns):
        return image
    narrow = _along(image, columns, axis=1)
    return np.asarray(np.rint(np.clip(_along(narrow, rows, axis=0), 0, 255)), dtype=np.uint8)


def _along(image: npt.NDArray[np.generic], size: int, *, axis: int) -> npt.NDArray[np.float32]:
    """Return the image resampled along one axis with a triangle as wide as a pixel of the coarser grid.

    Enlarging it is linear interpolation; making it smaller averages, so that nothing thin is left out.
    """
    source = image.shape[axis]
    scale = source / size
    reach = max(scale, 1.0)
    centre = (np.arange(size) + 0.5) * scale - 0.5
    first = np.floor(centre - reach).astype(np.int64) + 1
    taps = first[:, None] + np.arange(int(2 * reach) + 1)
    weights = np.clip(1.0 - np.abs(taps - centre[:, None]) / reach, 0.0, None)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    places = np.clip(taps, 0, source - 1)
    shape = [1] * image.ndim
    shape[axis] = size
    made = np.zeros((*image.shape[:axis], size, *image.shape[axis + 1 :]), np.float32)
    for tap in range(taps.shape[1]):
        made += np.take(image, places[:, tap], axis=axis) * weights[:, tap].reshape(shape)
    return made

"""What is shown to a file: cut, scaled into the viewport, and encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import imagecodecs
import numpy as np
import numpy.typing as npt

from imaging.profiles import in_jpeg, in_png

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


def encode(image: Shown, picture: Picture, profile: bytes = b"") -> bytes:
    """Return the picture in its media type, with its profile where the type takes one; a JPEG says what it is."""
    file = _ENCODERS[picture.media_type](np.ascontiguousarray(image), picture.quality)
    with_profile = _PROFILED.get(picture.media_type)
    return with_profile(file, profile) if profile and with_profile else file


def _jpeg(image: Shown, quality: int) -> bytes:
    file = bytes(imagecodecs.jpeg8_encode(image, level=quality))
    return file[:2] + b"\xff\xfe" + (len(MARK) + 2).to_bytes(2, "big") + MARK + file[2:]


def _png(image: Shown, _: int) -> bytes:
    return bytes(imagecodecs.png_encode(image, level=3))


def _jp2(image: Shown, _: int) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(image, codecformat="jp2", reversible=True))


def _gif(image: Shown, _: int) -> bytes:
    """Return 256 greys, or colours of three, three and two bits."""
    if image.ndim == 2:
        return bytes(imagecodecs.gif_encode(image))
    red, green, blue = (image[..., number] for number in range(3))
    return bytes(imagecodecs.gif_encode((red & 0xE0) | (green >> 5 << 2) | (blue >> 6), colormap=_COLOURS))


_INDEX: Final = np.arange(256)
_COLOURS: Final = (np.stack([_INDEX >> 5, _INDEX >> 2 & 7, _INDEX & 3], axis=-1) * 255 // [7, 7, 3]).astype(np.uint8)
_ENCODERS: Final[Mapping[str, Callable[[Shown, int], bytes]]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/gif": _gif,
    "image/jp2": _jp2,
}
_PROFILED: Final[Mapping[str, Callable[[bytes, bytes], bytes]]] = {"image/jpeg": in_jpeg, "image/png": in_png}


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

"""Stored pixel values of an image: as they lie in the file where nothing is compressed, through a decoder elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Stored = npt.NDArray[Any]

_UNCOMPRESSED = {ExplicitVRLittleEndian, ImplicitVRLittleEndian}
_PLAIN: Mapping[str, set[int]] = {
    "Rows": set(),
    "Columns": set(),
    "BitsAllocated": {8, 16},
    "BitsStored": set(),
    "PixelRepresentation": {0, 1},
    "SamplesPerPixel": {1},
}
"""What an image says that is read in place; an empty set: any number."""


_LENGTH_BYTES = 4
_PIXEL_DATA: Mapping[str, tuple[bytes, ...]] = {
    ExplicitVRLittleEndian: (b"\xe0\x7f\x10\x00OW\x00\x00", b"\xe0\x7f\x10\x00OB\x00\x00"),
    ImplicitVRLittleEndian: (b"\xe0\x7f\x10\x00",),
}
"""How (7FE0,0010) Pixel Data begins before its length (PS3.5 7.1)."""


def stored_pixels(data_set: Dataset) -> Stored:
    """Return what `Dataset.pixel_array` gives; of an uncompressed single frame of grey values without its pipeline.

    Of a stack of 300 slices that is the better part of the decoding.  The array may look into the data set's bytes:
    it is to be read, not written to.
    """
    content = data_set.get("PixelData")
    plain = _plain(data_set, content) if isinstance(content, bytes) else None
    return data_set.pixel_array if plain is None else plain


def pixels_after(head: Dataset, content: bytes, end: int) -> Stored | None:
    """Return what `stored_pixels` gives for a file whose header was parsed before, without parsing it again.

    Parameters
    ----------
    head
        The header, with the attributes of the Image Pixel Module.
    content
        The whole file.
    end
        Where in it the header ends and Pixel Data begins.

    None where these are not one frame of whole little-endian words.
    """
    begins = _PIXEL_DATA.get(head.file_meta.get("TransferSyntaxUID"), ())
    begun = next((each for each in begins if content.startswith(each, end)), None)
    first = end + len(begun or b"") + _LENGTH_BYTES
    if begun is None or len(content) < first:
        return None
    length = int.from_bytes(content[first - _LENGTH_BYTES : first], "little")
    return _plain(head, memoryview(content)[first : first + length]) if length <= len(content) - first else None


def _plain(head: Dataset, content: bytes | memoryview) -> Stored | None:
    """Look at the pixels in place; None where they are not one frame of whole little-endian words (PS3.5 8.1.1)."""
    told = {name: head.get(name) for name in _PLAIN}
    syntax = head.file_meta.get("TransferSyntaxUID")
    if syntax not in _UNCOMPRESSED or (head.get("NumberOfFrames") or 1) != 1:
        return None
    if not all(told[name] in allowed for name, allowed in _PLAIN.items() if allowed):
        return None
    rows, columns, allocated, stored = (told[name] for name in ("Rows", "Columns", "BitsAllocated", "BitsStored"))
    if not rows or not columns or not stored or head.get("HighBit") != stored - 1 or stored > allocated:
        return None
    if len(content) - rows * columns * allocated // 8 not in {0, 1}:  # one byte makes an odd length even
        return None
    kind = "i" if told["PixelRepresentation"] else "u"
    values = np.frombuffer(content, dtype=f"<{kind}{allocated // 8}", count=rows * columns).reshape(rows, columns)
    unused = allocated - stored
    return np.right_shift(np.left_shift(values, unused), unused) if unused else values

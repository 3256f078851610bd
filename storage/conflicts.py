"""Whether two files with one SOP Instance UID differ by their encoding alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import pydicom
from pydicom.errors import InvalidDicomError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# What a transcoder must or may rewrite (PS3.5 8.2, PS3.3 C.7.6.1.1.5 and C.7.6.3): not a difference in content.
_REWRITTEN = (
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "SpecificCharacterSet",
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
)


def same_but_for_syntax(first: BinaryIO, second: BinaryIO) -> bool:
    """Compare two Part 10 streams up to their pixel data; a header that does not parse is not the same."""
    try:
        return _header(first) == _header(second)
    except (InvalidDicomError, ValueError, KeyError, OSError, NotImplementedError, AttributeError, RecursionError):
        return False


def _header(stream: BinaryIO) -> Dataset:
    header = pydicom.dcmread(stream, stop_before_pixels=True)
    header.remove_private_tags()
    for keyword in _REWRITTEN:
        if keyword in header:
            del header[keyword]
    return pydicom.Dataset({tag: element for tag, element in header.items() if tag.element})

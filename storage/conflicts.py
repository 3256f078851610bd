"""Whether two files with one SOP Instance UID differ by their encoding alone."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

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


_HEADER_BYTES = 16 << 20
"""So much of a stream is looked at; a header that is longer is not compared."""


def same_but_for_syntax(first: BinaryIO, second: BinaryIO) -> bool:
    """Compare two Part 10 streams up to their pixel data; a header that does not parse is not the same.

    The streams need not be seekable, as those of an S3 store are not.
    """
    heads = [io.BytesIO(stream.read(_HEADER_BYTES)) for stream in (first, second)]
    try:
        return _header(heads[0]) == _header(heads[1])
    except (InvalidDicomError, ValueError, KeyError, OSError, NotImplementedError, AttributeError, RecursionError):
        return False
    except (EOFError, BytesLengthException, struct.error, zlib.error):  # cut within its header
        return False


def _header(head: io.BytesIO) -> Dataset:
    header = pydicom.dcmread(head, stop_before_pixels=True)
    if head.tell() == _HEADER_BYTES:
        raise EOFError
    header.remove_private_tags()
    for keyword in _REWRITTEN:
        if keyword in header:
            del header[keyword]
    return pydicom.Dataset({tag: element for tag, element in header.items() if tag.element})

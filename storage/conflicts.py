"""Whether two files with one SOP Instance UID differ by their encoding alone."""

from __future__ import annotations

import io
import logging
import resource
import struct
import subprocess
import sys
import threading
import zlib
from typing import TYPE_CHECKING, BinaryIO

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

logger = logging.getLogger(__name__)

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

_SMALL_BYTES = 16 << 10
"""A header that ends within so much is compared in place, and takes a fraction of a second at the very worst."""

_CHILD_S = 10
_CHILD_BYTES = 1 << 30
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META_BYTES = 1024
"""Our own file meta information ends within so much."""
_LENGTH = struct.Struct("<Q")
_SAME, _OTHER = 10, 11
"""Exit statuses that nothing else uses."""
_UNREADABLE = (
    *(InvalidDicomError, BytesLengthException, ValueError, KeyError, AttributeError, NotImplementedError),
    *(OSError, EOFError, RecursionError, struct.error, zlib.error),
)
"""What pydicom raises for what it cannot read."""
_child = threading.Lock()
"""However many peers send what is hard to compare, one processor at most is busy with it."""


def same_but_for_syntax(first: BinaryIO, second: BinaryIO) -> bool:
    """Compare two Part 10 streams up to their pixel data; a header that does not parse is not the same.

    The streams need not be seekable, as those of an S3 store are not.  How long pydicom takes, how deep it recurses
    and what a deflated header inflates to is the sender's choice (R-20, R-21, R-34): all but small headers are
    compared in a child, which ends when it takes too much.  What it could not compare is not the same.
    """
    heads = [stream.read(_SMALL_BYTES) for stream in (first, second)]
    if not any(_DEFLATED in head[:_META_BYTES] for head in heads):
        same = _compare(heads, _SMALL_BYTES)
        if same is not None:
            return same
    rests = [stream.read(_HEADER_BYTES - _SMALL_BYTES) for stream in (first, second)]
    return _compare_in_child([head + rest for head, rest in zip(heads, rests, strict=True)])


def _compare(heads: Sequence[bytes], limit: int) -> bool | None:
    """Compare the headers of two files, cut at `limit` bytes; None where that may have cut a header."""
    try:
        first, second = (_header(head, limit) for head in heads)
        same = None if first is None or second is None else first == second
    except _UNREADABLE:
        same = None if max(map(len, heads)) == limit else False
    return same


def _header(head: bytes, limit: int) -> Dataset | None:
    """Return what has to be equal, None where it does not end before `limit`."""
    stream = io.BytesIO(head)
    header = pydicom.dcmread(stream, stop_before_pixels=True)
    if stream.tell() == limit:
        return None
    header.remove_private_tags()
    for keyword in _REWRITTEN:
        if keyword in header:
            del header[keyword]
    return pydicom.Dataset({tag: element for tag, element in header.items() if tag.element})


# --------------------------------------------------------------------------------------------------- in a child
def _compare_in_child(heads: Sequence[bytes]) -> bool:
    told = b"".join([_LENGTH.pack(len(head)) + head for head in heads])
    command = [sys.executable, "-W", "ignore", "-m", "storage.conflicts", str(_HEADER_BYTES)]
    try:
        with _child:
            code = subprocess.run(command, input=told, capture_output=True, timeout=_CHILD_S, check=False).returncode
    except subprocess.TimeoutExpired:
        code = -1
    if code not in {_SAME, _OTHER}:
        logger.warning("two headers cannot be compared", extra={"action": "comparison-ended", "reason": str(code)})
    return code == _SAME


def _main(limit: int) -> int:
    """Compare the two headers on standard input within bounds; as exit status, whether they are the same."""
    resource.setrlimit(resource.RLIMIT_AS, (_CHILD_BYTES, _CHILD_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CHILD_S, _CHILD_S))
    stdin = sys.stdin.buffer
    heads = [stdin.read(_LENGTH.unpack(stdin.read(_LENGTH.size))[0]) for _ in range(2)]
    return _SAME if _compare(heads, limit) else _OTHER


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1])))

"""Arrays of stored values to compressed frames, never with a loss: what decodes again is every bit of every cell."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

import imagecodecs
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imaging.codecs import Samples
    from imaging.jobs import FrameForm

_SIZ: Final = b"\xff\x51"
_RLE_HEADER: Final = Struct("<16I")
_SMALLEST: Final = 64
"""The base resolution of HTJ2K in RPCL order is no larger (PS3.5 10.18)."""


def encode(form: FrameForm, samples: Samples, encoder: str) -> bytes:
    """Return decoded samples as a compressed frame.

    `imaging.targets.unfit` must have found nothing against it.
    """
    return _ENCODERS[encoder](form, samples)


def _precision(form: FrameForm, samples: Samples) -> int:
    """Return the bits that hold every cell: those stored, or the whole cell where something stands beside them.

    Never so few that a decoder would give a smaller cell back.
    """
    bits = max(form.bits_stored, form.bits_allocated // 2 + 1)
    low, high = (-1 << bits - 1, (1 << bits - 1) - 1) if form.signed else (0, (1 << bits) - 1)
    return bits if low <= int(samples.min()) and int(samples.max()) <= high else form.bits_allocated


def _rle(form: FrameForm, samples: Samples) -> bytes:
    """Encode PackBits segments: one for each byte of a sample, most significant first, and plane (PS3.5 G)."""
    width = form.bits_allocated // 8
    cells = np.moveaxis(samples, -1, 0).astype(f">u{width}").tobytes()
    planes = np.moveaxis(np.frombuffer(cells, np.uint8).reshape(form.samples, form.rows, form.columns, width), -1, 1)
    # Two dimensions: a run never goes on in the next row (G.3.1).
    segments = [bytes(imagecodecs.packbits_encode(part.copy())) for plane in planes for part in plane]
    padded = [segment + bytes(len(segment) % 2) for segment in segments]
    offsets = [_RLE_HEADER.size + sum(map(len, padded[:number])) for number in range(len(padded))]
    return _RLE_HEADER.pack(len(padded), *offsets, *[0] * (15 - len(padded))) + b"".join(padded)


def _jpeg_ls(form: FrameForm, samples: Samples) -> bytes:
    """Encode JPEG-LS of whole cells: it knows no sign, and so no reader has to extend one."""
    image = samples.view(f"u{form.bits_allocated // 8}")
    return bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(image if form.samples > 1 else image[..., 0])))


def _jpeg_2000(form: FrameForm, samples: Samples) -> bytes:
    """Encode JPEG 2000 with the reversible filter; RGB by the reversible component transformation."""
    image = samples if form.samples > 1 else samples[..., 0]
    made = imagecodecs.jpeg2k_encode(
        np.ascontiguousarray(image),
        level=0,
        codecformat="j2k",
        reversible=True,
        mct=form.decoded_photometric == "RGB",
        bitspersample=_precision(form, samples),
    )
    return bytes(made)


def _htj2k(form: FrameForm, samples: Samples) -> bytes:
    """Encode HTJ2K in RPCL order, with TLM markers and a tile-part for each resolution (PS3.5 10.18).

    The library takes whole cells only, and would say so in the codestream.  So the level shift of unsigned samples
    (ISO 15444-1 G.1.2) is done here, and the codestream is told the precision that the samples have.
    """
    bits = _precision(form, samples)
    centre = 0 if form.signed else 1 << bits - 1
    image = (samples.astype(np.int32) - centre).astype(np.int16)
    made = imagecodecs.htj2k_encode(
        np.ascontiguousarray(image if form.samples > 1 else image[..., 0]),
        reversible=True,
        rgb=form.decoded_photometric == "RGB",
        resolutions=_decompositions(max(form.rows, form.columns)),
        tlm=True,
        tilepart=1,
    )
    return _with_precision(bytes(made), bits, signed=form.signed)


def _decompositions(longest: int) -> int:
    """Return how often an image is halved: five times, or more until its base is small enough."""
    return max(5, ((longest - 1) // _SMALLEST).bit_length())


def _with_precision(codestream: bytes, bits: int, *, signed: bool) -> bytes:
    """Write Ssiz of every component (ISO 15444-1 A.5.1)."""
    made = bytearray(codestream)
    start = made.find(_SIZ)
    count = int.from_bytes(made[start + 38 : start + 40], "big")
    for component in range(count):
        made[start + 40 + 3 * component] = bits - 1 | (0x80 if signed else 0)
    return bytes(made)


_ENCODERS: Final[Mapping[str, Callable[[FrameForm, Samples], bytes]]] = {
    "rle": _rle,
    "jpeg-ls": _jpeg_ls,
    "jpeg-2000": _jpeg_2000,
    "htj2k": _htj2k,
}

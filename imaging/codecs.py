"""Compressed and native frames to arrays of stored values."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import imagecodecs
import numpy as np
import numpy.typing as npt

from imaging.codestream import Extent, jpeg2000_extent, jpeg_extent, jpeg_xl_size
from imaging.errors import DecodeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imaging.jobs import FrameForm

Samples = npt.NDArray[Any]
"""Rows x columns x samples per pixel, as stored: no LUT, no colour conversion but the codec's own."""

_MAX_CODESTREAM_BITS: Final = 24


def decode(form: FrameForm, frame: bytes) -> Samples:
    """Return the stored values of one frame: uint8 0 and 1 for 1-bit pixels, else of `bits_allocated`.

    Raises
    ------
    DecodeRefused
        The frame is not what its attributes say, or in no form known here.
    """
    codec = _CODECS.get(form.codec)
    if codec is None:
        raise DecodeRefused("no decoder for this transfer syntax")
    return codec(form, frame)


def layout(form: FrameForm, samples: Samples) -> bytes:
    """Return decoded samples as a native frame: little endian, planes apart where (0028,0006) says so."""
    if form.bits_allocated == 1:
        return np.packbits(samples.reshape(-1), bitorder="little").tobytes()
    ordered = np.moveaxis(samples, -1, 0) if form.planar and form.samples > 1 else samples
    return ordered.astype(ordered.dtype.newbyteorder("<"), copy=False).tobytes()


def dtype_of(form: FrameForm) -> np.dtype[Any]:
    """Return the little endian type of a sample."""
    kind = "f" if form.floating else "i" if form.signed else "u"
    return np.dtype(f"<{kind}{max(form.bits_allocated, 8) // 8}")


def _native(form: FrameForm, frame: bytes) -> Samples:
    if len(frame) * 8 < form.native_bits:
        raise DecodeRefused("the pixels end before the frame does")
    if form.bits_allocated == 1:
        count = form.rows * form.columns * form.samples
        bits = np.unpackbits(np.frombuffer(frame, np.uint8), count=count, bitorder="little")
        return bits.reshape(form.rows, form.columns, form.samples)
    values = np.frombuffer(frame, dtype_of(form), count=form.native_bits // form.bits_allocated)
    if form.is_halved:
        return _in_full(form, values)
    if form.planar and form.samples > 1:
        return np.moveaxis(values.reshape(form.samples, form.rows, form.columns), 0, -1)
    return values.reshape(form.rows, form.columns, form.samples)


def _in_full(form: FrameForm, values: Samples) -> Samples:
    """Give both pixels of a pair, stored as Y1 Y2 Cb Cr, their chrominance."""
    if form.columns % 2:
        raise DecodeRefused("an odd number of columns cannot share chrominance")
    pairs = values.reshape(form.rows, form.columns // 2, 4)
    full = np.empty((form.rows, form.columns, 3), values.dtype)
    full[:, 0::2, 0], full[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    full[:, 0::2, 1:] = full[:, 1::2, 1:] = pairs[..., 2:]
    return full


def _deflated(form: FrameForm, frame: bytes) -> Samples:
    """Inflate a frame of its own deflate stream (PS3.5 A.4.14)."""
    size = (form.native_bits + 7) // 8
    try:
        native = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, size)
    except zlib.error:
        raise DecodeRefused("the frame does not inflate") from None
    return _native(form, native)


def _rle(form: FrameForm, frame: bytes) -> Samples:
    """Decode the PackBits segments of PS3.5 G: one for each byte of a sample, most significant first, and plane."""
    width = form.bits_allocated // 8
    segments = int.from_bytes(frame[:4], "little")
    if form.bits_allocated == 1 or segments != width * form.samples:
        raise DecodeRefused(f"{segments} RLE segments for {form.samples} samples of {form.bits_allocated} bits")
    plain = imagecodecs.dicomrle_decode(frame, dtype_of(form))
    if len(plain) != form.decoded_bytes:
        raise DecodeRefused("the RLE segments do not make up the frame")
    planes = np.frombuffer(plain, dtype_of(form)).reshape(form.samples, form.rows, form.columns)
    return np.moveaxis(planes, 0, -1)


def _jpeg(form: FrameForm, frame: bytes) -> Samples:
    """Decode JPEG of 8 to 16 bits; a lossy frame said to be YBR comes out as RGB, a lossless one as it is."""
    extent = jpeg_extent(frame)
    _check(form, extent)
    if form.samples == 1 or not form.lossy:
        kind = "GRAYSCALE" if form.samples == 1 else "RGB"
        decoded = imagecodecs.jpeg8_decode(frame, colorspace=kind, outcolorspace=kind)
        return _fit(form, _extended(form, decoded, extent.bits))
    told = "YCBCR" if form.photometric.startswith("YBR") else None  # else as the JPEG's own markers say
    return _fit(form, imagecodecs.jpeg8_decode(frame, colorspace=told, outcolorspace="RGB"))


def _jpeg_ls(form: FrameForm, frame: bytes) -> Samples:
    extent = jpeg_extent(frame)
    _check(form, extent)
    return _fit(form, _extended(form, imagecodecs.jpegls_decode(frame), extent.bits))


def _jpeg_2000(form: FrameForm, frame: bytes) -> Samples:
    """Decode JPEG 2000 and HTJ2K; the component transformation, where there is one, is inverted: RGB."""
    extent = jpeg2000_extent(frame)
    _check(form, extent)
    decoded = imagecodecs.jpeg2k_decode(frame)
    if (decoded.dtype.kind == "i") != form.signed:  # scanners write one sign and another into the attributes
        decoded = _sign(decoded, extent.bits, signed=form.signed)
    return _fit(form, decoded)


def _jpeg_xl(form: FrameForm, frame: bytes) -> Samples:
    """Decode JPEG XL whose components are those of the image: XYB, and signs, which it does not know, are refused."""
    if jpeg_xl_size(frame) != (form.rows, form.columns):
        raise DecodeRefused(f"the compressed frame is not {form.rows} x {form.columns}")
    if form.signed or form.photometric == "XYB":
        raise DecodeRefused("JPEG XL with signed samples or in XYB is not decoded here")
    return _fit(form, imagecodecs.jpegxl_decode(frame, keeporientation=True, numthreads=1))


def _extended(form: FrameForm, values: Samples, bits: int) -> Samples:
    """Give signed samples their sign, where the codestream holds `bits` of their two's complement and no sign."""
    return _sign(values, bits, signed=True) if form.signed else values


def _sign(values: Samples, bits: int, *, signed: bool) -> Samples:
    """Read the low `bits` of each value as signed, or as not."""
    width = values.dtype.itemsize * 8
    turned = np.left_shift(values.view(f"u{values.dtype.itemsize}"), width - bits)
    kind = "i" if signed else "u"
    return np.asarray(np.right_shift(turned.view(f"{kind}{values.dtype.itemsize}"), width - bits))


def _check(form: FrameForm, extent: Extent) -> None:
    """Hold a codestream against the attributes before anything is allocated by it."""
    if extent[:3] != (form.rows, form.columns, form.samples):
        told = f"{form.rows} x {form.columns} x {form.samples}"
        raise DecodeRefused(
            f"the compressed frame is {extent.rows} x {extent.columns} x {extent.components}, not {told}"
        )
    if extent.bits > min(max(form.bits_allocated, 8), _MAX_CODESTREAM_BITS):
        raise DecodeRefused(f"the compressed frame has {extent.bits} bits, {form.bits_allocated} are allocated")


def _fit(form: FrameForm, decoded: Samples) -> Samples:
    native = (form.rows, form.columns, form.samples)
    if decoded.shape not in {native, native[:2]} and decoded.shape == (form.samples, *native[:2]):
        decoded = np.moveaxis(decoded, 0, -1)  # planes that were not interleaved
    if decoded.size != form.rows * form.columns * form.samples or decoded.dtype.itemsize * 8 > max(
        form.bits_allocated, 8
    ):
        raise DecodeRefused("the decoded frame is not what its attributes say")
    shaped = decoded.reshape(form.rows, form.columns, form.samples)
    return shaped if form.bits_allocated == 1 else shaped.astype(dtype_of(form), copy=False)


_CODECS: Final[Mapping[str, Callable[[FrameForm, bytes], Samples]]] = {
    "native": _native,
    "deflate": _deflated,
    "rle": _rle,
    "jpeg": _jpeg,
    "jpeg-ls": _jpeg_ls,
    "jpeg-2000": _jpeg_2000,
    "jpeg-xl": _jpeg_xl,
}

"""What a decoder is asked: one frame, and what its attributes say of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from imaging.errors import DecodeRefused

MAX_FRAME_BYTES: Final = 256 * 1024 * 1024
"""What one frame may hold once decoded; a mammogram holds 30 MB, a whole-slide tile 1 MB."""

_BITS: Final = frozenset({1, 8, 16, 32, 64})
_TRANSFORMED: Final = frozenset({"YBR_RCT", "YBR_ICT"})
"""What JPEG 2000 makes of RGB, and its decoder RGB of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameForm:
    """The image pixel module of one frame (PS3.3 C.7.6.3), and the codec that it is in."""

    codec: str
    rows: int
    columns: int
    samples: int = 1
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool = False
    floating: bool = False
    photometric: str = "MONOCHROME2"
    planar: bool = False
    lossy: bool = False

    @property
    def is_halved(self) -> bool:
        """Whether two pixels share their chrominance in native form (PS3.3 C.7.6.3.1.2)."""
        return self.photometric in {"YBR_FULL_422", "YBR_PARTIAL_422"} and self.samples == 3

    @property
    def native_bits(self) -> int:
        """The bits of one frame in native form; frames of 1-bit pixels follow each other without padding."""
        samples = 2 if self.is_halved else self.samples
        return self.rows * self.columns * samples * self.bits_allocated

    @property
    def decoded_bits(self) -> int:
        """The bits of one frame that is decoded, chrominance in full."""
        return self.rows * self.columns * self.samples * self.bits_allocated

    @property
    def decoded_bytes(self) -> int:
        """The bytes of one frame that is decoded."""
        return (self.decoded_bits + 7) // 8

    @property
    def decoded_photometric(self) -> str:
        """The photometric interpretation of the samples once they are decoded, chrominance in full."""
        if self.samples == 3 and ((self.codec == "jpeg" and self.lossy) or self.photometric in _TRANSFORMED):
            return "RGB"
        return "YBR_FULL" if self.samples == 3 and self.photometric == "YBR_FULL_422" else self.photometric

    def check(self) -> FrameForm:
        """Return the form, if a frame can have it.

        Raises
        ------
        DecodeRefused
            It has no pixels, bits that no codec knows, or more bytes than are decoded here (R-24).
        """
        if not (0 < self.rows <= 65535 and 0 < self.columns <= 65535 and self.samples in {1, 3}):
            raise DecodeRefused("rows, columns or samples per pixel are not those of an image")
        if self.bits_allocated not in _BITS or not 0 < self.bits_stored <= self.bits_allocated:
            raise DecodeRefused("bits allocated or stored are not those of an image")
        if self.decoded_bytes > MAX_FRAME_BYTES:
            raise DecodeRefused(f"a frame of {self.decoded_bytes} bytes; {MAX_FRAME_BYTES} are decoded at most")
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A VOI window (PS3.3 C.11.2.1.2), in the units that the modality LUT gives; `function` as in PS3.18 8.3.5."""

    center: float
    width: float
    function: str = "linear"


@dataclass(frozen=True, kw_only=True, slots=True)
class Presentation:
    """A softcopy presentation state to show a frame by: its data set, and the digest that names it."""

    key: str
    content: bytes = field(repr=False)
    implicit: bool
    little: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """How a frame is to be shown.

    `crop` is left, top, width and height in pixels of the frame, a negative width or height mirrors it; `viewport` is
    the largest width and height, its proportions kept; `quality`, 1 to 100, is that of JPEG.  `annotation` names what
    is written on it, ``patient`` or ``technique``; `profile` is ``yes`` for the image's own colour profile, ``srgb``
    for sRGB, ``no`` for none.
    """

    media_type: str = "image/jpeg"
    quality: int = 90
    viewport: tuple[int, int] | None = None
    crop: tuple[float | None, float | None, float | None, float | None] = (None, None, None, None)
    window: Window | None = None
    annotation: tuple[str, ...] = ()
    profile: str = "no"
    presentation: Presentation | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decode:
    """Ask for a frame's samples, little endian, in the layout that its attributes tell."""

    form: FrameForm
    frame: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Encode:
    """Ask for a frame compressed anew, without a loss."""

    form: FrameForm
    frame: bytes
    encoder: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Render:
    """Ask for a picture of a frame; `header` is the data set before its pixels, `number` counts from 1."""

    form: FrameForm
    frame: bytes
    header: bytes
    implicit: bool
    little: bool
    number: int
    picture: Picture


Job = Decode | Encode | Render

"""Transfer syntaxes as data: the media type of a frame as stored, and the codec that decodes it (PS3.18 8.7.3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

OCTETS: Final = "application/octet-stream"


@dataclass(frozen=True, kw_only=True, slots=True)
class Syntax:
    """How frames are encoded.

    `codec` is empty where nothing here decodes them, `encoder` where nothing here makes them.
    """

    media_type: str
    codec: str = ""
    encoder: str = ""
    lossy: bool = False
    reason: str = ""
    """Why nothing here decodes them."""


_ROOT: Final = "1.2.840.10008.1.2"
_PART_2: Final = "JPEG 2000 part 2 transforms frames together, which no decoder here undoes"
_JPEG_XL: Final = "JPEG XL is decoded in its lossless form alone"
_RETIRED: Final = "a retired JPEG process with arithmetic coding or a hierarchy"
_VIDEO: Final = "the pictures of a video lean on each other: it is given as a whole"

SYNTAXES: Final[Mapping[str, Syntax]] = {
    **dict.fromkeys((_ROOT, f"{_ROOT}.1", f"{_ROOT}.2", f"{_ROOT}.1.98"), Syntax(media_type=OCTETS, codec="native")),
    f"{_ROOT}.1.99": Syntax(media_type=OCTETS, codec="native"),
    "1.2.840.113619.5.2": Syntax(media_type=OCTETS, codec="native"),
    f"{_ROOT}.4.50": Syntax(media_type="image/jpeg", codec="jpeg", lossy=True),
    f"{_ROOT}.4.51": Syntax(media_type="image/jpeg", codec="jpeg", lossy=True),
    **dict.fromkeys(
        (f"{_ROOT}.4.53", f"{_ROOT}.4.55"), Syntax(media_type="image/jpeg", codec="jpeg", lossy=True)
    ),  # retired, but with Huffman coding: progressive JPEG
    **dict.fromkeys(
        (f"{_ROOT}.4.{number}" for number in (52, 54, 56, 58, 59, 60, 61, 62, 63, 64, 65, 66)),
        Syntax(media_type="image/jpeg", lossy=True, reason=_RETIRED),
    ),
    f"{_ROOT}.4.57": Syntax(media_type="image/jpeg", codec="jpeg"),
    f"{_ROOT}.4.70": Syntax(media_type="image/jpeg", codec="jpeg"),
    f"{_ROOT}.4.80": Syntax(media_type="image/jls", codec="jpeg-ls", encoder="jpeg-ls"),
    f"{_ROOT}.4.81": Syntax(media_type="image/jls", codec="jpeg-ls", lossy=True),
    f"{_ROOT}.4.90": Syntax(media_type="image/jp2", codec="jpeg-2000", encoder="jpeg-2000"),
    f"{_ROOT}.4.91": Syntax(media_type="image/jp2", codec="jpeg-2000", lossy=True),
    f"{_ROOT}.4.92": Syntax(media_type="image/jpx", reason=_PART_2),
    f"{_ROOT}.4.93": Syntax(media_type="image/jpx", lossy=True, reason=_PART_2),
    f"{_ROOT}.4.100": Syntax(media_type="video/mpeg", lossy=True, reason=_VIDEO),
    f"{_ROOT}.4.101": Syntax(media_type="video/mpeg", lossy=True, reason=_VIDEO),
    f"{_ROOT}.4.102": Syntax(media_type="video/mp4", lossy=True, reason=_VIDEO),
    f"{_ROOT}.4.103": Syntax(media_type="video/mp4", lossy=True, reason=_VIDEO),
    f"{_ROOT}.4.104": Syntax(media_type="video/mp4", lossy=True, reason=_VIDEO),
    f"{_ROOT}.4.105": Syntax(media_type="video/mp4", lossy=True, reason=_VIDEO),
    f"{_ROOT}.4.106": Syntax(media_type="video/mp4", lossy=True, reason=_VIDEO),
    f"{_ROOT}.4.107": Syntax(media_type="video/H265", lossy=True, reason=_VIDEO),
    f"{_ROOT}.4.108": Syntax(media_type="video/H265", lossy=True, reason=_VIDEO),
    f"{_ROOT}.4.110": Syntax(media_type="image/jxl", codec="jpeg-xl"),
    f"{_ROOT}.4.111": Syntax(media_type="image/jxl", reason=_JPEG_XL),
    f"{_ROOT}.4.112": Syntax(media_type="image/jxl", lossy=True, reason=_JPEG_XL),
    f"{_ROOT}.4.201": Syntax(media_type="image/jphc", codec="jpeg-2000", encoder="htj2k"),
    f"{_ROOT}.4.202": Syntax(media_type="image/jphc", codec="jpeg-2000", encoder="htj2k"),
    f"{_ROOT}.4.203": Syntax(media_type="image/jphc", codec="jpeg-2000", lossy=True),
    f"{_ROOT}.5": Syntax(media_type="image/dicom-rle", codec="rle", encoder="rle"),
    f"{_ROOT}.8.1": Syntax(media_type=OCTETS, codec="deflate"),
}

_OPAQUE: Final = Syntax(media_type=OCTETS, reason="the transfer syntax is not known here")


def syntax_of(transfer_syntax_uid: str) -> Syntax:
    """Return how a transfer syntax encodes frames; fragmentable video (``.1`` more) is as its parent."""
    base = transfer_syntax_uid.removesuffix(".1") if ".4.10" in transfer_syntax_uid else transfer_syntax_uid
    return SYNTAXES.get(transfer_syntax_uid) or SYNTAXES.get(base, _OPAQUE)

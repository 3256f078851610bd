"""Colour profiles of pictures: the image's own, or sRGB (PS3.18 8.3.5.1.5; ICC.1)."""

from __future__ import annotations

import io
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from imaging.display import Shown

_SEGMENT: Final = 65519
"""Bytes of a profile in one APP2 segment of a JPEG file (ICC.1 B.4)."""
_MARK: Final = b"ICC_PROFILE\0"


@lru_cache(maxsize=1)
def srgb() -> bytes:
    """Return a profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def converted(image: Shown, own: bytes) -> Shown:
    """Return a picture in sRGB whose own profile is `own`; as it is where that is no profile of RGB."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(own))
        target = ImageCms.ImageCmsProfile(io.BytesIO(srgb()))
        made = ImageCms.profileToProfile(Image.fromarray(image), source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image
    return image if made is None else np.asarray(made)


def in_jpeg(file: bytes, profile: bytes) -> bytes:
    """Return a JPEG file with a profile."""
    parts = [profile[at : at + _SEGMENT] for at in range(0, len(profile), _SEGMENT)]
    segments = b"".join(
        b"\xff\xe2" + (len(part) + 16).to_bytes(2, "big") + _MARK + bytes([number, len(parts)]) + part
        for number, part in enumerate(parts, 1)
    )
    return file[:2] + segments + file[2:]


def in_png(file: bytes, profile: bytes) -> bytes:
    """Return a PNG file with a profile, which stands right behind the header."""
    header_end = 8 + 4 + 4 + 13 + 4
    chunk = b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile)
    return (
        file[:header_end]
        + (len(chunk) - 4).to_bytes(4, "big")
        + chunk
        + zlib.crc32(chunk).to_bytes(4, "big")
        + file[header_end:]
    )

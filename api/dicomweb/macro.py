"""What compressed pixels tell of themselves, where the metadata of STOW-RS leave it to them (PS3.18 10.5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.dicomweb.model import element
from imaging.codestream import jpeg2000_extent, jpeg_extent, photometric_of
from imaging.errors import DecodeRefused

if TYPE_CHECKING:
    from api.dicomweb.model import DataSet

ROWS: Final = "00280010"
_JPEG_2000: Final = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})


def description(frame: bytes, transfer_syntax_uid: str) -> DataSet:
    """Return the Image Pixel Description Macro of a frame (PS3.3 C.7.6.3), empty where it tells of no picture."""
    try:
        extent = (jpeg2000_extent if transfer_syntax_uid in _JPEG_2000 else jpeg_extent)(frame)
    except DecodeRefused:
        return {}
    if extent.components not in {1, 3} or not 1 <= extent.bits <= 16:
        return {}
    colours = extent.components == 3
    told: dict[str, str | int] = {
        "SamplesPerPixel": extent.components,
        "PhotometricInterpretation": photometric_of(frame, transfer_syntax_uid) if colours else "MONOCHROME2",
        "Rows": extent.rows,
        "Columns": extent.columns,
        "BitsAllocated": 8 if extent.bits <= 8 else 16,
        "BitsStored": extent.bits,
        "HighBit": extent.bits - 1,
        "PixelRepresentation": 0,
        **({"PlanarConfiguration": 0} if colours else {}),
    }
    return dict(element(keyword, value) for keyword, value in told.items())

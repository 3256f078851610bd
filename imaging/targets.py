"""What frames can be made into, without a loss: which forms fit which transfer syntax (PS3.5 8.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imaging.syntaxes import SYNTAXES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imaging.jobs import FrameForm

TARGETS: Final[Mapping[str, str]] = {uid: syntax.encoder for uid, syntax in SYNTAXES.items() if syntax.encoder}
"""Transfer syntax UID -> its encoder, of all that are made here."""

_BITS: Final = frozenset({8, 16})
_COLOURS: Final = {
    1: frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"}),
    3: frozenset({"RGB", "YBR_FULL"}),
}
"""Samples per pixel -> the photometric interpretations that every target of ours takes."""
_TRANSFORMING: Final = frozenset({"jpeg-2000", "htj2k"})


def unfit(form: FrameForm, encoder: str) -> str:
    """Return why frames of this form are not made so, empty where they are."""
    if form.floating:
        return "pixels in floating point are never compressed"
    if form.bits_allocated not in _BITS:
        return f"pixels of {form.bits_allocated} bits are not compressed here, only of 8 and 16"
    if form.decoded_photometric not in _COLOURS.get(form.samples, frozenset()):
        return "pixels in this colour model are not compressed here"
    if form.samples > 1 and form.signed and encoder in _TRANSFORMING:
        return "signed colours have no place in this transfer syntax"
    return ""


def photometric_of(form: FrameForm, encoder: str) -> str:
    """Return (0028,0004) Photometric Interpretation of frames made so."""
    decoded = form.decoded_photometric
    return "YBR_RCT" if decoded == "RGB" and encoder in _TRANSFORMING else decoded


def is_by_pixel(form: FrameForm, encoder: str) -> bool:
    """Tell whether (0028,0006) Planar Configuration must be 0; RLE, whose segments are planes anyway, keeps its own."""
    return form.samples > 1 and encoder != "rle"

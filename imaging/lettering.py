"""Letters on pictures: one font, the same on every machine, with every letter of Vietnamese."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Final

from PIL import ImageFont

_FONT: Final = files("imaging") / "fonts" / "DejaVuSans-latin.ttf"
_MISSING: Final = "?"


@lru_cache(maxsize=16)
def font(size: float) -> ImageFont.FreeTypeFont:
    """Return the font in a size, in pixels."""
    with as_file(_FONT) as path:
        return ImageFont.truetype(str(path), size)


def writable(text: str) -> str:
    """Return text as the font can write it: what it has no letter for, and what is no letter, is a question mark."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(letter if letter.isprintable() and _is_drawn(letter) else _MISSING for letter in composed)


@lru_cache(maxsize=4096)
def _is_drawn(letter: str) -> bool:
    """Tell whether the font has a letter, by its being drawn otherwise than one that no font has."""
    drawn = bytes(font(20).getmask(letter))
    return letter == " " or drawn != bytes(font(20).getmask("\uffff"))

"""Letters on a picture: the font that a machine has, and what is written where a letter is missing from it."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

from PIL import ImageFont

_PREFERRED: Final = "DejaVuSans.ttf"
"""Has every letter of Vietnamese; of the Debian package fonts-dejavu-core."""

_BARRED: Final = str.maketrans("Đđ", "Dd")
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=8)
def font(size: int) -> Font:
    """Return the font in a size, in pixels: the preferred one where the machine has it, else the one of Pillow."""
    try:
        return ImageFont.truetype(_PREFERRED, size)
    except OSError:
        return ImageFont.load_default(size)


def writable(text: str, size: int) -> str:
    """Return text as the font can write it: without marks where it has letters only, without what is no letter."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable if _has_marks(size) else plain(printable)


def plain(text: str) -> str:
    """Return text in the letters that every font has: marks dropped, a question mark for what has no such letter."""
    apart = unicodedata.normalize("NFD", text.translate(_BARRED))
    bare = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return bare.encode("latin-1", "replace").decode("latin-1")


def _has_marks(size: int) -> bool:
    chosen = font(size)
    return isinstance(chosen, ImageFont.FreeTypeFont) and str(chosen.getname()[0]).startswith("DejaVu")

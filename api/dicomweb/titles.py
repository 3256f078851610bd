"""AE titles in paths: 1 to 16 characters, no backslash, no control character (PS3.5 6.2)."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path

from api.errors import ParameterRejected

MAX_LENGTH: Final = 16

_LETTER: Final = r"[!-.0-\[\]-~]"
TitlePath = Annotated[str, Path(json_schema_extra={"pattern": rf"^{_LETTER}({_LETTER[:-1]} ]{{0,14}}{_LETTER})?$"})]
"""Told, not checked: `title_of` does that, and says what is wrong."""


def title_of(part: str) -> str:
    """Return the AE title that a part of a path names; spaces around it do not count.

    Raises
    ------
    ParameterRejected
        It is none.
    """
    title = part.strip(" ")
    if not 1 <= len(title) <= MAX_LENGTH or not title.isascii() or not title.isprintable() or "\\" in title:
        raise ParameterRejected("an AE title is 1 to 16 printable ASCII characters without backslash")
    return title

"""Person names as a reader types them: without accents, in any case, in any of a name's writings.

A name has up to three component groups, divided by ``=``: in letters, in ideographs, in sounds (PS3.5 6.2.1).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

FOLDED: Final = {"patient_name": "patient_name_folded", "referring_physician_name": "referring_physician_name_folded"}
"""The names that a study is found by, and where the catalogue keeps them folded."""

MOST_LETTERS: Final = 256
"""What is kept of a folded name: three groups of 64 letters (PS3.5 6.2), and some."""

# Letters that Unicode does not decompose: U+0110, U+0111, and what senders write in their place (Icelandic eth,
# which has Đ's place in another code page, and the African D).
_WHOLE: Final = dict.fromkeys("ĐÐƉ", "D") | dict.fromkeys("đðɖ", "d")
_APOSTROPHES: Final = dict.fromkeys("'’‘ʼʻ`´＇", "")  # H'Hen, typed as HHen
_SIGNS: Final = dict.fromkeys("^,.-_‐‑\N{ZERO WIDTH SPACE}", " ")
_LETTERS: Final = str.maketrans(_WHOLE | _APOSTROPHES | _SIGNS)

_MARKS: Final = frozenset({1, *range(10, 37), *range(200, 256)})
"""Combining classes of the marks of Latin, Greek, Cyrillic, Arabic and Hebrew letters; a kana's voicing is no mark."""


def fold(name: str) -> str:
    """Return `name` in capitals, without marks, its ``^`` and other signs as spaces, group by group.

    Folding twice changes nothing, and names that Unicode holds to be the same fold alike.

    >>> fold("Nguyễn^Thị Đào")
    'NGUYEN THI DAO'
    >>> fold("Yamada^=山田^")
    'YAMADA=山田'
    """
    if name.isascii():
        return "=".join(_fold_ascii(group) for group in name.split("="))[:MOST_LETTERS]
    return "=".join(_fold_group(group) for group in name.split("="))[:MOST_LETTERS]


def _fold_ascii(group: str) -> str:
    return " ".join(group.translate(_LETTERS).upper().split())


def _fold_group(group: str) -> str:
    plain = unicodedata.normalize("NFKD", group.translate(_LETTERS))
    letters = "".join(letter for letter in plain if _is_kept(letter)).upper()
    again = unicodedata.normalize("NFKD", letters).translate(_LETTERS).replace("=", " ")
    return " ".join(unicodedata.normalize("NFC", "".join(filter(_is_kept, again))).split())


def _is_kept(letter: str) -> bool:
    return unicodedata.combining(letter) not in _MARKS and unicodedata.category(letter) != "Cf"


def folded(told: Mapping[str, Any]) -> dict[str, str]:
    """Return, of what a study is told, its names as they are found."""
    return {column: fold(told[name]) for name, column in FOLDED.items() if name in told}


def writings(text: str) -> tuple[str, ...]:
    """Return `text` as it is and in Unicode's two normal forms, each once: senders use either.

    >>> len(writings("CT")), len(writings("Chụp"))
    (1, 2)
    """
    if text.isascii():
        return (text,)
    return tuple(dict.fromkeys((text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))))

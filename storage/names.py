"""Person names as a reader types them: without accents, in any case, in any of a name's writings.

A name has up to three component groups, divided by ``=``: in letters, in ideographs, in sounds (PS3.5 6.2.1).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final

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
    composed = unicodedata.normalize("NFC", name)  # a letter may hold a `=` of its own
    return "=".join(_fold_group(group) for group in composed.split("="))[:MOST_LETTERS]


def _fold_ascii(group: str) -> str:
    return " ".join(group.translate(_LETTERS).upper().split())


def _fold_group(group: str) -> str:
    letters = unicodedata.normalize("NFKD", group.translate(_LETTERS)).translate(_UNMARKED).upper()
    if not letters.isascii():
        letters = unicodedata.normalize("NFKD", letters).translate(_LETTERS).translate(_UNMARKED)
        letters = unicodedata.normalize("NFC", letters)
    return " ".join(letters.replace("=", " ").split())


class _Unmarked(dict[int, int | None]):
    """What `str.translate` leaves of a letter: nothing of a mark, and of what only says how to write."""

    def __missing__(self, code: int) -> int | None:
        letter = chr(code)
        is_mark = unicodedata.combining(letter) in _MARKS or unicodedata.category(letter) == "Cf"
        left = None if is_mark else code
        if code < _COMMON:
            self[code] = left
        return left


_COMMON: Final = 0x2100
_UNMARKED: Final = _Unmarked()


def shown(name: str | None) -> str:
    """Return a name's first group that holds something, its components from left to right; empty where none does.

    >>> shown("=山田^太郎")
    '山田 太郎'
    """
    groups = (" ".join(group.replace("^", " ").split()) for group in (name or "").split("="))
    return next(filter(None, groups), "")


# ------------------------------------------------------------------------------------------------------ their order
_ALPHABET: Final = "aăâbcdđeêfghijklmnoôơpqrstuưvwxyz"
_PLACES: Final = {letter: chr(ord("A") + place) for place, letter in enumerate(_ALPHABET)}
_TONES: Final = {"\N{COMBINING GRAVE ACCENT}": "1", "\N{COMBINING HOOK ABOVE}": "2", "\N{COMBINING TILDE}": "3"} | {
    "\N{COMBINING ACUTE ACCENT}": "4",
    "\N{COMBINING DOT BELOW}": "5",
}
"""In the order of Vietnamese dictionaries; a syllable without a mark comes first."""


def order_of(name: str) -> str:
    """Return what puts a name into its place in a Vietnamese list, compared byte by byte.

    By the given name, which is the last word, then those between, then the family's; letter by letter of the
    Vietnamese alphabet, and only then by tone.  What is no Latin letter comes after those, by its code.
    """
    family, *rest = shown(name).translate(_LETTERS_ALIKE).casefold().split() or [""]
    words = [*rest[-1:], *rest[:-1], family]
    letters = " ".join("".join(map(_place, _toneless(word))) for word in words)
    tones = " ".join("".join(_TONES.get(mark, "") for mark in unicodedata.normalize("NFD", word)) for word in words)
    return f"{letters}\t{tones}"[:MOST_LETTERS]


_LETTERS_ALIKE: Final = str.maketrans(dict.fromkeys("ÐƉ", "Đ") | dict.fromkeys("ðɖ", "đ"))


def _toneless(word: str) -> str:
    marks = unicodedata.normalize("NFD", word)
    return unicodedata.normalize("NFC", "".join(mark for mark in marks if mark not in _TONES))


def _place(letter: str) -> str:
    """Return a letter's place in the alphabet; that of its base letter where it stands in none."""
    return _PLACES.get(letter) or _PLACES.get(unicodedata.normalize("NFD", letter)[0], letter)


# ------------------------------------------------------------------------------------------------ in the catalogue
FOUND_BY: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    "patient_name_folded": ("patient_name", fold),
    "patient_name_order": ("patient_name", order_of),
    "referring_physician_name_folded": ("referring_physician_name", fold),
}
"""The columns by which studies are found and put in order, of which name each is made, and how."""


def found_by(told: Mapping[str, Any]) -> dict[str, str]:
    """Return, for the names among what a study is told, what it is found by."""
    return {column: make(told[name]) for column, (name, make) in FOUND_BY.items() if name in told}


def writings(text: str) -> tuple[str, ...]:
    """Return `text` as it is and in Unicode's two normal forms, each once: senders use either.

    >>> len(writings("CT")), len(writings("Chụp"))
    (1, 2)
    """
    if text.isascii():
        return (text,)
    return tuple(dict.fromkeys((text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))))

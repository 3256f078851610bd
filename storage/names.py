"""Person names as a reader types them: without accents, in any case, in any order of given names."""

from __future__ import annotations

import unicodedata

# Letters that Unicode does not decompose (U+0110, U+0111 and their Icelandic look-alikes seen in typed names).
_WHOLE = str.maketrans({"Đ": "D", "đ": "d", "Ð": "D", "ð": "d"})


def fold(name: str) -> str:
    """Return `name` upper-cased, without diacritics, its ``^`` as spaces, blanks collapsed.

    >>> fold("Nguyễn^Thị Đào")
    'NGUYEN THI DAO'
    """
    plain = unicodedata.normalize("NFD", name.translate(_WHOLE))
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(letters.replace("^", " ").upper().split())

"""The few studies that a key leaves of all, where an index knows them: what makes a search for the rare quick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from storage.catalog import modalities, texts
from storage.matching import FUZZY, TAGS, Match, days_of, groups_of, is_universal, patterns_of, with_any, words_of
from storage.names import MOST_LETTERS
from storage.wildcards import Pattern

if TYPE_CHECKING:
    from storage.database import Transaction

_Keys = Mapping[str, str]
_Narrow = Callable[["Transaction", str, _Keys, int], list[int] | None]
"""(transaction, keyword, all keys, most) -> the studies, None where they are more than `most` or no index tells."""

_DEEPEST: Final = 2000
"""Farther in, a page is found on the way along the newest."""

_UNREAD: Final = 4
"""How many more may be named where all but the page's need not be read."""

_LOOKED_UP: Final = ("StudyInstanceUID", "PatientID", "AccessionNumber")
"""A single value of these has an index of its own."""


def few_studies(tx: Transaction, keys: _Keys, page_end: int, *, newest_first: bool) -> list[int] | None:
    """Return the studies to which a key narrows the search, of which `page_end` are wanted; None where none does.

    `newest_first` says that the studies themselves are asked for, in that order and by all that the keys say: only
    then are those of the page all that is needed of them.
    """
    if any(keys.get(keyword) and not Pattern(keys[keyword]).wildcards for keyword in _LOOKED_UP):
        return None
    told = [keyword for keyword in _NARROWS if not is_universal(keys.get(keyword, ""))]
    if not told:
        return _by_modalities(tx, keys, page_end) if newest_first and keys.get("ModalitiesInStudy") else None
    is_all = newest_first and _is_all(told[0], keys)
    most = texts.worth_naming(tx, page_end) * (_UNREAD if is_all else 1)
    named = (_NARROWS[keyword](tx, keyword, keys, most) for keyword in told)
    found = next((few for few in named if few is not None), None)
    return list(dict.fromkeys(found))[:page_end] if found and is_all else found


def names_a_patient(keys: _Keys) -> bool:
    """Tell whether a part of a patient's name is asked for: among the newest, it may be sooner found than looked up.

    Patients' names stand in the index along which the newest are looked at; other texts do not.
    """
    return not is_universal(keys.get("PatientName", ""))


def _is_all(keyword: str, keys: _Keys) -> bool:
    """Tell whether a name is all that is asked for, and each that was found is wanted: the newest are the page's."""
    others = [key for key, value in keys.items() if key != keyword and value.strip("*")]
    return keyword in FUZZY and not others and len(groups_of(keys[keyword])) == 1


def sought(match: Match) -> str:
    """Return a key's value; of a name that is matched by its words, what all that match hold: the longest of them."""
    if not match.fuzzy or match.keyword not in FUZZY or is_universal(match.value):
        return match.value
    return f"*{max(words_of(match.value), key=len, default='')}*"


def _by_name(tx: Transaction, keyword: str, keys: _Keys, most: int) -> list[int] | None:
    told = next((group for group in groups_of(keys[keyword]) if not is_universal(group)), None)
    return None if told is None else texts.studies_with(tx, TAGS[keyword], Pattern(told), most=most)


def _by_text(tx: Transaction, keyword: str, keys: _Keys, most: int) -> list[int] | None:
    if len(keys[keyword]) > MOST_LETTERS:
        return None
    found: set[int] = set()
    for pattern in patterns_of(keys[keyword]):
        named = texts.studies_with(tx, TAGS[keyword], pattern, most=most)
        if named is None:
            return None
        found.update(named)
    return sorted(found)


def _by_modalities(tx: Transaction, keys: _Keys, page_end: int) -> list[int] | None:
    """Name the studies up to the end of the page, where modalities and date are all that is asked for."""
    others = [key for key, value in keys.items() if key not in {"ModalitiesInStudy", "StudyDate"} and value.strip("*")]
    wanted = [Pattern(part) for part in keys["ModalitiesInStudy"].split("\\")]
    if others or page_end > _DEEPEST or any(is_universal(pattern.text) for pattern in wanted):
        return None
    known = modalities.combinations(tx)
    if known is None:
        return None
    days = days_of(keys.get("StudyDate", ""))
    return modalities.newest_with(tx, with_any(known, wanted), days, most=page_end)


_NARROWS: Final[Mapping[str, _Narrow]] = {
    "PatientName": _by_name,
    "PatientID": _by_text,
    "AccessionNumber": _by_text,
    "ReferringPhysicianName": _by_name,
    "StudyDescription": _by_text,
}
"""In the order in which they are asked: what names a person first."""

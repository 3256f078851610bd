"""Dates with times as DICOM writes them (VR DT, PS3.5 6.2), brought to UTC so that they can be compared.

One without an offset is taken as UTC: nothing tells where it was written.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from storage.search import MatchRejected
from storage.workitems.attributes import DATETIME

_FORM: Final = "%Y%m%d%H%M%S.%f"
_OFFSET: Final = re.compile(r"[+-](0\d|1[0-4])[0-5]\d", re.ASCII)
_FIRST: Final = "00010101000000.000000"
_LAST: Final = "99991231235959.999999"


def written(at: datetime) -> str:
    """Return a moment as DICOM writes it, with its offset."""
    return at.astimezone(UTC).strftime(_FORM) + "+0000"


def comparable(text: str) -> str | None:
    """Return the first moment that a DT value can mean, in a form that sorts; None where it is none."""
    at = _moment(text, last=False)
    return None if at is None else _sortable(at)


def between(key: str) -> tuple[datetime | None, datetime | None]:
    """Return the ends of a matching key: of a range, or of what a shortened value covers (PS3.4 C.2.2.2.5).

    A hyphen before four digits that can be an offset is one.

    Raises
    ------
    MatchRejected
        It is neither a value nor a range of values.
    """
    text = key.strip().replace(" ", "+")  # a plus sign that a URL did not escape
    if _moment(text, last=False) is not None:
        return _moment(text, last=False), _moment(text, last=True)
    for dash in (place for place, letter in enumerate(text) if letter == "-"):
        first, last = text[:dash], text[dash + 1 :]
        ends = (_moment(first, last=False) if first else None, _moment(last, last=True) if last else None)
        if (first or last) and (ends[0] or not first) and (ends[1] or not last):
            return ends
    raise MatchRejected("a date and time key is neither a value nor a range of values")


def sortable_ends(key: str) -> tuple[str | None, str | None]:
    """Return what `between` returns, in the form of `comparable`."""
    first, last = between(key)
    return None if first is None else _sortable(first), None if last is None else _sortable(last)


def _sortable(at: datetime) -> str:
    return f"{at.year:04}" + at.strftime(_FORM)[-17:]


def _moment(text: str, *, last: bool) -> datetime | None:
    found = DATETIME.fullmatch(text.strip())
    if found is None or (found[3] and not _OFFSET.fullmatch(found[3])):
        return None
    digits = found[1] + (found[2] or "")
    whole = digits + (_LAST if last else _FIRST)[len(digits) :]
    zone = _zone(found[3])
    for day in (whole[6:8], "30", "29", "28"):  # the last day of a month that was not named
        try:
            at = datetime.strptime(f"{whole[:6]}{day}{whole[8:]}", _FORM).replace(tzinfo=zone)
            return at.astimezone(UTC)
        except (ValueError, OverflowError):
            if not last or len(found[1]) > 6:
                return None
    return None


def _zone(offset: str | None) -> timezone:
    if not offset:
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))

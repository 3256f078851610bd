"""How old a patient was when imaged, in whole years, from what a header says of it."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TYPE_CHECKING

from inference.slices import first_text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_AGE = re.compile(r"0*(\d{1,3})([DWMY]?)")
_IN_A_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0, "": 1.0}


def age_years(head: Dataset) -> int | None:
    """Give the lower of (0010,1010) Patient's Age and what birth and study date say; None where neither is there.

    An age without a unit, which the standard does not know, counts as years: the lower guess.
    """
    told = [age for age in (_stated(head), _reckoned(head)) if age is not None]
    return min(told) if told else None


def _stated(head: Dataset) -> int | None:
    if (said := _AGE.fullmatch(first_text(head, "PatientAge").strip().upper())) is None:
        return None
    return int(int(said[1]) / _IN_A_YEAR[said[2]])


def _reckoned(head: Dataset) -> int | None:
    born, taken = _date(head, "PatientBirthDate"), _date(head, "StudyDate")
    if born is None or taken is None or taken < born:
        return None
    return taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day))


def _date(head: Dataset, name: str) -> date | None:
    try:
        return datetime.strptime(first_text(head, name).strip(), "%Y%m%d").date()  # noqa: DTZ007 - a day, no time
    except ValueError:
        return None

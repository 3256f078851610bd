"""The rules of matching keys (PS3.4 C.2.2.2): which column a keyword means, at which level, how its values match."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.catalog import modalities
from storage.conditions import Bound, Compared, Condition, all_of, any_of
from storage.errors import Rejected
from storage.names import fold, writings
from storage.wildcards import Pattern

if TYPE_CHECKING:
    from storage.database import Transaction

_studies, _series, _instances = schema.studies, schema.series, schema.instances

MAX_LISTED = 2000
"""UIDs in one key."""

MAX_LETTERS = 4096
"""Letters in one key: no text of the catalogue is longer."""

MAX_WILDCARDS = 8
"""Wildcards in one key: each more makes a mismatch dearer to find."""


class MatchRejected(Rejected):
    """A matching key has a value that its attribute cannot be matched with."""


class Level(IntEnum):
    """What one answer is about (PS3.4 C.6.1.1, C.6.2.1)."""

    STUDY = 1
    SERIES = 2
    INSTANCE = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """One key: an attribute's keyword, and its value as in an identifier.

    An empty value, or ``*`` alone, matches everything.
    """

    keyword: str
    value: str
    fuzzy: bool = False
    """Match a name also by the beginnings of its words, in any order (PS3.4 C.2.2.2.1.1, PS3.18 8.3.4.2)."""


Rule = Callable[[str, "Transaction"], Bound | None]
"""(value, transaction) -> condition, None for universal matching."""


# ------------------------------------------------------------------------------------------------ how values match
def is_universal(value: str) -> bool:
    """Tell whether a value asks for nothing (PS3.4 C.2.2.2.3)."""
    return value.strip("*") == ""


def _pattern(value: str) -> Pattern:
    if len(value) > MAX_LETTERS:
        raise MatchRejected(f"a key holds more than {MAX_LETTERS} letters")
    pattern = Pattern(value)
    if pattern.wildcards > MAX_WILDCARDS:
        raise MatchRejected(f"a key holds more than {MAX_WILDCARDS} wildcards")
    return pattern


def _compared(column: sa.Column[Any]) -> Compared:
    return Compared(column, f"{column.table.name}_{column.key}")


def patterns_of(value: str) -> list[Pattern]:
    """Return what a text has to match one of: its value in either form of Unicode."""
    return [_pattern(writing) for writing in writings(value)]


def _text(column: sa.Column[Any]) -> Rule:
    """Single value and wildcard matching, by case (PS3.4 C.2.2.2.1, C.2.2.2.4)."""
    compared = _compared(column)

    def condition(value: str, tx: Transaction) -> Bound | None:
        return None if is_universal(value) else compared.one_of(patterns_of(value), tx.dialect.name)

    return condition


def groups_of(value: str) -> list[str]:
    """Return the groups of a name key, folded, ``*`` for those that ask for nothing."""
    _pattern(value)
    return [group or "*" for group in fold(value.rstrip("^= ")).split("=")]


def _name(column: sa.Column[Any], keyword: str = "") -> Rule:
    """Person names: without case, accents or empty trailing components.

    Each ``=`` group of a name may match alone; where the key has several, each has to match its own.  Of a `keyword`
    in `TAGS` the groups are known one by one.
    """
    compared = _compared(column)

    def condition(value: str, tx: Transaction) -> Bound | None:
        groups = groups_of(value)
        if all(map(is_universal, groups)):
            return None
        whole = "=".join(groups)
        one = len(groups) == 1
        named = compared.one_of([Pattern(each) for each in _placed(whole, alone=one)], tx.dialect.name)
        if keyword and one and "*" in whole.strip("*"):  # which must not reach from one group into the next
            return all_of(named, _TEXTS[keyword].with_one(Pattern(whole), tx.dialect.name))
        return named

    return condition


def _placed(whole: str, *, alone: bool) -> list[str]:
    """Return what a name matches of which `whole` is the first groups, or any one: no pattern that another holds."""
    before = ["", "*="] if alone and not whole.startswith("*") else [""]
    after = ["", "=*"] if not whole.endswith("*") else [""]
    return [f"{lead}{whole}{rest}" for lead in before for rest in after]


def words_of(value: str) -> list[str]:
    """Return the words of a name key, folded."""
    return re.sub(r"[*?=]", " ", fold(value)).split()


def fuzzily(keyword: str, value: str, tx: Transaction) -> Bound | None:
    """Match a name literally, or by its words: each begins one of the name's, in any order and any group."""
    literal = KEYS[keyword][1](value, tx)
    if literal is None or keyword not in FUZZY:
        return literal
    worded = (
        FUZZY[keyword].one_of(
            [Pattern(f"{lead}{word}*") for lead in ("", "* ", "*=")], tx.dialect.name, f"_word_{place}"
        )
        for place, word in enumerate(words_of(value))
    )
    return any_of(literal, all_of(*worded))


class _Texts:
    """The texts of one tag that studies have in `schema.study_texts`."""

    def __init__(self, tag: int) -> None:
        self._of_tag = schema.study_texts.c.tag + sa.literal_column("0") == sa.literal_column(str(tag))
        self._text = Compared(schema.study_texts.c.text, f"text_{tag:08x}")
        self._having = lru_cache(maxsize=16)(self._has)

    def with_one(self, pattern: Pattern, dialect: str) -> Bound:
        """Return the condition that a study has a text that matches."""
        text = self._text.one_of([pattern], dialect)
        return Bound(self._having(text.form), text.values)

    def _has(self, text: Condition) -> Condition:
        table = schema.study_texts
        # By the index of the study's texts, not by that of the tag's; looked at study by study, never joined.
        matched = sa.select(table.c.id).where(table.c.study_pk == _studies.c.id, self._of_tag, text)
        one = matched.correlate(_studies).limit(sa.literal_column("1")).offset(sa.literal_column("0"))
        return sa.exists(one)


def _uids(column: sa.Column[Any]) -> Rule:
    """List of UID matching (PS3.4 C.2.2.2.2); ``*`` is no wildcard in a UID."""
    compared = _compared(column)

    def condition(value: str, tx: Transaction) -> Bound | None:
        if not value:
            return None
        listed = [uid.strip() for uid in value.split("\\")]
        if len(listed) > MAX_LISTED:
            raise MatchRejected(f"a key lists {len(listed)} UIDs, {MAX_LISTED} are taken")
        return compared.to("=", listed[0]) if len(listed) == 1 else compared.among(listed, tx.dialect.name)

    return condition


def _among(column: sa.Column[Any]) -> Rule:
    """Match one value of several that a column holds; a wildcard may reach from one value into the next."""
    compared = _compared(column)

    def condition(value: str, tx: Transaction) -> Bound | None:
        if is_universal(value):
            return None
        wanted = _pattern(value).text
        forms = (f"{lead}{wanted}{rest}" for lead in ("", "*\\") for rest in ("", "\\*"))
        return compared.one_of([Pattern(form) for form in forms], tx.dialect.name)

    return condition


_DATE = re.compile(r"\d{8}", re.ASCII)
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", re.ASCII)
_LAST_TIME = "235959.999999"
"""Fills up a shortened time; no other letter is used, since a database may sort signs in its own way."""


def _range(column: sa.Column[Any], form: re.Pattern[str], filler: str = "") -> Rule:
    """Range matching, both ends included (PS3.4 C.2.2.2.5); a shortened time means its whole hour or minute."""
    compared, is_told = _compared(column), Bound(column != sa.literal_column("''"))

    def condition(value: str, _: Transaction) -> Bound | None:
        if is_universal(value):
            return None
        first, last = _ends(value, form)
        begin = compared.to(">=", first) if first else is_told
        return all_of(begin, compared.to("<=", last + filler[len(last) :])) if last else begin

    return condition


def _ends(value: str, form: re.Pattern[str]) -> tuple[str, str]:
    """Return the first and the last of a range, both of a single value; an open end is empty."""
    first, dash, last = (part.strip() for part in value.partition("-"))
    if not dash:
        last = first
    if not (first or last) or any(end and not form.fullmatch(end) for end in (first, last)):
        raise MatchRejected("a date or time key is neither a value nor a range of values")
    return first, last


def days_of(value: str) -> tuple[str, str] | None:
    """Return the first and the last day that a date key asks for, open ends filled up; None for universal matching."""
    if is_universal(value):
        return None
    first, last = _ends(value, _DATE)
    return first or "00000000", last or "99999999"


def _number(column: sa.Column[Any]) -> Rule:
    """Single value matching of an integer."""
    compared = _compared(column)

    def condition(value: str, _: Transaction) -> Bound | None:
        if not value:
            return None
        if not re.fullmatch(r"[+-]?\d{1,12}", value.strip(), re.ASCII):
            raise MatchRejected("a number key is not an integer")
        return compared.to("=", int(value))

    return condition


def _modalities(value: str, tx: Transaction) -> Bound | None:
    """Match a study where any of its series matches: (0008,0061) Modalities in Study."""
    wanted = [_pattern(part) for part in value.split("\\")]
    if any(is_universal(pattern.text) for pattern in wanted):
        return None
    known = modalities.combinations(tx)
    if known is None:
        of_series = _OF_ANY_SERIES.one_of(wanted, tx.dialect.name)
        return Bound(_has_series(of_series.form), of_series.values)
    return _COMBINATION.among(with_any(known, wanted), tx.dialect.name)


_COMBINATION: Final = Compared(_studies.c.modalities.concat(""), "modalities")
"""Not the bare column: where its index helps, `storage.narrowing` has used it."""

_any_series = _series.alias("any_series")
"""Another name for the table: at series and instance level the query itself is about series."""

_OF_ANY_SERIES: Final = Compared(_any_series.c.modality, "any_modality")


@lru_cache(maxsize=16)
def _has_series(of_series: Condition) -> Condition:
    return sa.exists().where(_any_series.c.study_pk == _studies.c.id, of_series)


def with_any(known: Sequence[str], wanted: Sequence[Pattern]) -> list[str]:
    """Return the combinations of modalities of which one is wanted."""
    return [each for each in known if any(one.matches(part) for part in each.split("\\") for one in wanted)]


BY_VR: Final[Mapping[str, Callable[[sa.Column[Any]], Rule]]] = {
    **dict.fromkeys(("AE", "CS", "LO", "SH", "UC", "UR", "UT"), _text),
    "DA": lambda column: _range(column, _DATE),
    "PN": _name,
    "UI": _uids,
}
"""How values match by their VR, in tables other than those below; a column of names holds them folded."""


# ------------------------------------------------------------------------------------------------------- the table
KEYS: Final[Mapping[str, tuple[Level, Rule]]] = {
    "PatientID": (Level.STUDY, _text(_studies.c.patient_id)),
    "IssuerOfPatientID": (Level.STUDY, _text(_studies.c.issuer_of_patient_id)),
    "PatientName": (Level.STUDY, _name(_studies.c.patient_name_folded, "PatientName")),
    "PatientBirthDate": (Level.STUDY, _range(_studies.c.patient_birth_date, _DATE)),
    "PatientSex": (Level.STUDY, _text(_studies.c.patient_sex)),
    "StudyInstanceUID": (Level.STUDY, _uids(_studies.c.study_instance_uid)),
    "StudyDate": (Level.STUDY, _range(_studies.c.study_date, _DATE)),
    "StudyTime": (Level.STUDY, _range(_studies.c.study_time, _TIME, _LAST_TIME)),
    "AccessionNumber": (Level.STUDY, _text(_studies.c.accession_number)),
    "StudyID": (Level.STUDY, _text(_studies.c.study_id)),
    "StudyDescription": (Level.STUDY, _text(_studies.c.study_description)),
    "ReferringPhysicianName": (
        Level.STUDY,
        _name(_studies.c.referring_physician_name_folded, "ReferringPhysicianName"),
    ),
    "ModalitiesInStudy": (Level.STUDY, _modalities),
    "NumberOfStudyRelatedSeries": (Level.STUDY, _number(_studies.c.series_count)),
    "NumberOfStudyRelatedInstances": (Level.STUDY, _number(_studies.c.instance_count)),
    "SeriesInstanceUID": (Level.SERIES, _uids(_series.c.series_instance_uid)),
    "Modality": (Level.SERIES, _text(_series.c.modality)),
    "SeriesNumber": (Level.SERIES, _number(_series.c.series_number)),
    "SeriesDescription": (Level.SERIES, _text(_series.c.series_description)),
    "BodyPartExamined": (Level.SERIES, _text(_series.c.body_part_examined)),
    "ProtocolName": (Level.SERIES, _text(_series.c.protocol_name)),
    "Manufacturer": (Level.SERIES, _text(_series.c.manufacturer)),
    "StationName": (Level.SERIES, _text(_series.c.station_name)),
    "PerformedProcedureStepStartDate": (Level.SERIES, _range(_series.c.pps_start_date, _DATE)),
    "PerformedProcedureStepStartTime": (Level.SERIES, _range(_series.c.pps_start_time, _TIME, _LAST_TIME)),
    "RequestAttributesSequence.ScheduledProcedureStepID": (
        Level.SERIES,
        _among(_series.c.scheduled_procedure_step_ids),
    ),
    "RequestAttributesSequence.RequestedProcedureID": (Level.SERIES, _among(_series.c.requested_procedure_ids)),
    "NumberOfSeriesRelatedInstances": (Level.SERIES, _number(_series.c.instance_count)),
    "SOPInstanceUID": (Level.INSTANCE, _uids(_instances.c.sop_instance_uid)),
    "SOPClassUID": (Level.INSTANCE, _uids(_instances.c.sop_class_uid)),
    "InstanceNumber": (Level.INSTANCE, _number(_instances.c.instance_number)),
    "Rows": (Level.INSTANCE, _number(_instances.c["rows"])),
    "Columns": (Level.INSTANCE, _number(_instances.c["columns"])),
    "NumberOfFrames": (Level.INSTANCE, _number(_instances.c.number_of_frames)),
    "BitsAllocated": (Level.INSTANCE, _number(_instances.c.bits_allocated)),
}
"""keyword -> the level it belongs to, and how it matches."""


FUZZY: Final[Mapping[str, Compared]] = {
    "PatientName": _compared(_studies.c.patient_name_folded),
    "ReferringPhysicianName": _compared(_studies.c.referring_physician_name_folded),
}
"""The names that can be matched by their words, and where."""

TAGS: Final[Mapping[str, int]] = {
    "PatientName": 0x00100010,
    "ReferringPhysicianName": 0x00080090,
    "PatientID": 0x00100020,
    "AccessionNumber": 0x00080050,
    "StudyDescription": 0x00081030,
}
"""The tags under which `schema.study_texts` holds texts."""

_TEXTS: Final = {keyword: _Texts(TAGS[keyword]) for keyword in FUZZY}


def supported(level: Level) -> frozenset[str]:
    """Return the keywords that a query at `level` can match: its own and those of the levels above."""
    return frozenset(keyword for keyword, (own, _) in KEYS.items() if own <= level)

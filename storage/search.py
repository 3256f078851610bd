"""Matching keys to SQL: what QIDO-RS and C-FIND ask of studies, series and instances (PS3.4 C.2.2.2, PS3.18 8.3.4).

A key and its value come as DICOM spells them; nothing here knows which protocol brought them.  The rules are a table:
which column a keyword means, at which level, and how its values match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.catalog import studies as catalogue
from storage.errors import Rejected
from storage.names import fold

if TYPE_CHECKING:
    from storage.database import Transaction
    from storage.records import InstanceRecord, SeriesRecord, StudyRecord

_studies, _series, _instances = schema.studies, schema.series, schema.instances

MAX_LISTED = 2000
"""UIDs in one key."""

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


Condition = sa.ColumnElement[bool]
Rule = Callable[[str, str], "Condition | None"]
"""(value, database dialect) -> condition, None for universal matching."""


# ------------------------------------------------------------------------------------------------ how values match
def _universal(value: str) -> bool:
    return value.strip("*") == ""


def _text(column: sa.ColumnElement[Any]) -> Rule:
    """Single value and wildcard matching, by case (PS3.4 C.2.2.2.1, C.2.2.2.4)."""

    def condition(value: str, dialect: str) -> Condition | None:
        return None if _universal(value) else _like(column, value, dialect)

    return condition


def _name(column: sa.Column[Any]) -> Rule:
    """Person names: without case, accents or empty trailing components; each ``=`` group may match alone."""

    def condition(value: str, dialect: str) -> Condition | None:
        if _universal(value):
            return None
        folded = fold(value.rstrip("^= "))
        if "=" in folded:
            return _like(column, folded, dialect)
        groups = (folded, f"{folded}=*", f"*={folded}", f"*={folded}=*")
        return sa.or_(*(_like(column, group, dialect, limit=MAX_WILDCARDS + 2) for group in groups))

    return condition


def _uids(column: sa.Column[Any]) -> Rule:
    """List of UID matching (PS3.4 C.2.2.2.2); ``*`` is no wildcard in a UID."""

    def condition(value: str, _: str) -> Condition | None:
        if not value:
            return None
        listed = [uid.strip() for uid in value.split("\\")]
        if len(listed) > MAX_LISTED:
            raise MatchRejected(f"a key lists {len(listed)} UIDs, {MAX_LISTED} are taken")
        return column.in_(listed)

    return condition


_DATE = re.compile(r"\d{8}", re.ASCII)
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", re.ASCII)
_LAST_TIME = "235959.999999"
"""Fills up a shortened time; no other letter is used, since a database may sort signs in its own way."""


def _range(column: sa.Column[Any], form: re.Pattern[str], filler: str = "") -> Rule:
    """Range matching, both ends included (PS3.4 C.2.2.2.5); a shortened time means its whole hour or minute."""

    def condition(value: str, _: str) -> Condition | None:
        if _universal(value):
            return None
        first, dash, last = (part.strip() for part in value.partition("-"))
        if not dash:
            last = first
        if not (first or last) or any(end and not form.fullmatch(end) for end in (first, last)):
            raise MatchRejected("a date or time key is neither a value nor a range of values")
        begin = column >= first if first else column != ""
        return sa.and_(begin, column <= last + filler[len(last) :]) if last else begin

    return condition


def _number(column: sa.Column[Any]) -> Rule:
    """Single value matching of an integer."""

    def condition(value: str, _: str) -> Condition | None:
        if not value:
            return None
        if not re.fullmatch(r"[+-]?\d{1,12}", value.strip(), re.ASCII):
            raise MatchRejected("a number key is not an integer")
        return column == int(value)

    return condition


def _any_series(column: sa.Column[Any]) -> Rule:
    """Match a study where any of its series matches: (0008,0061) Modalities in Study."""
    # Another name for the table: at series and instance level the query itself is about series.
    others = _series.alias("any_series")
    inner = _text(others.c[column.name])

    def condition(value: str, dialect: str) -> Condition | None:
        options = [matched for part in value.split("\\") if (matched := inner(part, dialect)) is not None]
        if not options or len(options) <= value.count("\\"):
            return None
        return sa.exists().where(others.c.study_pk == _studies.c.id, sa.or_(*options))

    return condition


def _like(column: sa.ColumnElement[Any], value: str, dialect: str, *, limit: int = MAX_WILDCARDS) -> Condition:
    """Match ``*`` and ``?``; everything else, also what is special to the database, is itself."""
    pattern = re.sub(r"\*+", "*", value)
    if not re.search(r"[*?]", pattern):
        return column == pattern
    if len(re.findall(r"[*?]", pattern)) > limit:
        raise MatchRejected(f"a key holds more than {MAX_WILDCARDS} wildcards")
    if dialect == "sqlite":  # its LIKE knows no case
        return column.op("GLOB", is_comparison=True)(re.sub(r"\[", "[[]", pattern))
    escaped = re.sub(r"([%_\\])", r"\\\1", pattern)
    return column.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")


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
    "PatientName": (Level.STUDY, _name(_studies.c.patient_name_folded)),
    "PatientBirthDate": (Level.STUDY, _range(_studies.c.patient_birth_date, _DATE)),
    "PatientSex": (Level.STUDY, _text(_studies.c.patient_sex)),
    "StudyInstanceUID": (Level.STUDY, _uids(_studies.c.study_instance_uid)),
    "StudyDate": (Level.STUDY, _range(_studies.c.study_date, _DATE)),
    "StudyTime": (Level.STUDY, _range(_studies.c.study_time, _TIME, _LAST_TIME)),
    "AccessionNumber": (Level.STUDY, _text(_studies.c.accession_number)),
    "StudyID": (Level.STUDY, _text(_studies.c.study_id)),
    "StudyDescription": (Level.STUDY, _text(_studies.c.study_description)),
    "ReferringPhysicianName": (Level.STUDY, _text(_studies.c.referring_physician_name)),
    "ModalitiesInStudy": (Level.STUDY, _any_series(_series.c.modality)),
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
    "NumberOfSeriesRelatedInstances": (Level.SERIES, _number(_series.c.instance_count)),
    "SOPInstanceUID": (Level.INSTANCE, _uids(_instances.c.sop_instance_uid)),
    "SOPClassUID": (Level.INSTANCE, _uids(_instances.c.sop_class_uid)),
    "InstanceNumber": (Level.INSTANCE, _number(_instances.c.instance_number)),
    "Rows": (Level.INSTANCE, _number(_instances.c["rows"])),
    "Columns": (Level.INSTANCE, _number(_instances.c["columns"])),
    "NumberOfFrames": (Level.INSTANCE, _number(_instances.c.number_of_frames)),
}
"""keyword -> the level it belongs to, and how it matches."""


def supported(level: Level) -> frozenset[str]:
    """Return the keywords that a query at `level` can match: its own and those of the levels above."""
    return frozenset(keyword for keyword, (own, _) in KEYS.items() if own <= level)


# ------------------------------------------------------------------------------------------------------ the queries
def studies(tx: Transaction, matches: Iterable[Match], *, limit: int, offset: int = 0) -> list[StudyRecord]:
    """Return the matching studies, the newest study date first; the order holds from page to page.

    Raises
    ------
    MatchRejected
        A value cannot be matched with its attribute; the message never repeats it.
    """
    query = (
        sa.select(_studies)
        .where(*_conditions(tx, matches, Level.STUDY))
        .order_by(_studies.c.study_date.desc().nulls_last(), _studies.c.id.desc())
    )
    return [catalogue.as_study(row) for row in tx.execute(query.limit(limit).offset(offset))]


def series(tx: Transaction, matches: Iterable[Match], *, limit: int, offset: int = 0) -> list[SeriesRecord]:
    """Return the matching series, as `studies` does, by Series Number within a study."""
    query = (
        sa.select(_studies.c.study_instance_uid, _series)
        .join_from(_series, _studies, _studies.c.id == _series.c.study_pk)
        .where(*_conditions(tx, matches, Level.SERIES))
        .order_by(_studies.c.id.desc(), _series.c.series_number, _series.c.id)
    )
    return [catalogue.as_series(row) for row in tx.execute(query.limit(limit).offset(offset))]


def instances(tx: Transaction, matches: Iterable[Match], *, limit: int, offset: int = 0) -> list[InstanceRecord]:
    """Return the matching instances, as `studies` does, by Series and Instance Number within a study."""
    query = (
        catalogue.INSTANCES.where(*_conditions(tx, matches, Level.INSTANCE))
        .order_by(_studies.c.id.desc(), _series.c.series_number, _series.c.id)
        .order_by(_instances.c.instance_number, _instances.c.id)
    )
    rows = tx.execute(query.limit(limit).offset(offset))
    return [catalogue.as_instance(row) for row in rows]


def count(tx: Transaction, matches: Iterable[Match], level: Level) -> int:
    """Return how many studies, series or instances match."""
    table = {Level.STUDY: _studies, Level.SERIES: _series, Level.INSTANCE: _instances}[level]
    source: sa.FromClause = table
    if level > Level.STUDY:
        source = source.join(_studies, _studies.c.id == table.c.study_pk)
    if level is Level.INSTANCE:
        source = source.join(_series, _series.c.id == _instances.c.series_pk)
    query = sa.select(sa.func.count()).select_from(source).where(*_conditions(tx, matches, level))
    return int(tx.execute(query).scalar_one())


def _conditions(tx: Transaction, matches: Iterable[Match], level: Level) -> Sequence[Condition]:
    known = [(KEYS[match.keyword], match.value) for match in matches]
    if any(own > level for (own, _), _ in known):
        raise MatchRejected("a key belongs to a level below the one that is asked for")
    conditions = (rule(value, tx.dialect.name) for (_, rule), value in known)
    return [catalogue.IN_SIGHT, *(condition for condition in conditions if condition is not None)]

"""What QIDO-RS and C-FIND ask of studies, series and instances (PS3.4 C.2.2.2, PS3.18 8.3.4).

A key and its value come as DICOM spells them; nothing here knows which protocol brought them.  How values match is
the table of `storage.matching`.

A search looks along the studies in the order of its answers, the newest first, and ends when the page is full.  That
is quick where many match.  Where few do, an index names them beforehand (`storage.narrowing`): which of the two it is,
is looked up rather than left to the database, which guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import narrowing, schema
from storage.catalog import studies as catalogue
from storage.catalog.additions import STUDY_FACTS
from storage.conditions import Bound, Compared, Condition, values_of
from storage.matching import KEYS, Level, Match, MatchRejected, fuzzily, is_universal, supported
from storage.statements import Statement

if TYPE_CHECKING:
    from storage.database import Transaction
    from storage.records import InstanceRecord, SeriesRecord, StudyRecord

__all__ = [
    "FACTS",
    "Level",
    "Match",
    "MatchRejected",
    "count",
    "instances",
    "series",
    "studies",
    "study_rows",
    "supported",
]

_studies, _series, _instances = schema.studies, schema.series, schema.instances

FACTS: Final = ("study_instance_uid", *STUDY_FACTS, "modalities", "series_count", "instance_count")
"""What an answer tells of a study."""

_OUT_OF_SIGHT: Final = (
    sa.select(_studies.c.id)
    .where(~catalogue.IN_SIGHT, _studies.c.study_instance_uid.in_(sa.select(schema.hidden.c.study_instance_uid)))
    .correlate(None)
)
"""The few studies of which every instance is hidden."""


class _Listing:
    """Studies in one order, and how a page of them is asked for: with ``limit`` and ``offset``."""

    def __init__(
        self, columns: sa.Select[Any], order: Sequence[sa.ColumnElement[Any]], *, in_index: Iterable[str] = ()
    ) -> None:
        """Take what is told of each study.  `in_index` are the keys that the index of the order knows."""
        self.page = _paged(columns.order_by(*order))
        self.in_index = frozenset(in_index)
        self._all_in_sight = columns.order_by(*order).where(catalogue.IN_SIGHT)
        # Nearly always there are none: to know it spares the look at every study on the way.
        is_seen = sa.or_(~_OUT_OF_SIGHT.exists(), _studies.c.id.not_in(_OUT_OF_SIGHT))
        seen = sa.select(_studies.c.id).where(is_seen)
        self._on_page = _paged(seen.order_by(*order)).correlate(None)

    def far_page(self, *matched: Condition) -> sa.Select[Any]:
        """Return a page before which only the index is read, not the studies that are skipped."""
        return self._all_in_sight.where(_studies.c.id.in_(self._on_page.where(*matched)))


def _paged(ordered: sa.Select[Any]) -> sa.Select[Any]:
    return ordered.limit(sa.bindparam("limit")).offset(sa.bindparam("offset"))


_NEWEST_FIRST: Final = (_studies.c.study_date.desc().nulls_last(), _studies.c.id.desc())
_BY_NAME: Final = (_studies.c.patient_name_order.nulls_last(), _studies.c.id)
_FACTS: Final = sa.select(*(_studies.c[name] for name in FACTS))
_NEWEST: Final = _Listing(_FACTS, _NEWEST_FIRST, in_index=["StudyDate"])
_NEWEST_RECORDS: Final = _Listing(sa.select(_studies), _NEWEST_FIRST, in_index=["StudyDate"])
_NAMES: Final = _Listing(_FACTS, _BY_NAME)

_SHORT: Final = 200
"""Matches that are looked for among the newest studies first, and that are read though they are skipped."""

_EVERY: Final = 100_000
"""As many as are counted at most where nobody says how many."""


def studies(tx: Transaction, matches: Iterable[Match], *, limit: int, offset: int = 0) -> list[StudyRecord]:
    """Return the matching studies, the newest study date first; the order holds from page to page.

    Raises
    ------
    MatchRejected
        A value cannot be matched with its attribute; the message never repeats it.
    """
    return [catalogue.as_study(row) for row in _rows(tx, _NEWEST_RECORDS, matches, limit, offset)]


def study_rows(
    tx: Transaction, matches: Iterable[Match], *, limit: int, offset: int = 0, by_name: bool = False
) -> Sequence[Any]:
    """Return of the matching studies, as `studies` does, what an answer tells: `FACTS`, under these names.

    `by_name` gives them as a Vietnamese list of patients, those without a name last.
    """
    return _rows(tx, _NAMES if by_name else _NEWEST, matches, limit, offset)


def _rows(tx: Transaction, listing: _Listing, matches: Iterable[Match], limit: int, offset: int) -> Sequence[Any]:
    asked = list(matches)
    matched = _matched(tx, asked, Level.STUDY)
    where = {"limit": limit, "offset": offset}
    keys = _keys(asked)
    told = {keyword for keyword, value in keys.items() if not is_universal(value)}
    if offset > _SHORT and told <= listing.in_index:
        return _found(tx, listing.far_page, matched[1:], where)
    newest_first = listing is not _NAMES
    if newest_first and offset + limit <= _SHORT and narrowing.names_a_patient(keys):
        rows = _among_newest(tx, listing, matched, where)
        if len(rows) == limit:
            return rows
    few = _few(tx, asked, matched, offset + limit, newest_first=newest_first)
    return [] if few is None else _found(tx, listing.page.where, [*matched, *few], where)


def _among_newest(tx: Transaction, listing: _Listing, matched: Sequence[Bound], where: Mapping[str, int]) -> list[Any]:
    """Return a page's rows as far as they stand among the newest few thousand studies."""
    for (day,) in _LOOKED_AT.rows(tx, {}):
        if day is not None:
            return _found(tx, listing.page.where, [*matched, _SINCE.to(">=", day)], where)
    return []


_SINCE: Final = Compared(_studies.c.study_date, "since")
_LOOKED_AT = Statement(
    sa.select(_studies.c.study_date)
    .order_by(*_NEWEST_FIRST)
    .limit(sa.literal_column("1"))
    .offset(sa.literal_column("4000"))
)


def _found(
    tx: Transaction, query: Callable[..., sa.Select[Any]], conditions: Sequence[Bound], page: Mapping[str, int]
) -> list[Any]:
    """Return the rows of a query of which these conditions hold."""
    statement = _laid_out(query, *(condition.form for condition in conditions))
    return statement.rows(tx, {**page, **values_of(conditions)})


@lru_cache(maxsize=128)  # what the programs of a site ask for is of some dozens of forms
def _laid_out(query: Callable[..., sa.Select[Any]], *forms: Condition) -> Statement:
    return Statement(query(*forms))


def series(tx: Transaction, matches: Iterable[Match], *, limit: int, offset: int = 0) -> list[SeriesRecord]:
    """Return the matching series, as `studies` does, by Series Number within a study."""
    asked = list(matches)
    matched = _matched(tx, asked, Level.SERIES)
    few = _few(tx, asked, matched, offset + limit)
    if few is None:
        return []
    rows = _found(tx, _SERIES.where, [*few, *matched], {"limit": limit, "offset": offset})
    return [catalogue.as_series(row) for row in rows]


_SERIES: Final = _paged(
    sa.select(_studies.c.study_instance_uid, _series)
    .join_from(_series, _studies, _studies.c.id == _series.c.study_pk)
    .order_by(_studies.c.id.desc(), _series.c.series_number, _series.c.id)
)


def instances(tx: Transaction, matches: Iterable[Match], *, limit: int, offset: int = 0) -> list[InstanceRecord]:
    """Return the matching instances, as `studies` does, by Series and Instance Number within a study."""
    asked = list(matches)
    matched = _matched(tx, asked, Level.INSTANCE)
    few = _few(tx, asked, matched, offset + limit)
    if few is None:
        return []
    rows = _found(tx, _INSTANCES.where, [*few, *matched], {"limit": limit, "offset": offset})
    return [catalogue.as_instance(row) for row in rows]


_INSTANCES: Final = _paged(
    catalogue.INSTANCES.order_by(
        *(_studies.c.id.desc(), _series.c.series_number, _series.c.id),
        *(_instances.c.instance_number, _instances.c.id),
    )
)


def count(tx: Transaction, matches: Iterable[Match], level: Level, *, most: int | None = None) -> int:
    """Return how many studies, series or instances match; `most` where there are that many or more."""
    asked = list(matches)
    matched = _matched(tx, asked, level)
    few = _few(tx, asked, matched, most or _EVERY)
    if few is None:
        return 0
    table = {Level.STUDY: _studies, Level.SERIES: _series, Level.INSTANCE: _instances}[level]
    source: sa.FromClause = table
    if level > Level.STUDY:
        source = source.join(_studies, _studies.c.id == table.c.study_pk)
    if level is Level.INSTANCE:
        source = source.join(_series, _series.c.id == _instances.c.series_pk)
    conditions = [*few, *matched]
    forms = (condition.form for condition in conditions)
    found = sa.select(sa.literal(1)).select_from(source).where(*forms).limit(most).subquery()
    return int(tx.execute(sa.select(sa.func.count()).select_from(found), values_of(conditions)).scalar_one())


def _matched(tx: Transaction, asked: Sequence[Match], level: Level) -> list[Bound]:
    """Return what has to hold of a row."""
    if any(KEYS[match.keyword][0] > level for match in asked):
        raise MatchRejected("a key belongs to a level below the one that is asked for")
    found = [
        fuzzily(match.keyword, match.value, tx) if match.fuzzy else KEYS[match.keyword][1](match.value, tx)
        for match in asked
    ]
    return [_IN_SIGHT, *(condition for condition in found if condition is not None)]


_IN_SIGHT: Final = Bound(catalogue.IN_SIGHT)


def _keys(asked: Sequence[Match]) -> dict[str, str]:
    return {match.keyword: narrowing.sought(match) for match in asked}


def _few(
    tx: Transaction, asked: Sequence[Match], matched: Sequence[Bound], page_end: int, *, newest_first: bool = False
) -> list[Bound] | None:
    """Return the condition that names the few studies among which the matches are; None where there are none."""
    if len(matched) == 1:  # to be in sight is all that is asked for
        return []
    is_literal = not any(match.fuzzy for match in asked)
    few = narrowing.few_studies(tx, _keys(asked), page_end, newest_first=newest_first and is_literal)
    if few is None:
        return []
    return [_FEW.among(few, tx.dialect.name)] if few else None


_FEW: Final = Compared(_studies.c.id, "few")

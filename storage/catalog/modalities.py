"""The combinations of modalities that studies have: few, however many studies there are."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.database import Transaction

MOST: Final = 200
"""Combinations that are worth listing; a hospital has some dozens."""

_studies = schema.studies
_modalities = _studies.c.modalities


def combinations(tx: Transaction) -> list[str] | None:
    """Return each combination once, as the catalogue writes them; None where there are too many."""
    found = [row.value for row in _COMBINATIONS.rows(tx, {"most": MOST + 1})]
    return found if len(found) <= MOST else None


def newest_with(tx: Transaction, among: Sequence[str], days: tuple[str, str] | None, *, most: int) -> list[int]:
    """Return the newest `most` studies with one of these combinations, of the `days` from the first to the last.

    The index holds the studies of each combination in this order: the newest of each are read, and no more.
    """
    if not among:
        return []
    values: dict[str, object] = {"most": most, **dict(zip(_names(len(among)), among, strict=True))}
    if days is not None:
        values["first"], values["last"] = days
    return [row.id for row in _newest(len(among), of_days=days is not None).rows(tx, values)]


@cache
def _newest(combinations: int, *, of_days: bool) -> Statement:
    date = _studies.c.study_date
    days = (date >= sa.bindparam("first"), date <= sa.bindparam("last")) if of_days else ()
    newest = [
        sa.select(
            _first(
                sa.select(_studies.c.id, date).where(_modalities == sa.bindparam(name), *days).order_by(*_NEWEST_FIRST)
            ).subquery()
        )
        for name in _names(combinations)
    ]
    every = sa.union_all(*newest).subquery()
    order = (every.c.study_date.desc().nulls_last(), every.c.id.desc())
    return Statement(_first(sa.select(every.c.id).order_by(*order)))


def _names(combinations: int) -> list[str]:
    return [f"combination_{number}" for number in range(combinations)]


def _first(ordered: sa.Select[Any]) -> sa.Select[Any]:
    return ordered.limit(sa.bindparam("most")).offset(sa.literal_column("0"))


_NEWEST_FIRST = (_studies.c.study_date.desc().nulls_last(), _studies.c.id.desc())


def _one_after_the_other() -> sa.Select[tuple[str]]:
    """Step through the index from one value to the next: one look-up for each, whatever the number of studies."""
    first = sa.select(sa.func.min(_modalities).label("value")).cte("one", recursive=True)
    after = sa.select(sa.func.min(_modalities)).where(_modalities > first.c.value).scalar_subquery()
    every = first.union_all(sa.select(after).where(first.c.value.is_not(None)))
    known = sa.select(every.c.value).where(every.c.value.is_not(None))
    return _first(known)


_COMBINATIONS = Statement(_one_after_the_other())

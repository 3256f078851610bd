"""The combinations of modalities that studies have: few, however many studies there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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


def newest_with(
    tx: Transaction, among: Sequence[str], conditions: Sequence[sa.ColumnElement[bool]], *, most: int
) -> list[int]:
    """Return the newest `most` studies with one of these combinations that meet `conditions` on the study date.

    The index holds the studies of each combination in this order: the newest of each are read, and no more.
    """
    newest = [
        sa.select(
            sa.select(_studies.c.id, _studies.c.study_date)
            .where(_modalities == each, *conditions)
            .order_by(*_NEWEST_FIRST)
            .limit(most)
            .subquery()
        )
        for each in among
    ]
    if not newest:
        return []
    every = sa.union_all(*newest).subquery()
    order = (every.c.study_date.desc().nulls_last(), every.c.id.desc())
    return [row.id for row in tx.execute(sa.select(every.c.id).order_by(*order).limit(most))]


_NEWEST_FIRST = (_studies.c.study_date.desc().nulls_last(), _studies.c.id.desc())


def _one_after_the_other() -> sa.Select[tuple[str]]:
    """Step through the index from one value to the next: one look-up for each, whatever the number of studies."""
    first = sa.select(sa.func.min(_modalities).label("value")).cte("one", recursive=True)
    after = sa.select(sa.func.min(_modalities)).where(_modalities > first.c.value).scalar_subquery()
    every = first.union_all(sa.select(after).where(first.c.value.is_not(None)))
    known = sa.select(every.c.value).where(every.c.value.is_not(None))
    return known.limit(sa.bindparam("most")).offset(sa.literal_column("0"))


_COMBINATIONS = Statement(_one_after_the_other())

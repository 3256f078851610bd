"""Which studies a part of a text names: by how it begins, or by any three letters of it."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage import schema
from storage.statements import Statement, at_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Transaction
    from storage.wildcards import Pattern

GRAM: Final = 3
"""Letters that an index of trigrams needs."""

_texts = schema.study_texts


def worth_naming(tx: Transaction, page_end: int) -> int:
    """Return how many studies are still found sooner one by one than on the way along the newest.

    To read a study by its number costs as much as to pass a dozen on the way, of which those that fill the page up to
    `page_end` are met the later the fewer they are.
    """
    [(newest,)] = _NEWEST.rows(tx, {})
    return min(5000, max(50, math.isqrt(page_end * (newest or 0) // 12)))


def studies_with(tx: Transaction, tag: int, pattern: Pattern, *, most: int) -> list[int] | None:
    """Return the studies of which a text matches, the newest first, where an index tells; None where they are more.

    A study of which two texts match stands there twice.
    """
    runs = [run for run in pattern.runs if len(run) >= GRAM]
    values = {"most": most + 1}
    if runs and runs != [pattern.start] and _has_trigrams(tx):
        phrases = " AND ".join('"' + run.replace('"', '""') + '"' for run in runs)
        found = _run(tx, _inside(tag), {**values, "phrases": phrases, "pattern": pattern.spelt(tx.dialect.name)})
    elif pattern.start and pattern.end:
        between = {"start": pattern.start, "end": pattern.end, "pattern": pattern.spelt(tx.dialect.name)}
        found = _run(tx, _BEGINNING, {**values, **between, "tag": tag})
    else:
        return None
    return found if len(found) <= most else None


def _run(tx: Transaction, statements: Mapping[str, Statement], values: Mapping[str, Any]) -> list[int]:
    [(found,)] = statements[tx.dialect.name].rows(tx, values)
    return found or []


def _has_trigrams(tx: Transaction) -> bool:
    return tx.dialect.name == "postgresql" or bool(_TRIGRAMS.rows(tx, {}))


# -------------------------------------------------------------------------------------------------- the statements
_MATCHES: Final = {
    "sqlite": _texts.c.text.op("GLOB", is_comparison=True)(sa.bindparam("pattern")),
    "postgresql": _texts.c.text.like(sa.bindparam("pattern"), escape="\\"),
}
_FOUND = sa.select(_texts.c.study_pk, _texts.c.study_date).limit(sa.bindparam("most")).offset(sa.literal_column("0"))
_BETWEEN = (
    _texts.c.tag == sa.bindparam("tag"),
    _texts.c.text >= sa.bindparam("start"),
    _texts.c.text < sa.bindparam("end"),
)


def _newest_first(found: sa.Select[Any], dialect: str) -> Statement:
    each = found.subquery()
    order = (each.c.study_date.desc().nulls_last(), each.c.study_pk.desc())
    return at_once(sa.select(each.c.study_pk).order_by(*order), dialect)


_BEGINNING: Final = {
    dialect: _newest_first(_FOUND.where(*_BETWEEN, matches), dialect) for dialect, matches in _MATCHES.items()
}

_trigrams = sa.table("study_texts_trigrams", sa.column("rowid", sa.Integer), sa.column("text", sa.Text))
_PHRASES = sa.literal_column("study_texts_trigrams").op("MATCH", is_comparison=True)(sa.bindparam("phrases"))


@cache
def _inside(tag: int) -> Mapping[str, Statement]:
    """Return the statements that look into texts of one tag, which stands in them: PostgreSQL's index is of a tag."""
    told = sa.literal_column(str(tag), sa.Integer)
    of_trigrams = _FOUND.select_from(_trigrams.join(_texts, _texts.c.id == _trigrams.c.rowid)).where(
        _PHRASES,
        _texts.c.tag + sa.literal_column("0") == told,  # not by its own index: by the trigrams
        _MATCHES["sqlite"],
    )
    return {
        "sqlite": _newest_first(of_trigrams, "sqlite"),
        "postgresql": _newest_first(_FOUND.where(_texts.c.tag == told, _MATCHES["postgresql"]), "postgresql"),
    }


_master = sa.table("sqlite_master", sa.column("name"))
_TRIGRAMS = Statement(sa.select(_master.c.name).where(_master.c.name == sa.literal_column("'study_texts_trigrams'")))
_NEWEST = Statement(sa.select(sa.func.max(schema.studies.c.id).label("newest")))

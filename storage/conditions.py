"""Conditions whose values stand beside them: the same question about other values is the same statement.

To build an expression, and to find out that its SQL is known already, takes SQLAlchemy several times as long as SQLite
takes to answer.  Here each form of a condition is laid out once, and equal forms are one object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from operator import eq, ge, le
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.sql import visitors

from storage.wildcards import Pattern

Condition = sa.ColumnElement[bool]

_FORMS: Final = 64
"""Forms of a kind that are kept: a key of many words has one of its own, and not a small one."""

_Compare = Callable[[Any, Any], Condition]
_COMPARISONS: Final[Mapping[str, _Compare]] = {"=": eq, ">=": ge, "<=": le}
_WILD: Final[Mapping[str, _Compare]] = {
    "sqlite": lambda column, text: column.op("GLOB", is_comparison=True)(text),
    "postgresql": lambda column, text: column.like(text, escape="\\"),
}
"""How a `Pattern`, as it is spelt for a database, is compared there; what is special to the database is itself."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A condition with a parameter for each of its values, and the values."""

    form: Condition
    values: Mapping[str, Any] = field(default_factory=dict)

    def whole(self) -> Condition:
        """Return the condition with its values in it: of such, any number can stand in one query."""

        def filled(element: Any, **_: Any) -> Condition | None:  # noqa: ANN401 - whatever a form is made of
            if not isinstance(element, sa.BindParameter) or element.key not in self.values:
                return None
            return sa.bindparam(element.key, self.values[element.key], type_=element.type, unique=True)

        return visitors.replacement_traverse(self.form, {}, filled)


def values_of(conditions: Sequence[Bound]) -> dict[str, Any]:
    """Return the values of several conditions, no two of which are on one column."""
    values = {name: value for condition in conditions for name, value in condition.values.items()}
    if len(values) < sum(len(condition.values) for condition in conditions):
        raise ValueError("two conditions have parameters of one name")
    return values


def all_of(*conditions: Bound) -> Bound:
    """Return the condition that all of these hold."""
    return Bound(_joined(sa.and_, *(each.form for each in conditions)), values_of(conditions))


def any_of(*conditions: Bound) -> Bound:
    """Return the condition that one of these holds."""
    return Bound(_joined(sa.or_, *(each.form for each in conditions)), values_of(conditions))


@lru_cache(maxsize=_FORMS)
def _joined(how: Callable[..., Condition], *forms: Condition) -> Condition:
    return how(*forms)


class Compared:
    """A column, and the forms of the conditions on it."""

    def __init__(self, column: sa.ColumnElement[Any], name: str) -> None:
        """Take the name by which parameters are called."""
        self._column = column
        self._name = name
        self._compared = cache(self._compare)
        self._fitting = lru_cache(maxsize=_FORMS)(self._fit)
        self._among = cache(self._is_among)

    def to(self, comparison: str, value: object) -> Bound:
        """Return the condition that the column is ``=``, ``>=`` or ``<=`` a value."""
        form, name = self._compared(comparison)
        return Bound(form, {name: value})

    def one_of(self, patterns: Sequence[Pattern], dialect: str, role: str = "") -> Bound:
        """Return the condition that the column matches a pattern; `role` tells it from another on the column."""
        names = tuple(f"{self._name}{role}_{place}" for place in range(len(patterns)))
        are_wild = tuple(pattern.wildcards > 0 for pattern in patterns)
        spelt = (pattern.spelt(dialect) if pattern.wildcards else pattern.text for pattern in patterns)
        return Bound(self._fitting(names, are_wild, dialect), dict(zip(names, spelt, strict=True)))

    def among(self, values: Sequence[Any], dialect: str) -> Bound:
        """Return the condition that the column holds one of any number of values."""
        form, name = self._among(dialect)
        listed = list(values)
        return Bound(form, {name: listed if dialect == "postgresql" else orjson.dumps(listed).decode()})

    def _compare(self, comparison: str) -> tuple[Condition, str]:
        name = f"{self._name}_{_COMPARISONS[comparison].__name__}"
        return _COMPARISONS[comparison](self._column, sa.bindparam(name, type_=self._column.type)), name

    def _fit(self, names: Sequence[str], are_wild: Sequence[bool], dialect: str) -> Condition:
        ways = {True: _WILD[dialect], False: eq}
        texts = (sa.bindparam(name, type_=sa.Text()) for name in names)
        return sa.or_(*(ways[is_wild](self._column, text) for text, is_wild in zip(texts, are_wild, strict=True)))

    def _is_among(self, dialect: str) -> tuple[Condition, str]:
        name = f"{self._name}_among"
        if dialect == "postgresql":
            return self._column == sa.any_(sa.bindparam(name, type_=sa.ARRAY(self._column.type))), name
        listed = sa.func.json_each(sa.bindparam(name, type_=sa.Text())).table_valued("value")
        return self._column.in_(sa.select(listed.c.value)), name

"""Conditions with their values beside them: one form for all values, and each value where it belongs."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from storage.conditions import Bound, Compared, all_of, any_of, values_of
from storage.wildcards import Pattern

_TEXT = Compared(sa.column("text", sa.Text), "text")
_NUMBER = Compared(sa.column("number", sa.Integer), "number")
_FORMS = [
    lambda text: _TEXT.to("=", text),
    lambda text: _TEXT.one_of([Pattern(text), Pattern(f"{text}*")], "sqlite"),
    lambda text: _TEXT.among([text] * len(text), "sqlite"),
    lambda text: any_of(_TEXT.to(">=", text), all_of(_TEXT.to("<=", text), _NUMBER.to("=", len(text)))),
]


@pytest.mark.parametrize("made", _FORMS)
def test_another_value_is_the_same_form(made: type[Bound]) -> None:
    one, other = made("a"), made("bcd")
    assert one.form is other.form
    assert one.values != other.values


def test_with_and_without_wildcards_are_two_forms() -> None:
    assert _TEXT.one_of([Pattern("a")], "sqlite").form is not _TEXT.one_of([Pattern("a*")], "sqlite").form


def test_a_value_is_not_lost_to_another_of_its_name() -> None:
    conditions = [_TEXT.to("=", "a"), _TEXT.to("=", "b")]
    with pytest.raises(ValueError, match="one name"):
        values_of(conditions)


def test_whole_conditions_on_one_column_stand_in_one_query() -> None:
    one, other = (_TEXT.one_of([Pattern(text)], "sqlite").whole() for text in ("a*", "*b"))
    with sa.create_engine("sqlite://").connect() as connection:
        listed = sa.union_all(*(sa.select(sa.literal(text).label("text")) for text in ("ab", "a", "b"))).subquery()
        found = connection.execute(sa.select(listed.c.text).where(one, other)).all()
    assert found == [("ab",)]

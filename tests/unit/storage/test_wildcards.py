"""A pattern means the same to SQLite, to an index's range, and to ourselves."""

from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from storage.conditions import Compared
from storage.wildcards import Pattern

LETTERS = st.text(alphabet="AB*?[]^-%_\\ấ𝔘\U0010ffff", max_size=8)


@given(LETTERS, LETTERS)
def test_sqlite_and_we_agree(pattern: str, value: str) -> None:
    with sqlite3.connect(":memory:") as connection:
        [(found,)] = connection.execute("SELECT ? GLOB ?", (value, Pattern(pattern).spelt("sqlite")))
    connection.close()
    assert bool(found) == Pattern(pattern).matches(value)


@given(LETTERS, LETTERS)
def test_what_matches_lies_between_start_and_end(pattern: str, value: str) -> None:
    told = Pattern(pattern)
    if told.start and told.end and told.matches(value):
        assert told.start.encode() <= value.encode() < told.end.encode()
        assert all(run in value for run in told.runs)


@pytest.mark.parametrize(
    ("start", "end"), [("A*", "B"), ("N\U0010ffff*", "O"), ("\ud7ff*", "\ue000"), ("\U0010ffff*", ""), ("*A", "")]
)
def test_the_end_is_the_least_text_after(start: str, end: str) -> None:
    assert Pattern(start).end == end


def test_postgresql_takes_its_own_signs_as_letters() -> None:
    assert Pattern("50%_a\\*b?").spelt("postgresql") == "50\\%\\_a\\\\%b_"
    compared = Compared(sa.column("text", sa.Text), "text")
    condition = compared.one_of([Pattern("a*")], "postgresql").whole()
    assert "LIKE" in str(condition.compile(dialect=postgresql.dialect()))


def test_stars_in_a_row_are_one() -> None:
    assert (Pattern("a****b").wildcards, Pattern("a*?*b").wildcards) == (1, 3)

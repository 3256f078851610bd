"""Statements that the driver runs: values go in and come out as SQLAlchemy's own would."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg

from storage import schema
from storage.catalog import additions, arrivals
from storage.database import Database
from storage.migrate import migrate
from storage.statements import Statement, among, bound

_NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
_FACT = {
    "kind": "instance-stored",
    "study_instance_uid": "2.25.1",
    "series_instance_uid": None,
    "sop_instance_uid": "2.25.3",
    "revision": 2,
    "detail": {"lời": ["nhắn", 1]},
    "at": _NOW,
}
_INSERT = Statement(sa.insert(schema.changes).values(bound(schema.changes, but=("seq",))))
_OF_STUDIES = Statement(sa.select(schema.changes).where(among(schema.changes.c.study_instance_uid, "uids")))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'c.sqlite'}")
    migrate(database)
    return database


def test_values_come_back_as_they_went_in(database: Database) -> None:
    with database.write() as tx:
        _INSERT.run(tx, [_FACT, _FACT | {"study_instance_uid": "2.25.'; DROP TABLE changes"}])
        [row] = _OF_STUDIES.rows(tx, {"uids": ["2.25.1", "2.25.2"]})
        plain = tx.execute(sa.select(schema.changes).where(schema.changes.c.seq == row.seq)).one()
    assert row._asdict() == dict(plain._mapping)
    assert {key: getattr(row, key) for key in _FACT} == _FACT


def test_any_number_of_values_can_be_among(database: Database) -> None:
    uids = [f"2.25.{number}" for number in range(5000)]
    with database.write() as tx:
        _INSERT.run(tx, [_FACT | {"study_instance_uid": uid} for uid in uids[:300]])
        assert len(_OF_STUDIES.rows(tx, {"uids": uids})) == 300
        assert _OF_STUDIES.rows(tx, {"uids": []}) == []


def test_a_value_that_was_not_given_is_an_error_and_no_default(database: Database) -> None:
    with database.write() as tx, pytest.raises(KeyError, match="detail"):
        _INSERT.run(tx, [{key: value for key, value in _FACT.items() if key != "detail"}])


@pytest.mark.parametrize(
    "statement",
    [arrivals._KNOWN, arrivals._OUT_OF_SIGHT, additions._STUDY_UIDS, additions._STUDIES, additions._SERIES],
    ids=["known", "out of sight", "study UIDs", "studies", "series"],
)
def test_the_hot_lookups_use_an_index(database: Database, statement: Statement) -> None:
    with database.read() as tx:
        sql = str(statement._statement.compile(dialect=sqlite.dialect()))
        plan = tx.connection.cursor().execute(f"EXPLAIN QUERY PLAN {sql}", ["[]"] * sql.count("?")).fetchall()
    tables = [step[3] for step in plan if "json_each" not in step[3]]
    assert any(step.startswith("SEARCH") for step in tables)
    assert not any(step.startswith("SCAN") for step in tables), tables


def test_postgres_gets_arrays() -> None:
    sql = str(_OF_STUDIES._statement.compile(dialect=psycopg.dialect()))
    assert "= ANY (%(uids)s" in sql


def test_a_value_that_is_always_the_same_need_not_be_given(database: Database) -> None:
    of_revision = Statement(sa.select(schema.changes.c.seq).where(schema.changes.c.revision == 2))
    with database.write() as tx:
        _INSERT.run(tx, [_FACT, _FACT | {"revision": 3}])
        assert len(of_revision.rows(tx, {})) == 1


def test_all_statements_of_a_reader_see_one_moment(database: Database) -> None:
    with database.read() as reader:
        assert _OF_STUDIES.rows(reader, {"uids": ["2.25.1"]}) == []
        with database.write() as tx:
            _INSERT.run(tx, [_FACT])
        assert _OF_STUDIES.rows(reader, {"uids": ["2.25.1"]}) == []

"""Callers share commits, and one that fails fails alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.database import Database, GroupCommit, Transaction
from storage.errors import CatalogueUnavailable

_TABLE = sa.Table("items", sa.MetaData(), sa.Column("name", sa.Text, primary_key=True))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'c.sqlite'}")
    with database.write() as tx:
        _TABLE.create(tx)
    return database


def _names(database: Database) -> list[str]:
    with database.read() as tx:
        return list(tx.execute(sa.select(_TABLE.c.name).order_by(_TABLE.c.name)).scalars())


class _Gate:
    """Work that enters names, and holds its first transaction open until told."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, tx: Transaction, names: Sequence[str]) -> list[str]:
        self.batches.append(list(names))
        self.entered.set()
        assert self.go_on.wait(10)
        tx.execute(sa.insert(_TABLE), [{"name": name} for name in names])
        return [name.upper() for name in names]


def _submit_all(commits: GroupCommit[str, str], names: Sequence[str], gate: _Gate) -> dict[str, str | BaseException]:
    """Submit the first name, and the others while its transaction is open; return what each caller got."""
    got: dict[str, str | BaseException] = {}

    def submit(name: str) -> None:
        try:
            got[name] = commits.submit(name)
        except Exception as error:  # noqa: BLE001 - whatever a caller is given is what is looked at
            got[name] = error

    callers = [threading.Thread(target=submit, args=(name,)) for name in names]
    callers[0].start()
    assert gate.entered.wait(10)
    for caller in callers[1:]:
        caller.start()
    while len(commits._waiting) < len(names) - 1:
        pass  # the callers are on their way
    gate.go_on.set()
    for caller in callers:
        caller.join(10)
    return got


def test_those_who_come_during_a_commit_share_the_next(database: Database) -> None:
    gate = _Gate()
    commits = GroupCommit(database, gate)
    got = _submit_all(commits, ["a", "b", "c", "d"], gate)
    assert got == {"a": "A", "b": "B", "c": "C", "d": "D"}
    assert [sorted(batch) for batch in gate.batches] == [["a"], ["b", "c", "d"]]
    commits.close()
    assert _names(database) == ["a", "b", "c", "d"]


def test_a_bad_item_fails_its_own_caller_and_no_other(database: Database) -> None:
    with database.write() as tx:
        tx.execute(sa.insert(_TABLE), [{"name": "c"}])
    gate = _Gate()
    commits = GroupCommit(database, gate)
    got = _submit_all(commits, ["a", "b", "c", "d"], gate)
    assert isinstance(got.pop("c"), sa.exc.IntegrityError)
    assert got == {"a": "A", "b": "B", "d": "D"}
    commits.close()
    assert _names(database) == ["a", "b", "c", "d"]


def test_a_batch_is_never_longer_than_asked(database: Database) -> None:
    gate = _Gate()
    commits = GroupCommit(database, gate, most=2)
    names = [f"{number:02}" for number in range(8)]
    assert len(_submit_all(commits, names, gate)) == 8
    assert max(map(len, gate.batches)) == 2
    commits.close()
    assert _names(database) == names


def test_a_database_that_goes_away_fails_callers_and_comes_back(database: Database) -> None:
    away = threading.Event()

    def work(tx: Transaction, names: Sequence[str]) -> list[str]:
        if away.is_set():
            tx.connection.driver_connection.close()  # type: ignore[union-attr]
        tx.execute(sa.insert(_TABLE), [{"name": name} for name in names])
        return list(names)

    commits = GroupCommit(database, work)
    assert commits.submit("a") == "a"
    away.set()
    with pytest.raises((CatalogueUnavailable, sa.exc.ProgrammingError)):
        commits.submit("b")
    away.clear()
    assert commits.submit("c") == "c"
    commits.close()
    assert _names(database) == ["a", "c"]

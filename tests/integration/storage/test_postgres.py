"""The archive's and the jobs' promises hold on PostgreSQL word for word: the same tests, another catalogue."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.catalog import changes
from storage.database import Database
from storage.migrate import migrate
from tests.builders import Clock, header, keep
from tests.servers.postgres import PostgresServer
from tests.unit.storage import test_archive, test_hiding, test_jobs, test_rejection, test_scrub

pytestmark = pytest.mark.servers

_FOR_SQLITE = {"test_a_failed_catalogue_is_told_to_the_sender", "test_one_bad_item_fails_only_its_own_sender"}
for _module in (test_archive, test_hiding, test_jobs, test_rejection, test_scrub):
    globals().update(
        {name: test for name, test in vars(_module).items() if name.startswith("test_") and name not in _FOR_SQLITE}
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(
    tmp_path: Path, postgres_server: PostgresServer, clock: Clock, request: pytest.FixtureRequest
) -> Iterator[Archive]:
    database = Database(postgres_server.make_database(f"t{secrets.token_hex(6)}"))
    migrate(database)
    made = Archive(objects=MemoryStore(), database=database, spool_folder=tmp_path, clock=clock)
    if request.function.__module__ == test_jobs.__name__:
        keep(made, header())
    yield made
    made.close()


def test_a_commit_is_durable_before_it_answers(kept: Archive) -> None:
    with kept.database.read() as tx:
        settings = [tx.execute(text(f"SHOW {name}")).scalar_one() for name in ("synchronous_commit", "fsync")]
    assert settings == ["on", "on"]


def test_a_reader_never_sees_a_later_change_before_an_earlier_one(kept: Archive, clock: Clock) -> None:
    with kept.database.write() as slow:
        changes.append(slow, "instance-stored", at=clock.now)
        with kept.database.read() as reader:
            assert changes.since(reader, 0) == []
        with kept.database.write() as fast:
            fast.execute(text("SET LOCAL lock_timeout = '200ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                changes.append(fast, "instance-stored", at=clock.now)
            fast.rollback()


def test_a_reader_sees_one_moment(kept: Archive, clock: Clock) -> None:
    with kept.database.read() as reader:
        before = changes.since(reader, 0)
        with kept.database.write() as writer:
            changes.append(writer, "study-complete", at=clock.now)
        assert changes.since(reader, 0) == before
    with kept.database.read() as reader:
        assert len(changes.since(reader, 0)) == len(before) + 1

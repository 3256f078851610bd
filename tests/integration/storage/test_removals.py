"""Removals and scrubs on PostgreSQL and MinIO: the same tests, and the locks that SQLite has by itself."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from storage.adapters import open_store
from storage.archive import Archive
from storage.catalog import removals
from storage.database import Database
from storage.errors import CatalogueUnavailable
from storage.migrate import migrate
from storage.records import ObjectKey, Verdict
from storage.removal import remove_object
from tests.builders import Clock
from tests.servers.postgres import PostgresServer
from tests.servers.s3 import S3Server
from tests.unit.storage import test_removals
from tests.unit.storage.test_removals import Race, stepped  # noqa: F401 - a fixture

pytestmark = pytest.mark.servers

globals().update({name: test for name, test in vars(test_removals).items() if name.startswith("test_")})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, postgres_server: PostgresServer, minio_server: S3Server, clock: Clock) -> Iterator[Archive]:
    database = Database(postgres_server.make_database(f"t{secrets.token_hex(6)}"))
    migrate(database)
    store = open_store(
        minio_server.bucket_url(f"t{secrets.token_hex(6)}"),
        access_key=minio_server.access_key,
        secret_key=minio_server.secret_key,
    )
    made = Archive(objects=store, database=database, spool_folder=tmp_path, clock=clock)
    yield made
    made.close()


def test_a_mark_waits_for_a_sender_that_has_looked_already(kept: Archive, clock: Clock) -> None:
    key = ObjectKey("a" * 64)
    with kept.database.write() as sender:
        assert removals.met(sender, [key], now=clock.now) == {}
        with pytest.raises(CatalogueUnavailable, match="lock"), kept.database.write() as scrub:
            removals.exclude_senders(scrub, wait_ms=100)
    with kept.database.write() as scrub:
        removals.exclude_senders(scrub, wait_ms=100)


def test_a_sender_that_comes_while_a_mark_is_made_meets_it(kept: Archive, clock: Clock) -> None:
    key = ObjectKey("a" * 64)
    found: list[object] = []

    def look() -> None:
        with kept.database.write() as sender:
            found.extend(removals.met(sender, [key], now=clock.now))

    sender = threading.Thread(target=look)
    with kept.database.write() as scrub:
        removals.exclude_senders(scrub)
        sender.start()
        _await_a_waiting_lock(kept)
        removals.note_seen(scrub, [key], now=clock.now)
        assert removals.mark_old(scrub, [key], before=clock.now + timedelta(1)) == [key]
    sender.join()
    assert found == [key]


def test_a_sender_that_meets_an_object_on_its_way_out_waits_until_it_has_gone(stepped: Archive) -> None:  # noqa: F811
    race = Race(stepped)
    race.play("1M")
    sender = threading.Thread(target=race.senders[0].finish)
    remove = stepped.objects.remove

    def remove_slowly(key: ObjectKey) -> None:
        sender.start()
        _await_a_waiting_lock(stepped)
        remove(key)

    stepped.objects.remove = remove_slowly
    assert remove_object(stepped, race.key, now=stepped._clock())
    sender.join()
    assert race.senders[0].answer is Verdict.STORED
    assert race.holds()


def _await_a_waiting_lock(kept: Archive) -> None:
    """Return once a session of this database waits for another."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while True:
        with kept.database.read() as tx:
            if tx.execute(text(waiting)).scalar_one():
                return

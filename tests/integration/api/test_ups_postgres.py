"""Workitems and their events on PostgreSQL as on SQLite: the same tests, another catalogue."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage import schema
from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.database import Database
from storage.migrate import migrate
from tests import builders
from tests.integration.api import test_channels
from tests.integration.api.worklist_site import opened
from tests.servers.postgres import PostgresServer
from tests.unit.api import test_ups
from tests.unit.api.conftest import client, clock, context, decoders  # noqa: F401 - the fixtures of those tests
from tests.unit.storage.workitems import test_retention

pytestmark = pytest.mark.servers

_OF_ONE_FILE = {"test_a_process_that_is_killed_between_change_and_event_loses_none"}
globals().update(
    {
        name: test
        for module in (test_channels, test_ups, test_retention)
        for name, test in vars(module).items()
        if name.startswith("test_") and name not in _OF_ONE_FILE
    }
)
site = test_channels.site


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> str:
    made = postgres_server.make_database(f"t{secrets.token_hex(6)}")
    database = Database(made)
    migrate(database)
    database.close()
    return made


@pytest.fixture
def archive(url: str, tmp_path: Path, clock: builders.Clock, request: pytest.FixtureRequest) -> Iterator[Archive]:  # noqa: F811
    """An archive whose catalogue is empty; those who watch on a real socket have a real clock."""
    with opened(url, tmp_path) as made:
        with made.database.write() as tx:
            for table in reversed(schema.metadata.sorted_tables):
                tx.execute(sa.delete(table))
        if "site" in request.fixturenames:
            yield made
        else:
            timed = Archive(objects=MemoryStore(), database=made.database, spool_folder=tmp_path, clock=clock)
            yield timed
            timed.close()

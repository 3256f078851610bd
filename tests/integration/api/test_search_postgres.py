"""Keys match on PostgreSQL as they do on SQLite: the same tests, another catalogue."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.database import Database
from storage.migrate import migrate
from tests.servers.postgres import PostgresServer
from tests.unit.storage import test_search

pytestmark = pytest.mark.servers

globals().update({name: test for name, test in vars(test_search).items() if name.startswith("test_")})


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Archive]:
    database = Database(postgres_server.make_database(f"t{secrets.token_hex(6)}"))
    migrate(database)
    made = Archive(objects=MemoryStore(), database=database, spool_folder=tmp_path_factory.mktemp("spool"))
    test_search.fill(made)
    yield made
    made.close()

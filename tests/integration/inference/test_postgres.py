"""Completion and provisional runs hold on PostgreSQL word for word: the same tests, another catalogue."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.database import Database
from storage.migrate import migrate
from tests.builders import Clock
from tests.servers.postgres import PostgresServer
from tests.unit.inference import test_completion, test_progressive

pytestmark = pytest.mark.servers

for _module in (test_completion, test_progressive):
    globals().update(
        {
            name: test
            for name, test in vars(_module).items()
            if name.startswith("test_") and "kept" in inspect.signature(test).parameters
        }
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, postgres_server: PostgresServer, clock: Clock) -> Iterator[Archive]:
    database = Database(postgres_server.make_database(f"t{secrets.token_hex(6)}"))
    migrate(database)
    made = Archive(objects=MemoryStore(), database=database, spool_folder=tmp_path, clock=clock)
    yield made
    made.close()

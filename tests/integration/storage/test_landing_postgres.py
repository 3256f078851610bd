"""The landing zone's promises hold on PostgreSQL word for word: the same tests, another catalogue."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.archive import Archive
from tests.landed import CATALOGUE, MoodyStore, close_all, landed_archive
from tests.servers.postgres import PostgresServer
from tests.unit.storage import test_landing

pytestmark = pytest.mark.servers

_FOR_SQLITE = {
    "test_a_lost_catalogue_does_not_lose_what_has_landed",
    "test_a_rebuild_reads_what_has_landed_and_the_uploader_then_brings_it_on",
}
"""They take the catalogue's file away."""
globals().update(
    {name: test for name, test in vars(test_landing).items() if name.startswith("test_") and name not in _FOR_SQLITE}
)


@pytest.fixture(autouse=True)
def _catalogue(tmp_path: Path, postgres_server: PostgresServer) -> None:
    (tmp_path / CATALOGUE).write_text(postgres_server.make_database(f"t{secrets.token_hex(6)}"))


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def store() -> MoodyStore:
    return MoodyStore()


@pytest.fixture
def kept(_catalogue: None, tmp_path: Path, store: MoodyStore) -> Archive:
    return landed_archive(tmp_path, store)

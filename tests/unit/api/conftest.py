"""An application over memory objects and a SQLite catalogue, asked in this process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from imaging import Decoders
from pacs_gateway.ingest import Ingest
from storage.archive import Archive
from tests import builders

BASE = "http://127.0.0.1:8080"


@pytest.fixture
def clock() -> builders.Clock:
    return builders.Clock()


@pytest.fixture(scope="session")
def empty_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated catalogue to copy: migrating anew for each test would take most of the time."""
    folder = tmp_path_factory.mktemp("catalogue")
    builders.archive(folder).close()
    return folder / "catalogue.sqlite"


@pytest.fixture
def archive(tmp_path: Path, clock: builders.Clock, empty_catalogue: Path) -> Iterator[Archive]:
    shutil.copy(empty_catalogue, tmp_path)
    made = builders.archive(tmp_path, clock)
    yield made
    made.close()


@pytest.fixture(scope="session")
def decoders() -> Iterator[Decoders]:
    """Shared: a process that starts anew for each test would take most of the time."""
    made = Decoders()
    yield made
    made.close()


@pytest.fixture
def context(archive: Archive, clock: builders.Clock, decoders: Decoders) -> ApiContext:
    return ApiContext(
        archive=archive,
        ingest=Ingest(archive),
        public_base_url=BASE,
        cards=(builders.card(),),
        pings={"catalogue": archive.database.ping, "objects": archive.objects.ping},
        clock=clock,
        server_version="0.1",
        decoders=decoders,
    )


@pytest.fixture
def client(context: ApiContext) -> Iterator[TestClient]:
    with TestClient(create_app(context), base_url=BASE) as made:
        yield made

"""What is made ready after ingest, on PostgreSQL and MinIO: the same tests, and the locks that SQLite has by itself."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.adapters import open_store
from storage.archive import Archive
from storage.database import Database
from storage.migrate import migrate
from tests import builders
from tests.servers.postgres import PostgresServer
from tests.servers.s3 import S3Server
from tests.unit.api import test_extractor
from tests.unit.api.conftest import client, clock, context, decoders  # noqa: F401 - fixtures
from tests.unit.api.test_extractor import fresh, slices, watched  # noqa: F401 - fixtures

pytestmark = pytest.mark.servers

globals().update({name: test for name, test in vars(test_extractor).items() if name.startswith("test_")})


@pytest.fixture
def archive(
    tmp_path: Path,
    postgres_server: PostgresServer,
    minio_server: S3Server,
    clock: builders.Clock,  # noqa: F811
) -> Iterator[Archive]:
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

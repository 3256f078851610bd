"""The figures of triage on PostgreSQL: the same scene gives the same answers as on SQLite."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from pacs_gateway.ingest import Ingest
from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.database import Database
from storage.migrate import migrate
from tests import builders
from tests.browser.scene import CHEST, HEAD, Scene, fill
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.servers

ASKED = (
    "/api/triage/coverage?days=1",
    "/api/triage/times?days=1",
    "/api/triage/replay?day=2026-03-01&readers=1&reading_min=30",
    "/api/studies/2.25.7.1/times",
)


def _told(database: Database, folder: Path) -> dict[str, Any]:
    """Fill an archive with the scene, have its list shown twice, and return what is told of it."""
    clock = builders.Clock()
    archive = Archive(objects=MemoryStore(), database=database, spool_folder=folder, clock=clock)
    context = ApiContext(
        archive=archive, ingest=Ingest(archive), public_base_url="http://127.0.0.1", cards=(HEAD, CHEST), clock=clock
    )
    with TestClient(create_app(context), base_url="http://127.0.0.1") as client:
        client.get("/metrics")
        fill(Scene(archive, clock))
        for _ in range(2):
            assert client.get("/api/worklist").status_code == 200
            clock.go(1)
        answers = {path: client.get(path) for path in ASKED}
        figures = client.get("/metrics").text
    archive.close()
    assert {answer.status_code for answer in answers.values()} == {200}
    told = {path: re.sub(r'"result_id":"\w+"', "", answer.text) for path, answer in answers.items()}
    return {**told, "/metrics": figures}


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Database:
    database = Database(postgres_server.make_database("figures"))
    migrate(database)
    return database


def test_both_databases_tell_the_same(postgres: Database, tmp_path: Path) -> None:
    on_file = Database(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    migrate(on_file)
    expected = _told(on_file, tmp_path)
    told = _told(postgres, tmp_path)
    for path, text in expected.items():
        assert told[path] == text, path
    assert '"shown"' in expected["/api/studies/2.25.7.1/times"]

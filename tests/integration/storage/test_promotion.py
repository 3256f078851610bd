"""A database that is lost for good, and a standby that takes its place: what was acknowledged is there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.catalog import studies
from storage.database import Database
from storage.errors import CatalogueUnavailable
from storage.migrate import migrate
from storage.records import StudyUid, Verdict
from tests.builders import header, keep
from tests.servers import postgres
from tests.servers.postgres_pair import PostgresPair, running_pair

pytestmark = pytest.mark.servers
STUDY = StudyUid("2.25.1")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[PostgresPair]:
    if reason := postgres.available():
        pytest.skip(reason)
    with running_pair(tmp_path / "pair") as running:
        yield running


@pytest.fixture
def kept(pair: PostgresPair, tmp_path: Path) -> Iterator[Archive]:
    database = Database(pair.make_database("promotion"))
    migrate(database)
    spool = tmp_path / "spool"
    spool.mkdir()
    archive = Archive(objects=MemoryStore(), database=database, spool_folder=spool)
    yield archive
    archive.close()


class _Send(threading.Thread):
    """A send of one instance, waiting for its answer."""

    def __init__(self, archive: Archive) -> None:
        super().__init__(daemon=True)
        self._archive = archive
        self.verdict: Verdict | None = None
        self.start()

    def run(self) -> None:
        try:
            self.verdict = keep(self._archive, header(1))
        except CatalogueUnavailable:
            self.verdict = None


def _wait_for_standby(pair: PostgresPair) -> None:
    """Return once a commit waits for the standby."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with psycopg.connect(pair.primary.url, autocommit=True) as connection:
        while connection.execute(query).fetchone() == (0,):
            pass


def test_what_was_acknowledged_survives_a_promotion(pair: PostgresPair, kept: Archive) -> None:
    assert keep(kept, header(1)) is Verdict.STORED
    pair.promote()
    with kept.database.read() as tx:
        assert studies.get(tx, STUDY).instance_count == 1
    with pytest.raises(CatalogueUnavailable):  # said on the line that is dead; the sender tries again
        keep(kept, header(2))
    assert keep(kept, header(2)) is Verdict.STORED


@pytest.mark.timeout(60)
def test_a_resend_after_a_restart_waits_for_the_standby_too(pair: PostgresPair, kept: Archive) -> None:
    assert pair.standby is not None
    pair.standby.kill()
    first = _Send(kept)
    _wait_for_standby(pair)
    pair.kill()
    first.join()
    assert first.verdict is None
    pair.start()  # the row is there, though the standby has never heard of it
    again = _Send(kept)
    _wait_for_standby(pair)
    assert again.verdict is None
    pair.standby.start()
    again.join()
    assert again.verdict is Verdict.DUPLICATE

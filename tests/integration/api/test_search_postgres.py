"""Keys match on PostgreSQL as they do on SQLite: the same tests, another catalogue."""

from __future__ import annotations

import secrets
import subprocess
import sys
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


def test_a_lean_process_searches_as_any_other(archive: Archive) -> None:
    """The driver asks for numpy where it has been loaded, which in a serving process it never is."""
    lines = (
        "import sys",
        "from roi.lean import leave_out",
        "leave_out()",
        "from storage import search",
        "from storage.database import Database",
        "database = Database(sys.argv[1])",
        'keys = [search.Match(keyword="ModalitiesInStudy", value="SR")]',
        "with database.read() as tx:",
        "    print([row.study_instance_uid for row in search.study_rows(tx, keys, limit=5)])",
    )
    words = [sys.executable, "-c", "\n".join(lines), archive.database.url]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['1.1']\n", "")

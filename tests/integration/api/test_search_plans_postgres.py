"""PostgreSQL reads no whole table for what is typically asked, and finds trigrams where it has them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from benchmarks.listed_catalogue import ListedPostgres
from storage import search
from storage.database import Database
from storage.migrate import migrate
from storage.search import Match
from tests.servers import postgres
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.servers

_SCANS = sa.text("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname IN ('studies', 'study_texts')")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if reason := postgres.available():
        pytest.skip(reason)
    with ListedPostgres(Path(tmp_path_factory.mktemp("listed")), 10_000).ready() as listed:
        opened = Database(listed.url)
        yield opened
        opened.close()


def scans(database: Database, query: str, *, times: int = 1, offset: int = 0, is_large: bool = False) -> int:
    """Return how often a whole table was read for a search; `is_large` has it avoided as if the table were."""
    matches = [Match(keyword=key, value=value) for key, value in (part.split("=") for part in query.split("&") if part)]
    with database.read() as tx:
        if is_large:
            tx.execute(sa.text("SET LOCAL enable_seqscan = off"))
        before = sum(tx.execute(_SCANS).scalars())
        for _ in range(times):
            search.study_rows(tx, matches, limit=50, offset=offset)
        return sum(tx.execute(_SCANS).scalars()) - before


@pytest.mark.parametrize(
    "query",
    [
        "PatientID=BN100000000",
        "AccessionNumber=24CT00000001",
        "StudyInstanceUID=1.2",
        "StudyDate=20250310",
        "StudyDate=20250301-20250331",
        "StudyDate=20250301-20250331&ModalitiesInStudy=CT",
        "ModalitiesInStudy=NM",
        "",
        "PatientName=nguyen*",
    ],
)
def test_no_table_is_read_whole(database: Database, query: str) -> None:
    assert scans(database, query) == 0
    assert scans(database, query, times=12) == 0  # by then the driver has had the statements prepared


@pytest.mark.parametrize(
    ("query", "offset"),
    [
        ("PatientName=ksor*", 0),
        ("PatientName=*trinh thi*", 0),
        ("PatientName=nguyen*tuyet*", 0),
        ("PatientName=*zqx*", 0),
        ("PatientName=*an*", 0),
        ("PatientID=BN10000000*", 0),
        ("AccessionNumber=*000777", 0),
        ("StudyDescription=*MẠCH*", 0),
        ("", 9950),
    ],
)
def test_no_table_has_to_be_read_whole_where_it_is_large(database: Database, query: str, offset: int) -> None:
    assert scans(database, query, offset=offset, is_large=True) == 0
    assert scans(database, query, offset=offset, is_large=True, times=12) == 0


def test_a_role_that_may_not_create_the_extension_is_served_all_the_same(postgres_server: PostgresServer) -> None:
    name = f"t{secrets.token_hex(6)}"
    url = postgres_server.make_database(name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN")
        connection.execute(f"GRANT ALL ON SCHEMA public TO {name}")
    database = Database(url.replace("//postgres@", f"//{name}@"))
    migrate(database)
    with database.read() as tx:
        indexes = {index["name"] for index in sa.inspect(tx).get_indexes("study_texts")}
        assert search.study_rows(tx, [Match(keyword="PatientName", value="*van*")], limit=1) == []
    assert not {index for index in indexes if "trigrams" in str(index)}
    database.close()

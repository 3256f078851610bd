"""What a search reads: an index's few rows, or the newest studies until the page is full, never the whole table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.listed_catalogue import ListedSqlite
from storage import search
from storage.database import Database, Transaction
from storage.search import Match

RARE = "PatientName=kso?*"
WALK = "SCAN studies USING INDEX ix_studies_study_date_id"
LOOK = "SEARCH studies USING INDEX ix_studies_study_date_id (study_date>?)"
BY_NUMBER = "SEARCH studies USING INTEGER PRIMARY KEY (rowid=?)"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with ListedSqlite(Path(tmp_path_factory.mktemp("listed")), 6000).ready() as listed:
        opened = Database(listed.url)
        yield opened
        opened.close()


def read_by(database: Database, query: str, limit: int = 50, offset: int = 0) -> list[str]:
    """Run a search and return what SQLite says it does for each of its statements."""
    keys = [part.split("=", 1) for part in query.split("&") if part]
    matches = [Match(keyword=keyword, value=value) for keyword, value in keys]
    ran: list[str] = []
    with database.read() as tx:
        driver = _driver(tx)
        driver.set_trace_callback(ran.append)
        search.study_rows(tx, matches, limit=limit, offset=offset)
        driver.set_trace_callback(None)
        own = [statement for statement in ran if not statement.startswith("--")]  # which FTS5 runs within
        return [row[3] for statement in own for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}")]


def _driver(tx: Transaction) -> Any:
    return tx.connection.driver_connection


@pytest.mark.parametrize(
    ("query", "plan"),
    [
        ("PatientID=BN100000000", "SEARCH studies USING INDEX ix_studies_patient_id_study_date (patient_id=?)"),
        ("AccessionNumber=24CT00000001", "SEARCH studies USING INDEX ix_studies_accession_number (accession_number=?)"),
        ("StudyInstanceUID=1.2", "SEARCH studies USING INDEX sqlite_autoindex_studies_1 (study_instance_uid=?)"),
        ("StudyDate=20250310", "SEARCH studies USING INDEX ix_studies_study_date_id (study_date>? AND study_date<?)"),
        (
            "StudyDate=20250301-20250331",
            "SEARCH studies USING INDEX ix_studies_study_date_id (study_date>? AND study_date<?)",
        ),
        ("", WALK),
        ("PatientName=nguyen*", LOOK),
        ("PatientName=*an*", LOOK),
        ("ModalitiesInStudy=DX", BY_NUMBER),
        ("StudyDate=20240101-20251231&ModalitiesInStudy=CT", BY_NUMBER),
        ("PatientSex=F&ModalitiesInStudy=CT", WALK),
        (RARE, BY_NUMBER),
        ("PatientName=*trinh thi*", BY_NUMBER),
        ("PatientName=nguyen*tuyet*", BY_NUMBER),
        ("ReferringPhysicianName=ksor*", BY_NUMBER),
        ("ModalitiesInStudy=NM", BY_NUMBER),
        ("StudyDate=20250301-20250331&ModalitiesInStudy=MR", BY_NUMBER),
        ("AccessionNumber=*000777", BY_NUMBER),
        ("PatientID=BN10000000*", BY_NUMBER),
        ("StudyDescription=*MẠCH*", BY_NUMBER),
    ],
)
def test_studies_are_read_by_an_index_or_along_the_newest(database: Database, query: str, plan: str) -> None:
    *before, last = [step for step in read_by(database, query) if "studies" in step and "study_texts" not in step]
    assert (last, [step for step in before if step.startswith("SCAN studies") and "INDEX" not in step]) == (plan, [])


@pytest.mark.parametrize(
    "query", ["PatientName=*trinh thi*", "PatientName=kso?*", "StudyDescription=*MẠCH*", "PatientName=ly*"]
)
def test_texts_are_found_by_their_beginning_or_their_trigrams(database: Database, query: str) -> None:
    steps = [step for step in read_by(database, query) if "study_texts" in step]
    assert steps
    assert not [step for step in steps if step.startswith("SCAN study_texts") and "VIRTUAL TABLE INDEX" not in step]


@pytest.mark.parametrize("query", ["", "PatientName=nguyen*", "StudyDate=20250301-20250331"])
def test_answers_come_in_the_order_of_an_index(database: Database, query: str) -> None:
    assert read_by(database, query)[-1].startswith(("SCAN studies USING INDEX", "SEARCH studies USING INDEX"))


def test_what_no_name_holds_is_known_without_looking_along_the_studies(database: Database) -> None:
    assert WALK not in read_by(database, "PatientName=*zqx*")


@pytest.mark.parametrize("query", ["", "StudyDate=20240101-20251231"])
def test_a_page_far_in_reads_no_study_on_the_way(database: Database, query: str) -> None:
    first, *skipping = read_by(database, query, offset=2900)
    assert first == BY_NUMBER  # those of the page
    along = [step for step in skipping if "ix_studies_study_date_id" in step]
    assert along
    assert not [step for step in along if "COVERING INDEX" not in step]


@pytest.mark.parametrize("query", ["ModalitiesInStudy=DX", "ModalitiesInStudy=CT&StudyDate=20240101-20251231"])
def test_the_newest_of_each_combination_of_modalities_are_read_and_no_more(database: Database, query: str) -> None:
    steps = [step for step in read_by(database, query) if "ix_studies_modalities" in step]
    assert len(steps) > 1
    assert not [step for step in steps if not step.startswith("SEARCH studies USING COVERING INDEX")]


def test_what_many_names_hold_is_found_among_the_newest_alone(database: Database) -> None:
    steps = read_by(database, "PatientName=*thi*")
    assert steps[-1] == LOOK
    assert not [step for step in steps if "study_texts" in step]

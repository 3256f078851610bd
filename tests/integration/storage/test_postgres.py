"""The archive's and the jobs' promises hold on PostgreSQL word for word: the same tests, another catalogue."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from pacs_gateway.header import MAX_CODE, MAX_TEXT
from storage import search
from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.catalog import changes
from storage.catalog.additions import STUDY_FACTS
from storage.database import Database
from storage.migrate import migrate
from storage.records import SeriesUid, Verdict
from storage.search import Match
from tests.builders import Clock, header, keep
from tests.servers.postgres import PostgresServer
from tests.unit.inference import test_deployment
from tests.unit.storage import test_archive, test_hiding, test_jobs, test_rejection, test_scrub

pytestmark = pytest.mark.servers

_FOR_SQLITE = {"test_a_failed_catalogue_is_told_to_the_sender", "test_one_bad_item_fails_only_its_own_sender"}
for _module in (test_archive, test_deployment, test_hiding, test_jobs, test_rejection, test_scrub):
    globals().update(
        {name: test for name, test in vars(_module).items() if name.startswith("test_") and name not in _FOR_SQLITE}
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(
    tmp_path: Path, postgres_server: PostgresServer, clock: Clock, request: pytest.FixtureRequest
) -> Iterator[Archive]:
    database = Database(postgres_server.make_database(f"t{secrets.token_hex(6)}"))
    migrate(database)
    made = Archive(objects=MemoryStore(), database=database, spool_folder=tmp_path, clock=clock)
    if request.function.__module__ == test_jobs.__name__:
        keep(made, header())
    yield made
    made.close()


def test_a_commit_is_durable_before_it_answers(kept: Archive) -> None:
    with kept.database.read() as tx:
        settings = [tx.execute(text(f"SHOW {name}")).scalar_one() for name in ("synchronous_commit", "fsync")]
    assert settings == ["on", "on"]


def test_a_reader_never_sees_a_later_change_before_an_earlier_one(kept: Archive, clock: Clock) -> None:
    with kept.database.write() as slow:
        changes.append(slow, "instance-stored", at=clock.now)
        with kept.database.read() as reader:
            assert changes.since(reader, 0) == []
        with kept.database.write() as fast:
            fast.execute(text("SET LOCAL lock_timeout = '200ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                changes.append(fast, "instance-stored", at=clock.now)
            fast.rollback()


def test_a_reader_sees_one_moment(kept: Archive, clock: Clock) -> None:
    with kept.database.read() as reader:
        before = changes.since(reader, 0)
        with kept.database.write() as writer:
            changes.append(writer, "study-complete", at=clock.now)
        assert changes.since(reader, 0) == before
    with kept.database.read() as reader:
        assert len(changes.since(reader, 0)) == len(before) + 1


def test_the_longest_values_that_a_header_keeps_fit_every_index(kept: Archive) -> None:
    dice = random.Random(1)  # what does not repeat itself is not compressed
    text = "".join(chr(dice.randrange(0x20000, 0x2A6DF)) for _ in range(MAX_TEXT))
    codes = ["".join(dice.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=MAX_CODE)) for _ in range(60)]
    told = dict.fromkeys(STUDY_FACTS, text) | {"study_date": codes[0]}
    for number, code in enumerate(codes):
        made = header(number, modality=code, series_instance_uid=SeriesUid(f"1.2.3.{number}"), **told)
        assert keep(kept, made) is Verdict.STORED
    with kept.database.read() as tx:
        [study] = search.studies(tx, [Match(keyword="PatientID", value=text)], limit=2)
    assert study.patient_id == text

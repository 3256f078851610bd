"""The texts that studies are found by follow what studies are told, whoever tells it, and go with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage import schema, search
from storage.archive import Archive
from storage.database import Database
from storage.matching import TAGS
from storage.migrate import migrate
from storage.records import InstanceUid, StudyUid
from storage.search import Match
from tests import builders


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = builders.archive(tmp_path)
    yield made
    made.close()


def texts(database: Database) -> set[tuple[str, str]]:
    names = {tag: keyword for keyword, tag in TAGS.items()}
    with database.read() as tx:
        rows = tx.execute(sa.select(schema.study_texts.c.tag, schema.study_texts.c.text))
        return {(names[tag], text) for tag, text in rows}


def found(database: Database, value: str) -> int:
    with database.read() as tx:
        return len(search.study_rows(tx, [Match(keyword="PatientName", value=value)], limit=10))


def test_each_group_of_a_name_is_a_text_of_its_own(archive: Archive) -> None:
    told = {"patient_name": 'Ya"mada^Tarou=山田^太郎=やまだ^たろう', "patient_id": "[P]*", "accession_number": "A'"}
    builders.keep(archive, builders.header(1, **told, referring_physician_name="Bs^Lan", study_description="Chụp"))
    assert texts(archive.database) == {
        ("PatientName", 'YA"MADA TAROU'),
        ("PatientName", "山田 太郎"),
        ("PatientName", "やまだ たろう"),
        ("ReferringPhysicianName", "BS LAN"),
        ("PatientID", "[P]*"),
        ("AccessionNumber", "A'"),
        ("StudyDescription", "Chụp"),
    }


def test_further_instances_and_lifecycle_leave_them_alone(archive: Archive) -> None:
    builders.keep(archive, builders.header(1))
    with archive.database.read() as tx:
        before = tx.execute(sa.select(schema.study_texts.c.id)).scalars().all()
    builders.keep(archive, builders.header(2))
    with archive.database.read() as tx:
        assert tx.execute(sa.select(schema.study_texts.c.id)).scalars().all() == before


def test_another_name_takes_the_place_of_the_old_one(archive: Archive) -> None:
    builders.keep(archive, builders.header(1))
    assert found(archive.database, "*van dat*") == 1
    with archive.database.write() as tx:
        tx.execute(sa.update(schema.studies).values(patient_name_folded="LE THI LAN"))
    assert (found(archive.database, "*van dat*"), found(archive.database, "*thi lan")) == (0, 1)


def test_the_newest_of_many_of_a_name_are_found_first(archive: Archive) -> None:
    for number, day in enumerate(("20260105", None, "20260301", "20260228"), start=1):
        uids = {"study_instance_uid": StudyUid(f"2.25.{number}"), "sop_instance_uid": InstanceUid(f"2.25.9.{number}")}
        builders.keep(archive, builders.header(number, **uids, study_date=day, patient_name="Lan=Lan^=Lan"))
    for value in ("lan", "*lan*", "l?n"):
        with archive.database.read() as tx:
            key = [Match(keyword="PatientName", value=value)]
            days = [search.study_rows(tx, key, limit=1, offset=offset)[0].study_date for offset in range(4)]
        assert days == ["20260301", "20260228", "20260105", None]


def test_they_go_with_their_study(archive: Archive) -> None:
    builders.keep(archive, builders.header(1))
    with archive.database.write() as tx:
        for table in (schema.instances, schema.series, schema.studies):
            tx.execute(sa.delete(table))
    assert texts(archive.database) == set()
    with archive.database.read() as tx:
        hits = sa.text("SELECT count(*) FROM study_texts_trigrams WHERE study_texts_trigrams MATCH 'NGUYEN'")
        assert tx.execute(hits).scalar_one() == 0


def test_a_sqlite_without_trigrams_finds_the_same(archive: Archive) -> None:
    with archive.database.write() as tx:
        for trigger in ("study_texts_indexed", "study_texts_forgotten"):
            tx.execute(sa.text(f"DROP TRIGGER {trigger}"))
        tx.execute(sa.text("DROP TABLE study_texts_trigrams"))
    for number, name in enumerate(("Nguyễn^Văn Đạt", "Lê^Thị Lan"), start=1):
        told = {"study_instance_uid": StudyUid(f"2.25.{number}"), "sop_instance_uid": InstanceUid(f"2.25.9.{number}")}
        builders.keep(archive, builders.header(number, patient_name=name, **told))
    assert [found(archive.database, value) for value in ("*van*", "*thi lan", "nguyen*dat", "*zqx*")] == [1, 1, 1, 0]


def test_a_catalogue_of_before_is_folded_anew_and_can_be_searched(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'c.sqlite'}")
    migrate(database, to="0002")
    columns = "id, study_instance_uid, identity_conflict, modalities, series_count, instance_count, state, revision"
    times = "received_first, received_last, longest_gap_s, quiet_until"
    names = "patient_name, patient_name_folded, referring_physician_name"
    with database.write() as tx:
        for number, name in enumerate(("H'Hen^Niê", "Yamada^=山田^", None), start=1):
            tx.exec_driver_sql(
                f"INSERT INTO studies ({columns}, {times}, {names}) "
                "VALUES (?, ?, 0, '', 1, 1, 'TRIAGED', 1, 0, 0, 0, 0, ?, 'OLD', 'Bs^Lan')",
                (number, f"1.{number}", name),
            )
    assert migrate(database)
    assert [found(database, value) for value in ("hhen nie", "h'hen*", "山田", "*nie", "old")] == [1, 1, 1, 1, 0]
    assert ("ReferringPhysicianName", "BS LAN") in texts(database)
    database.close()

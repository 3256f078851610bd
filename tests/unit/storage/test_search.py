from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage import search
from storage.archive import Archive
from storage.records import InstanceUid, SeriesUid, StudyUid
from storage.search import Level, Match, MatchRejected
from tests import builders

STUDIES = {
    "1": {
        "patient_name": "Nguyễn^Thị Minh Khai",
        "study_date": "20260105",
        "study_time": "081500",
        "patient_id": "P_1",
    },
    "2": {"patient_name": "NGUYEN^VAN^DUC", "study_date": "20260228", "study_time": "235959.5", "patient_id": "P%1"},
    "3": {"patient_name": "Đặng^Văn Đức", "study_date": "20260301", "study_time": "10", "patient_id": "p_1"},
    "4": {
        "patient_name": "Yamada^Tarou=山田^太郎",
        "study_date": None,
        "patient_id": "[P]*",
        "accession_number": "A'; DROP",
    },
}


def fill(made: Archive) -> None:
    """Keep the studies that the tests look for."""
    for number, fields in STUDIES.items():
        for series, modality in (("1", "CT"), ("2", "SR" if number == "1" else "CT")):
            told = builders.header(
                int(series),
                study_instance_uid=StudyUid(f"1.{number}"),
                series_instance_uid=SeriesUid(f"1.{number}.{series}"),
                sop_instance_uid=InstanceUid(f"1.{number}.{series}.1"),
                series_number=int(series),
                modality=modality,
                **fields,
            )
            builders.keep(made, told)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    made = builders.archive(tmp_path_factory.mktemp("search"))
    fill(made)
    yield made
    made.close()


def found(archive: Archive, **keys: str) -> list[str]:
    matches = [Match(keyword=keyword, value=value) for keyword, value in keys.items()]
    with archive.database.read() as tx:
        rows = search.studies(tx, matches, limit=100)
        assert search.count(tx, matches, Level.STUDY) == len(rows)
    return sorted(row.study_instance_uid.removeprefix("1.") for row in rows)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "1234"),
        ({"PatientName": ""}, "1234"),
        ({"PatientName": "*"}, "1234"),
        ({"PatientName": "nguyen*"}, "12"),
        ({"PatientName": "NGUYỄN^*"}, "12"),
        ({"PatientName": "*duc"}, "23"),
        ({"PatientName": "Nguyễn^Thị Minh Khai^^"}, "1"),
        ({"PatientName": "Nguyen Thi Minh Kha?"}, "1"),
        ({"PatientName": "Nguyen"}, ""),
        ({"PatientName": "yamada*"}, "4"),
        ({"PatientName": "山田^*"}, "4"),
        ({"PatientName": "Yamada^Tarou=山田^太郎"}, "4"),
        ({"PatientID": "P_1"}, "1"),
        ({"PatientID": "P%1"}, "2"),
        ({"PatientID": "p*"}, "3"),
        ({"PatientID": "[P]?"}, "4"),
        ({"PatientID": "P?1"}, "12"),
        ({"PatientID": "\\"}, ""),
        ({"AccessionNumber": "A'; DROP"}, "4"),
        ({"AccessionNumber": "*'*"}, "4"),
        ({"StudyDate": "20260228"}, "2"),
        ({"StudyDate": "20260101-20260228"}, "12"),
        ({"StudyDate": "20260228-"}, "23"),
        ({"StudyDate": "-20260105"}, "1"),
        ({"StudyTime": "08"}, "1"),
        ({"StudyTime": "10-11"}, "3"),
        ({"StudyTime": "-0815"}, "1"),
        ({"StudyTime": "2359-"}, "2"),
        ({"StudyDate": "20260228-", "StudyTime": "-11"}, "3"),
        ({"StudyInstanceUID": "1.1\\1.3\\9"}, "13"),
        ({"StudyInstanceUID": "1.*"}, ""),
        ({"ModalitiesInStudy": "SR"}, "1"),
        ({"ModalitiesInStudy": "C*"}, "1234"),
        ({"ModalitiesInStudy": "SR\\MR"}, "1"),
        ({"ModalitiesInStudy": "CT", "StudyDate": "20260228-"}, "23"),
        ({"ModalitiesInStudy": "CT", "StudyDate": "-20260228"}, "12"),
        ({"ModalitiesInStudy": "CT", "StudyDate": "20260228"}, "2"),
        ({"ModalitiesInStudy": "*"}, "1234"),
        ({"NumberOfStudyRelatedSeries": "2"}, "1234"),
        ({"NumberOfStudyRelatedInstances": "3"}, ""),
    ],
)
def test_keys_match_as_the_standard_says(archive: Archive, keys: dict[str, str], expected: str) -> None:
    assert "".join(found(archive, **keys)) == expected


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyDate", "2026-01-05"),
        ("StudyDate", "2026*"),
        ("StudyDate", "-"),
        ("StudyTime", "8"),
        ("NumberOfStudyRelatedSeries", "two"),
        ("PatientID", "*a*a*a*a*a*a*a*a*b"),
        ("PatientName", "*a*a*a*a*a*a*a*a*b"),
        ("StudyInstanceUID", "\\".join(["1.2"] * 2001)),
        ("Modality", "CT"),
    ],
)
def test_what_cannot_be_matched_is_refused_without_being_repeated(archive: Archive, keyword: str, value: str) -> None:
    with pytest.raises(MatchRejected) as refused, archive.database.read() as tx:
        search.studies(tx, [Match(keyword=keyword, value=value)], limit=1)
    assert value not in str(refused.value)


def test_the_newest_study_comes_first_and_pages_neither_repeat_nor_skip(archive: Archive) -> None:
    with archive.database.read() as tx:
        pages = [search.studies(tx, [], limit=1, offset=offset) for offset in range(5)]
    assert [row.study_instance_uid for page in pages for row in page] == ["1.3", "1.2", "1.1", "1.4"]


@pytest.mark.parametrize(
    "keys",
    [
        {"PatientName": "*n*"},
        {"PatientName": "nguyen*"},
        {"PatientName": "*van*"},
        {"PatientName": "*van*", "PatientID": "*1"},
        {"ModalitiesInStudy": "CT"},
        {"ModalitiesInStudy": "CT\\SR", "StudyDate": "20260101-"},
        {"StudyDate": "20260101-"},
        {"StudyTime": "-1200", "ModalitiesInStudy": "CT"},
    ],
)
@pytest.mark.parametrize("by_name", [False, True])
def test_pages_of_a_search_are_parts_of_the_whole(archive: Archive, keys: dict[str, str], by_name: bool) -> None:
    matches = [Match(keyword=keyword, value=value) for keyword, value in keys.items()]
    with archive.database.read() as tx:
        whole = search.study_rows(tx, matches, limit=100, by_name=by_name)
        pages = [search.study_rows(tx, matches, limit=1, offset=at, by_name=by_name) for at in range(len(whole) + 1)]
    assert whole
    assert [row for page in pages for row in page] == whole


def test_a_modality_narrows_series_whatever_order_they_come_in(archive: Archive) -> None:
    keys = [Match(keyword="ModalitiesInStudy", value="CT")]
    with archive.database.read() as tx:
        first = search.series(tx, keys, limit=1)
        every = search.series(tx, keys, limit=100)
    assert (len(every), first) == (8, every[:1])


def test_series_and_instances_match_their_own_keys_and_those_above(archive: Archive) -> None:
    keys = [Match(keyword="PatientName", value="nguyen*"), Match(keyword="Modality", value="CT")]
    with archive.database.read() as tx:
        series = search.series(tx, keys, limit=10)
        instances = search.instances(tx, [*keys, Match(keyword="InstanceNumber", value="1")], limit=10)
        assert search.count(tx, keys, Level.SERIES) == 3
        assert search.count(tx, keys, Level.INSTANCE) == 3
    assert [row.series_instance_uid for row in series] == ["1.2.1", "1.2.2", "1.1.1"]
    assert [row.sop_instance_uid for row in instances] == ["1.2.1.1", "1.1.1.1"]


def test_each_level_supports_its_own_keys_and_those_above() -> None:
    study, series, instance = (search.supported(level) for level in Level)
    assert study < series < instance
    assert ("Modality" in study, "Modality" in series, "SOPInstanceUID" in series) == (False, True, False)


def test_modalities_of_the_study_match_below_it_too(archive: Archive) -> None:  # W-41
    with archive.database.read() as tx:
        for level, query in ((Level.SERIES, search.series), (Level.INSTANCE, search.instances)):
            for value, rows in (("SR", 2), ("CT", 8), ("CT\\SR", 8), ("S?", 2), ("MR", 0)):
                matches = [Match(keyword="ModalitiesInStudy", value=value)]
                assert len(query(tx, matches, limit=100)) == search.count(tx, matches, level) == rows


def test_digits_are_those_of_dicom(archive: Archive) -> None:
    for keyword, value in (("StudyDate", "\u0662\u0660260105"), ("NumberOfStudyRelatedSeries", "\u0662")):
        with pytest.raises(MatchRejected):
            found(archive, **{keyword: value})

"""The query table judges as it says, its questions find what they ask for, and a wrong answer gives no figure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from benchmarks.asking import Round, WrongAnswerError
from benchmarks.listed_catalogue import ListedPostgres, ListedSqlite
from benchmarks.listed_corpus import make_listed
from benchmarks.patients import listed, nth
from benchmarks.query import Row, on_page
from benchmarks.questions import KINDS, Question
from storage import schema, search
from storage.database import Database
from storage.search import Level, Match
from tests.servers import postgres

FASTER = Row(part="orthanc", kind="PatientID", clients=1, ours=(1.0, 2.0), theirs=(30.0, 50.0), why="", at_least=20.0)
LONGER = Row(part="sqlite", kind="PatientID", clients=1, ours=(3.0, 4.0), theirs=(1.0, 2.5), why="", at_most=2.0)


class _Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"[]" if self.path.endswith("wrong") else b'[{"0020000D": {"vr": "UI", "Value": ["1.2"]}}]'
        self.send_response(200)
        if self.path.startswith("/chunked"):
            self.send_header("Transfer-Encoding", "chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:1], body[1:])) + b"0\r\n\r\n"
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/plain", "/chunked"])
def test_each_answer_is_timed_and_looked_at(port: int, path: str) -> None:
    right = Question(target=path, right=lambda answer: answer[0]["0020000D"]["Value"] == ["1.2"])
    assert len(Round(port=port, questions=[right], clients=1, times=3).ask()) == 3


@pytest.mark.parametrize("path", ["/plain/wrong", "/chunked/wrong"])
def test_a_wrong_answer_gives_no_figure(port: int, path: str) -> None:
    some = Question(target=path, right=bool)
    with pytest.raises(WrongAnswerError, match="not what was asked"):
        Round(port=port, questions=[some], clients=1, times=1).ask()


def test_both_percentiles_have_to_be_that_many_times_as_fast() -> None:
    assert (FASTER.ratios, FASTER.met) == ((30.0, 25.0), True)
    assert replace(FASTER, theirs=(30.0, 39.0)).met is False
    assert replace(FASTER, theirs=None).met is None


def test_the_slow_answers_may_take_twice_as_long() -> None:
    assert (LONGER.ratios, LONGER.met) == ((3.0, 1.6), True)
    assert replace(LONGER, ours=(3.0, 6.0)).met is False
    assert replace(LONGER, at_most=None).met is None


def test_the_page_counts_the_goals() -> None:
    where = {"date": "-", "commit": "-", "processor": "-", "cores": 2, "kernel": "-", "python": "-", "load": 0}
    page = on_page({"orthanc": [FASTER, replace(FASTER, theirs=(1.0, 1.0))]}, where, "About.")
    assert "1 of 2 goals met" in page
    assert page.count("| PatientID | 1 |") == 2


def test_the_same_number_gives_the_same_study() -> None:
    assert list(listed(3)) == [nth(0), nth(1), nth(2)]
    assert {one.patient_id for one in listed(3)} == {nth(0).patient_id}
    assert len({one.study_instance_uid for one in listed(3)}) == 3


def test_every_question_has_a_value_for_every_archive() -> None:
    assert all(kind.make(studies) for kind in KINDS for studies in (400, 10_000, 1_000_000))


def test_the_files_hold_what_is_listed(tmp_path: Path) -> None:
    corpus = make_listed(tmp_path, 20)
    assert list(corpus.studies) == [one.study_instance_uid for one in listed(20)]
    assert len(corpus.instances) == sum(len(one.modalities) for one in listed(20)) == len(corpus.files)
    assert make_listed(tmp_path, 20) == corpus


def _filled(url: str) -> tuple[int, int]:
    database = Database(url)
    with database.read() as tx:
        counted = search.count(tx, [], Level.STUDY), search.count(tx, [], Level.SERIES)
        one = nth(7)
        by_name = [
            Match(keyword="PatientName", value=one.patient_name),
            Match(keyword="PatientID", value=one.patient_id),
        ]
        assert one.study_instance_uid in {row.study_instance_uid for row in search.study_rows(tx, by_name, limit=10)}
        assert tx.execute(schema.study_texts.select().limit(1)).first() is not None
    database.close()
    return counted


def test_sqlite_is_filled_once(tmp_path: Path) -> None:
    series = sum(len(one.modalities) for one in listed(300))
    for _ in range(2):
        with ListedSqlite(tmp_path, 300).ready() as filled:
            assert _filled(filled.url) == (300, series)


@pytest.mark.servers
def test_postgresql_is_filled_once(tmp_path: Path) -> None:
    if reason := postgres.available():
        pytest.skip(reason)
    series = sum(len(one.modalities) for one in listed(300))
    for _ in range(2):
        with ListedPostgres(tmp_path, 300).ready() as filled:
            assert _filled(filled.url) == (300, series)

"""The retrieval table judges as it says, and refuses a server that gives something else than it holds."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks import retrieving
from benchmarks.corpora import Corpus, make_corpus, make_multiframe
from benchmarks.holders import FloorHolder
from benchmarks.peers import MissingError, Peer
from benchmarks.report import write_page
from benchmarks.retrieve import MARKS, TASKS, Goal, on_page, summarise, verdicts
from benchmarks.retrieving import Held
from benchmarks.sender import Part10

WHERE = {"date": "-", "commit": "-", "processor": "-", "cores": 2, "kernel": "-", "python": "-"}
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus("tiny", tmp_path_factory.mktemp("corpora"), small=True, most_studies=1)


@pytest.fixture(scope="module")
def multiframe(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_multiframe(tmp_path_factory.mktemp("corpora"), frames=2)


class _Answering(Peer):
    """Gives what a test tells it to."""

    name = "answering"

    def __init__(self, port: int) -> None:
        super().__init__()
        self.http_port = port

    def command(self, folder: Path) -> list[str]:
        raise AssertionError("never started")

    def stored(self, folder: Path, corpus: Corpus) -> set[str]:
        return set()

    def data_set(self, folder: Path, uid: str) -> bytes:
        raise AssertionError("never asked")


@contextmanager
def answering(answer: Callable[[str], tuple[str, bytes]], series: Corpus, multiframe: Corpus) -> Iterator[Held]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, content = answer(self.path)
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        peer = _Answering(server.server_port)
        yield Held(peer=peer, pids=[], series=series, multiframe=multiframe, read_bytes=lambda: 0)
        server.shutdown()


def related(parts: list[bytes]) -> tuple[str, bytes]:
    body = b"".join(b"--b\r\nContent-Type: x/y\r\n\r\n" + part + b"\r\n" for part in parts)
    return 'multipart/related; boundary="b"', body + b"--b--\r\n"


def test_a_study_is_compared_data_set_by_data_set(series: Corpus, multiframe: Corpus) -> None:
    files = [path.read_bytes() for path in series.files]
    with answering(lambda _path: related(files), series, multiframe) as held:
        retrieving.check_study(held)
    changed = [files[0][:-1] + bytes([files[0][-1] ^ 1]), *files[1:]]
    for wrong in (files[1:], changed):
        with (
            answering(lambda _path, wrong=wrong: related(wrong), series, multiframe) as held,
            pytest.raises(MissingError),
        ):
            retrieving.check_study(held)


def test_metadata_has_to_name_every_instance(series: Corpus, multiframe: Corpus) -> None:
    told = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in sorted(series.instances)]
    with answering(lambda _path: ("application/dicom+json", json.dumps(told).encode()), series, multiframe) as held:
        assert len(retrieving.metadata(held, "identity")["first ms"]) == 1
    with (
        answering(lambda _path: ("application/dicom+json", json.dumps(told[1:]).encode()), series, multiframe) as held,
        pytest.raises(MissingError, match="metadata"),
    ):
        retrieving.metadata(held, "identity")


def test_a_frame_has_to_be_the_one_that_was_asked_for(series: Corpus, multiframe: Corpus) -> None:
    [path] = multiframe.files
    pixels = Part10.map(path).dataset[-2 * 512 * 1024 :]
    frames = [bytes(pixels[: 512 * 1024]), bytes(pixels[512 * 1024 :])]
    assert [frame[0] for frame in frames] == [1, 2]
    with answering(lambda _path: related(frames[:1]), series, multiframe) as held:
        assert retrieving.frame_of_multiframe(held)["read/frame"] == [0]
    with (
        answering(lambda _path: related(frames[1:]), series, multiframe) as held,
        pytest.raises(MissingError, match="frame"),
    ):
        retrieving.frame_of_multiframe(held)


def test_a_goal_compares_with_orthanc_or_stands_alone() -> None:
    figures = {"roi": {"MB/s": 1000.0, "ms p95": 9.0}, "orthanc": {"MB/s": 500.0}}
    ratio = Goal(figure="MB/s", at_least=1.8)
    assert (ratio.value(figures), ratio.met(2.0), ratio.met(1.7)) == (2.0, True, False)
    alone = Goal(figure="ms p95", of_orthanc=False, at_most=15.0)
    assert (alone.value(figures), alone.met(9.0), alone.met(15.1)) == (9.0, True, False)
    assert Goal(figure="MB/s", ours="roi-s3", at_least=1.0).value(figures) is None


def test_times_are_summarised_over_all_rounds_and_peaks_are_the_highest() -> None:
    found = summarise([{"ms": [1.0, 3.0], "peak MB": [10.0]}, {"ms": [2.0, 9.0], "peak MB": [30.0]}])
    assert found == {"ms p50": 2.5, "ms p95": 9.0, "peak MB": 30.0}


def test_the_table_goes_to_its_own_place_on_the_page(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text((ROOT / "docs" / "benchmarks.md").read_text())
    figures = [{"roi": {goal.figure: 1.0 for goal in task.goals}} for task in TASKS]
    write_page(page, on_page(figures, {"roi": "roi"}, WHERE, 3), MARKS)
    text = page.read_text()
    assert text.count(MARKS[0]) == 1
    assert "| first frame of a 90 MB multi-frame | ms p95, roi <= 15 | 1 | met |" in text
    assert verdicts(TASKS[0], figures[0])[0][1:] == ("not measured", "-")


def test_the_floor_sends_every_byte_of_a_study(series: Corpus, multiframe: Corpus, tmp_path: Path) -> None:
    floor = FloorHolder()
    floor.fill(tmp_path, [series])
    [(uid, files)] = series.studies.items()
    with floor.held(tmp_path, series, multiframe) as held:
        status, _, content = retrieving.ask(held.peer, f"/dicom-web/studies/{uid}", retrieving.FILES)
        assert (status, content) == (200, b"".join(path.read_bytes() for path in files))
        assert retrieving.study(held, 2)["MB/s"][0] > 0

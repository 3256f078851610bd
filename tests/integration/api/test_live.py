"""The web server on a real socket: stalled, cut and damaged transfers."""

from __future__ import annotations

import gc
import http.client
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from api import ApiContext, WebServer, create_app, guard
from api.dicomweb import stow
from pacs_gateway.ingest import Ingest
from storage.adapters.directory import open_store
from storage.archive import Archive
from storage.catalog import studies
from storage.records import StudyUid
from tests import builders
from tests.unit.api.requests import RELATED, body

HEAD = (
    b"POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/dicom\r\nContent-Length: %d\r\n\r\n"
)


@dataclass(frozen=True)
class Site:
    archive: Archive
    objects: Path
    port: int

    def ask(self, method: str, path: str, content: bytes = b"", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, content, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        finally:
            connection.close()

    def stall(self, sent: bytes, declared: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(HEAD % declared + sent)
        return connection


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    memory = builders.archive(tmp_path)
    objects = open_store(f"dir://{tmp_path / 'objects'}")
    archive = Archive(objects=objects, database=memory.database, spool_folder=tmp_path)
    context = ApiContext(archive=archive, ingest=Ingest(archive), public_base_url="http://127.0.0.1")
    server = WebServer(create_app(context), host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield Site(archive, tmp_path / "objects", server.port)
    server.stop()
    thread.join()
    memory.close()
    archive.close()


def test_stalled_uploads_keep_nobody_else_waiting(site: Site) -> None:
    stalled = [site.stall(b"x", 1000) for _ in range(60)]
    time.sleep(0.5)
    started = time.monotonic()
    assert site.ask("GET", "/api/worklist")[0] == 200
    assert site.ask("GET", "/health/ready")[0] == 200
    assert time.monotonic() - started < 5
    for connection in stalled:
        connection.close()


def test_a_silent_sender_is_cut_and_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow, "SILENCE_S", 0.3)
    content = builders.part10(builders.ct_slice(1))
    with site.stall(content[:-1], len(content)) as connection:
        connection.settimeout(10)
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert list(site.archive.objects.keys()) == []
    assert list(site.archive.spool_folder.glob("*.part")) == []


def test_a_short_body_that_drips_is_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.3)
    head = b"PUT /api/studies/2.25.1/priority HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        connection.sendall(head + b"Content-Type: application/json\r\n\r\n{")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_dripping_sender_is_cut(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow, "SLOW_START_S", 0.3)
    monkeypatch.setattr(stow, "CHUNK", 1)
    with site.stall(b"", 100_000) as connection:
        connection.settimeout(0.05)
        deadline = time.monotonic() + 10
        answer = b""
        while not answer and time.monotonic() < deadline:
            connection.sendall(b"x")
            try:
                answer = connection.recv(100)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 400")


def test_a_connection_cut_in_the_middle_leaves_nothing(site: Site) -> None:
    content = builders.part10(builders.ct_slice(1))
    site.stall(content[:-1], len(content)).close()
    deadline = time.monotonic() + 5
    while list(site.archive.spool_folder.glob("*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (list(site.archive.spool_folder.glob("*.part")), list(site.archive.objects.keys())) == ([], [])


def test_a_rotten_object_cuts_a_study_instead_of_shortening_it(site: Site) -> None:
    slices = [builders.part10(builders.ct_slice(number)) for number in (1, 2)]
    assert site.ask("POST", "/dicom-web/studies", body(slices), Content_Type=RELATED)[0] == 200
    with site.archive.database.read() as tx:
        rotten = studies.instances_of(tx, StudyUid("2.25.1"))[1].object_key
    (path,) = [path for path in site.objects.rglob("*") if path.name.endswith(rotten[-40:])]
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(http.client.IncompleteRead) as cut:
        site.ask("GET", "/dicom-web/studies/2.25.1")
    assert b"2.25.1.1.1" in cut.value.partial
    assert b"2.25.1.1.2" not in cut.value.partial


def test_clients_that_go_away_leave_nothing_open_and_nothing_to_tell(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    slices = [builders.part10(builders.ct_slice(number, size=512)) for number in range(1, 9)]
    assert site.ask("POST", "/dicom-web/studies", body(slices), Content_Type=RELATED)[0] == 200

    def open_objects() -> list[str]:
        here = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
        return [str(path) for path in here if path.is_relative_to(site.objects / "objects") and path.is_file()]

    for _ in range(5):
        with socket.create_connection(("127.0.0.1", site.port)) as connection:
            connection.sendall(b"GET /dicom-web/studies/2.25.1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + 10
    while open_objects() and time.monotonic() < deadline:  # what was stored is still being synced, too
        gc.collect()
        time.sleep(0.05)
    assert open_objects() == []
    assert site.ask("GET", "/health/live")[0] == 200
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_clients_of_every_pace_get_the_same_whole_study(site: Site) -> None:
    slices = [builders.part10(builders.ct_slice(number, size=512)) for number in range(1, 25)]
    assert site.ask("POST", "/dicom-web/studies", body(slices), Content_Type=RELATED)[0] == 200
    whole = site.ask("GET", "/dicom-web/studies/2.25.1")[1]
    assert len(whole) > 24 * 512 * 512 * 2

    def retrieve(pause_s: float) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
        connection.request("GET", "/dicom-web/studies/2.25.1")
        answer, read = connection.getresponse(), bytearray()
        while piece := answer.read(100_000):
            read += piece
            time.sleep(pause_s)
        connection.close()
        return bytes(read)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(retrieve, [0.0, 0.0, 0.002, 0.005, 0.01, 0.02]))
    assert [each == whole for each in found] == [True] * 6


def test_head_answers_without_a_body(site: Site) -> None:
    for path in ("/", "/api/worklist", "/health/live", "/static/worklist.css"):
        assert site.ask("HEAD", path) == (200, b"")


def test_fifty_senders_at_once_are_all_kept(site: Site) -> None:
    answers: list[int] = []

    def send(number: int) -> None:
        content = builders.part10(builders.ct_slice(number))
        answers.append(site.ask("POST", "/dicom-web/studies", content, Content_Type="application/dicom")[0])

    senders = [threading.Thread(target=send, args=(number,)) for number in range(1, 51)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert answers == [200] * 50
    assert len(list(site.archive.objects.keys())) == 50


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_serving_and_what_comes_after_still_runs(number: signal.Signals) -> None:
    code = """
from fastapi import FastAPI
from api import WebServer
server = WebServer(FastAPI(), host="127.0.0.1", port=0)
print(server.port, flush=True)
server.run()
print("closed", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/")
            if connection.getresponse().status == 404:
                break
        connection.close()
        process.send_signal(number)
        assert process.stdout.read() == "closed\n"
    assert process.returncode == 0

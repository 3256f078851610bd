"""A disk that fills up under a real archive: refused in time, nothing half kept, taken again once there is room."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from pacs_gateway.ae import Gateway
from pacs_gateway.ingest import Ingest
from pacs_gateway.part10 import write_meta
from storage.adapters.directory import DirectoryStore
from storage.archive import Archive
from storage.database import Database
from storage.migrate import migrate
from storage.records import Origin
from storage.room import Mark, Room
from storage.verify import verify
from tests.raw_scu import CT, EXPLICIT, RawScu, c_store, context, echo_status
from tests.servers.disk import SmallDisk, available, small_disk
from tests.unit.pacs_gateway.datasets import data_set

MIB = 2**20
BASE = "http://127.0.0.1:8080"
BUSY = (0xA700, "Archive is not available; send again later")
FULL = (0xA700, "No storage space left; send again later")


@dataclass
class Site:
    """A gateway and an HTTP side over one archive, all on one small disk."""

    disk: SmallDisk
    archive: Archive
    port: int
    web: TestClient

    def store(self, uid: str, size: int) -> tuple[int, str]:
        """C-STORE an instance of about `size` bytes."""
        with RawScu(self.port) as scu:
            scu.associate(context(1, CT, EXPLICIT))
            response = scu.store(1, c_store(CT, uid), _instance(uid, size), fragment=250_000)
        return response.status, response.comment

    def stow(self, uid: str, size: int) -> object:
        meta = write_meta(EXPLICIT, CT, uid, Origin(via="test"))
        return self.web.post(
            "/dicom-web/studies",
            content=meta + _instance(uid, size),
            headers={"Content-Type": "application/dicom"},
        )

    def instances(self) -> list[str]:
        """Ask QIDO-RS what is kept."""
        found = self.web.get("/dicom-web/instances", headers={"Accept": "application/dicom+json"})
        assert found.status_code in {200, 204}, found.text
        return sorted(row["00080018"]["Value"][0] for row in found.json()) if found.status_code == 200 else []

    def readiness(self) -> tuple[int, str, str]:
        answer = self.web.get("/health/ready")
        return answer.status_code, answer.json()["status"], answer.json()["checks"]["room"]

    def spooled(self) -> list[Path]:
        return list(self.archive.spool_folder.iterdir())


def _instance(uid: str, size: int) -> bytes:
    return data_set({"SOPInstanceUID": uid.encode(), "PixelData": uid.encode().ljust(size, b"\0")})


@pytest.fixture
def open_site(tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    if why := available():
        pytest.skip(why)
    with small_disk(tmp_path / "disk", size_mb=64) as disk:
        running: list[_Running] = []

        def start(mark: str) -> Site:
            running.append(_Running(disk, mark))
            return running[-1].site

        yield start
        for each in running:
            each.close()


class _Running:
    def __init__(self, disk: SmallDisk, mark: str) -> None:
        objects = DirectoryStore(disk.folder / "store")
        database = Database(f"sqlite:///{disk.folder}/catalogue.sqlite")
        migrate(database)
        # A clock that jumps: the file system is looked at each time, and no test waits for a second to pass.
        room = Room([objects.incoming, disk.folder], Mark.parse(mark), clock=itertools.count(step=10).__next__)
        self._archive = Archive(objects=objects, database=database, spool_folder=objects.incoming, room=room)
        ingest = Ingest(self._archive)
        self._gateway = Gateway(ingest=ingest, aet="ROI", host="127.0.0.1", port=0, may_call=lambda *_: True)
        self._gateway.start()
        app = create_app(
            ApiContext(archive=self._archive, ingest=ingest, public_base_url=BASE, pings={"room": room.check})
        )
        self._web = _entered(TestClient(app, base_url=BASE))
        self.site = Site(disk, self._archive, self._gateway.port, next(self._web))

    def close(self) -> None:
        next(self._web, None)
        self._gateway.stop(2.0)
        self._archive.close()


def _entered(client: TestClient) -> Iterator[TestClient]:
    with client as entered:
        yield entered


@contextmanager
def _filled(disk: SmallDisk, *, leave: int) -> Iterator[None]:
    disk.fill(leave=leave)
    try:
        yield
    finally:
        disk.free()


def test_high_water_mark_refuses_before_the_disk_is_full_and_reading_goes_on(open_site: Callable[[str], Site]) -> None:
    site = open_site("8MiB")
    assert site.store("1.5.1", 100_000) == (0, "")
    assert site.readiness() == (200, "ready", "ok")
    with _filled(site.disk, leave=8 * MIB - 4096):
        kept = sorted(site.archive.objects.keys())
        assert site.store("1.5.2", 100_000) == FULL
        answer = site.stow("1.5.3", 100_000)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")  # type: ignore[attr-defined]
        words = "Less room is free than the high-water mark keeps; what is kept can be read, nothing more is taken in."
        assert answer.headers["Warning"] == f'299 roi "{words}"'  # type: ignore[attr-defined]
        assert site.readiness() == (200, "read-only", words)
        assert site.instances() == ["1.5.1"]
        assert echo_status(site.port) == 0
        assert (site.spooled(), sorted(site.archive.objects.keys())) == ([], kept)
    assert site.store("1.5.2", 100_000) == (0, "")
    assert site.stow("1.5.3", 100_000).status_code == 200  # type: ignore[attr-defined]
    assert site.readiness() == (200, "ready", "ok")
    assert site.instances() == ["1.5.1", "1.5.2", "1.5.3"]
    assert verify(site.archive).clean


def test_long_instance_is_refused_when_it_reaches_the_mark_on_its_way(open_site: Callable[[str], Site]) -> None:
    site = open_site("8MiB")
    with _filled(site.disk, leave=20 * MIB):
        assert site.store("1.5.1", 18 * MIB) == FULL  # it would fit, and it began well above the mark
        assert site.spooled() == []
        assert site.store("1.5.2", 100_000) == (0, "")
    assert site.instances() == ["1.5.2"]


def test_disk_that_is_really_full_refuses_and_keeps_nothing_half(open_site: Callable[[str], Site]) -> None:
    site = open_site("0")
    taken = []
    with _filled(site.disk, leave=600_000):
        assert site.store("1.5.1", 2 * MIB) == FULL
        assert site.stow("1.5.2", 2 * MIB).status_code == 503  # type: ignore[attr-defined]
        answers = {}
        for number in range(40):  # ever smaller, until neither an object nor a row finds room
            uid = f"1.6.{number}"
            answers[uid] = site.store(uid, 200_000 >> (number // 4))
        taken = [uid for uid, answer in answers.items() if answer[0] == 0]
        assert set(answers.values()) <= {(0, ""), FULL, BUSY}
        assert len(taken) < 40
        assert echo_status(site.port) == 0
        assert site.instances() == sorted(taken)
        assert site.spooled() == []
        found = verify(site.archive)
        assert (found.missing, found.corrupt) == ((), ())
    for number in range(40):
        uid = f"1.6.{number}"
        assert site.store(uid, 200_000 >> (number // 4)) == (0, "")
    assert verify(site.archive).clean

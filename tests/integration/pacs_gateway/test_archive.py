"""The gateway over the real archive: objects in a folder, rows in SQLite."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa

from pacs_gateway.ae import Gateway
from pacs_gateway.ingest import Ingest
from storage.adapters.directory import DirectoryStore
from storage.archive import Archive
from storage.database import Database
from storage.migrate import migrate
from storage.records import Origin
from tests.raw_scu import CT, EXPLICIT, RELEASE_RP, RawScu, c_store, context
from tests.unit.pacs_gateway.datasets import data_set


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    objects = DirectoryStore(tmp_path / "store")
    database = Database(f"sqlite:///{tmp_path}/catalogue.sqlite")
    migrate(database)
    yield Archive(objects=objects, database=database, spool_folder=objects.incoming)
    database.close()


@pytest.fixture
def gateway(archive: Archive) -> Iterator[Gateway]:
    gateway = Gateway(ingest=Ingest(archive), aet="ROI", host="127.0.0.1", port=0, may_call=lambda *_: True)
    gateway.start()
    yield gateway
    gateway.stop(2.0)


def _instance(uid: str, **changes: bytes) -> bytes:
    return data_set({"SOPInstanceUID": uid.encode(), **changes})


def _rows(archive: Archive) -> list[tuple[str, str]]:
    with archive.database.read() as tx:
        found = tx.execute(sa.text("SELECT sop_instance_uid, object_key FROM instances ORDER BY sop_instance_uid"))
        return [(row[0], row[1]) for row in found]


def test_acknowledged_instances_are_objects_and_rows(gateway: Gateway, archive: Archive) -> None:
    sent = {f"1.5.{lane}.{number}": b"" for lane in range(4) for number in range(10)}

    def run(lane: int) -> None:
        with RawScu(gateway.port) as scu:
            scu.associate(context(1, CT, EXPLICIT))
            for number in range(10):
                uid = f"1.5.{lane}.{number}"
                sent[uid] = _instance(uid, PixelData=bytes([lane, number]) * 5000)
                assert scu.store(1, c_store(CT, uid), sent[uid]).status == 0
            assert scu.release() == RELEASE_RP

    threads = [Thread(target=run, args=(lane,)) for lane in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = {uid: hashlib.sha256(data).hexdigest() for uid, data in sent.items()}
    assert _rows(archive) == sorted(keys.items())
    for uid, key in keys.items():
        with archive.objects.open(key) as stream:  # type: ignore[arg-type]
            assert stream.read().endswith(sent[uid])
    assert list(archive.spool_folder.iterdir()) == []


def test_same_again_other_content_and_other_syntax(gateway: Gateway, archive: Archive) -> None:
    first = _instance("1.5", PixelData=b"abcd")
    with RawScu(gateway.port) as scu:
        scu.associate(context(1, CT, EXPLICIT), context(3, CT, "1.2.840.10008.1.2"))
        statuses = [
            scu.store(1, c_store(CT, "1.5"), first).status,
            scu.store(1, c_store(CT, "1.5"), first).status,
            scu.store(1, c_store(CT, "1.5"), _instance("1.5", PixelData=b"abce")).status,
            scu.store(3, c_store(CT, "1.5"), data_set({"SOPInstanceUID": b"1.5"}, explicit=False)).status,
        ]
    assert statuses[:3] == [0x0000, 0x0000, 0x0111]
    assert statuses[3] in {0x0000, 0x0111}
    assert _rows(archive) == [("1.5", hashlib.sha256(first).hexdigest())]


def test_file_comes_in_the_same_way(archive: Archive) -> None:
    from pacs_gateway.part10 import write_meta

    sent = _instance("1.6")
    file = write_meta(EXPLICIT, CT, "1.6", Origin(via="self")) + sent
    Ingest(archive).part10([file], Origin(via="import"))
    assert _rows(archive) == [("1.6", hashlib.sha256(sent).hexdigest())]

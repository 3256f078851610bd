"""The gateway over a landing zone: C-STORE hears A700 at its limit, and Success again once there is room."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacs_gateway.ae import Gateway
from pacs_gateway.ingest import Ingest
from storage.archive import Archive
from storage.catalog import landings
from storage.uploads import Pace
from tests.landed import MoodyStore, close_all, landed_archive, uploader
from tests.raw_scu import CT, EXPLICIT, RawScu, c_store, context
from tests.unit.pacs_gateway.datasets import data_set

QUICK = Pace(look_s=0.02, away_s=(0.02,))


@pytest.fixture
def store() -> MoodyStore:
    return MoodyStore()


@pytest.fixture
def archive(tmp_path: Path, store: MoodyStore) -> Iterator[Archive]:
    yield landed_archive(tmp_path, store, limit_bytes=30_000)
    close_all()


@pytest.fixture
def gateway(archive: Archive) -> Iterator[Gateway]:
    gateway = Gateway(ingest=Ingest(archive), aet="ROI", host="127.0.0.1", port=0, may_call=lambda *_: True)
    gateway.start()
    yield gateway
    gateway.stop(2.0)


def test_at_the_limit_senders_hear_a700_and_are_taken_again_when_the_store_is_back(
    gateway: Gateway, archive: Archive, store: MoodyStore
) -> None:
    store.away = True
    work = uploader(archive, pace=QUICK)
    work.start()
    try:
        with RawScu(gateway.port) as scu:
            scu.associate(context(1, CT, EXPLICIT))
            answers = [_store(scu, number) for number in range(8)]
            taken = answers.index((0xA700, "Landing zone is full; send again later"))
            assert answers[:taken] == [(0, "")] * taken
            assert {status for status, _ in answers[taken:]} == {0xA700}
            store.away = False
            late = [number for number in range(taken, 8) if _eventually_taken(scu, number)]
        assert late == list(range(taken, 8))
        _wait_until_uploaded(archive)
    finally:
        work.stop()
    assert len(set(store.keys())) == 8
    assert archive.landing is not None
    assert list(archive.landing.objects.keys()) == []


def _store(scu: RawScu, number: int) -> tuple[int, str]:
    uid = f"1.5.{number}"
    content = data_set({"SOPInstanceUID": uid.encode(), "PixelData": bytes([number]) * 8000})
    answer = scu.store(1, c_store(CT, uid), content)
    return answer.status, answer.comment


def _eventually_taken(scu: RawScu, number: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if _store(scu, number)[0] == 0:
            return True
        time.sleep(0.05)
    return False


def _wait_until_uploaded(archive: Archive) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with archive.database.read() as tx:
            if not landings.pending(tx):
                return
        time.sleep(0.05)
    raise AssertionError("not uploaded")

"""What clients hear of instances that are still in a landing zone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from pacs_gateway.ingest import Ingest
from storage.archive import Archive
from tests.builders import Clock, ct_slice, keep_data_set, part10
from tests.landed import MoodyStore, close_all, elsewhere, landed_archive, upload
from tests.unit.api.conftest import BASE

STUDY = "/dicom-web/studies/2.25.1"
RESOURCES = [
    STUDY,
    f"{STUDY}/metadata",
    f"{STUDY}/series/2.25.1.1",
    f"{STUDY}/series/2.25.1.1/instances/2.25.1.1.1",
    f"{STUDY}/series/2.25.1.1/instances/2.25.1.1.1/metadata",
    f"{STUDY}/series/2.25.1.1/instances/2.25.1.1.1/bulkdata/7FE00010",
]


@pytest.fixture
def store() -> MoodyStore:
    return MoodyStore()


@pytest.fixture
def kept(tmp_path: Path, store: MoodyStore) -> Iterator[Archive]:
    yield landed_archive(tmp_path, store, limit_bytes=3000)
    close_all()


def _client(archive: Archive) -> TestClient:
    clock = Clock()
    clock.go(90)
    pings = {"catalogue": archive.database.ping, "objects": archive.objects.ping, "room": archive.admit}
    context = ApiContext(archive=archive, ingest=Ingest(archive), public_base_url=BASE, pings=pings, clock=clock)
    return TestClient(create_app(context), base_url=BASE)


@pytest.mark.parametrize("resource", RESOURCES)
def test_another_hosts_instance_is_503_with_retry_after_until_it_is_uploaded(
    tmp_path: Path, kept: Archive, store: MoodyStore, resource: str
) -> None:
    keep_data_set(kept, ct_slice())
    far = _client(elsewhere(tmp_path, store))
    answer = far.get(resource)
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["content-type"]) == (
        503,
        "5",
        "application/problem+json",
    )
    assert "landing zone of another host" in answer.json()["detail"]
    near = _client(kept).get(resource)
    assert near.status_code == 200
    upload(kept)
    assert far.get(resource).status_code == 200


def test_a_study_of_which_one_instance_is_on_its_way_is_not_begun(
    tmp_path: Path, kept: Archive, store: MoodyStore
) -> None:
    keep_data_set(kept, ct_slice(1))
    upload(kept)
    keep_data_set(kept, ct_slice(2))
    far = _client(elsewhere(tmp_path, store))
    assert far.get(STUDY).status_code == 503
    assert far.get(f"{STUDY}/series/2.25.1.1/instances/2.25.1.1.1").status_code == 200


def test_the_backlog_is_told_with_readiness_and_an_absent_store_does_not_end_it(
    kept: Archive, store: MoodyStore
) -> None:
    client = _client(kept)
    assert "landing" not in client.get("/health/ready").json()
    store.away = True
    keep_data_set(kept, ct_slice())
    upload(kept)
    answer = client.get("/health/ready")
    (backlog,) = answer.json()["landing"]
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert kept.landing is not None
    assert backlog == {
        "host": kept.landing.place.host,
        "objects": 1,
        "bytes": len(part10(ct_slice())),
        "oldest_s": 90,
        "attempts": 1,
    }


def test_a_full_landing_zone_is_read_only_and_refuses_with_503(kept: Archive, store: MoodyStore) -> None:
    client = _client(kept)
    store.away = True
    statuses = []
    for number in range(1, 9):
        body = part10(ct_slice(number))
        answer = client.post("/dicom-web/studies", content=body, headers={"Content-Type": "application/dicom"})
        statuses.append((answer.status_code, answer.headers.get("retry-after")))
    assert statuses[0] == (200, None)
    assert statuses[-1] == (503, "5")
    store.away = False
    upload(kept)
    upload(kept)
    assert client.get("/health/ready").json()["status"] == "ready"
    answer = client.post(
        "/dicom-web/studies", content=part10(ct_slice(8)), headers={"Content-Type": "application/dicom"}
    )
    assert answer.status_code == 200

"""Asking for a result to be made again."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from storage.archive import Archive
from storage.catalog import reruns, results
from storage.records import StudyUid
from tests import builders
from tests.unit.api.test_worklist import FLAG, TOLD, Scene, scene

__all__ = ["scene"]

WISH = {"by": "BS Thu"}


@pytest.fixture
def result(archive: Archive, scene: Scene) -> str:
    scene.judge(TOLD, builders.card(), FLAG)
    with archive.database.read() as tx:
        ((record,),) = results.of_studies(tx, [StudyUid("2.25.7.1")]).values()
    return record.id


def test_a_wish_is_taken_once_and_looked_up_until_it_has_ended(
    client: TestClient, archive: Archive, clock: builders.Clock, result: str
) -> None:
    first = client.post(f"/api/results/{result}/rerun", json=WISH)
    assert (first.status_code, first.json()["state"]) == (202, "WAITING")
    assert client.post(f"/api/results/{result}/rerun", json=WISH).json()["id"] == first.json()["id"]
    path = first.headers["Location"].removeprefix("http://127.0.0.1:8080")
    with archive.database.write() as tx:
        begun = reruns.begin(tx, now=clock.now)
        assert begun is not None
        assert reruns.begin(tx, now=clock.now) is None
        assert not reruns.any_waits(tx, now=clock.now)
    assert client.get(path).json()["state"] == "RUNNING"
    with archive.database.write() as tx:
        reruns.end(tx, begun.id, {"agreement": "bit-equal"}, now=clock.go(3))
    told = client.get(path).json()
    assert (told["state"], told["answer"], told["asked_by"]) == ("ENDED", {"agreement": "bit-equal"}, "BS Thu")
    assert client.post(f"/api/results/{result}/rerun", json=WISH).json()["id"] != begun.id


def test_a_rerun_whose_process_died_or_was_to_end_is_begun_again(
    client: TestClient, archive: Archive, clock: builders.Clock, result: str
) -> None:
    client.post(f"/api/results/{result}/rerun", json=WISH)
    with archive.database.write() as tx:
        first = reruns.begin(tx, now=clock.now)
        again = reruns.begin(tx, now=clock.go(3600))
        assert first is not None
        assert again is not None
        assert first.id == again.id
        reruns.give_back(tx, again.id)
        assert reruns.begin(tx, now=clock.now) is not None


def test_what_nobody_knows_is_not_found(client: TestClient) -> None:
    assert client.post(f"/api/results/{'0' * 32}/rerun", json=WISH).status_code == 404
    assert client.get(f"/api/reruns/{'0' * 32}").status_code == 404


@pytest.mark.parametrize("wish", [{}, {"by": ""}, {"by": "x\ny"}, {"by": "x", "more": 1}])
def test_a_wish_names_who_has_it(client: TestClient, result: str, wish: dict[str, object]) -> None:
    assert client.post(f"/api/results/{result}/rerun", json=wish).status_code in {400, 422}

"""Readers open, close and report studies by calls that name them."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from storage.archive import Archive
from tests import builders
from tests.browser.scene import HEAD, Scene, Told
from tests.unit.api.test_worklist import FLAG, entries

LAN, HUY = {"by": "BS. Lan"}, {"by": "BS. Huy"}


@pytest.fixture
def scene(archive: Archive, clock: builders.Clock) -> Scene:
    return Scene(archive, clock)


def told(number: int = 1, **fields: Any) -> Told:
    return Told(number=number, name="A", age_years=1, sex="M", description="", **fields)


def delete(client: TestClient, path: str, body: dict[str, str]) -> Any:
    return client.request("DELETE", path, json=body)


def test_an_open_study_says_by_whom_and_the_second_reader_hears_it(
    client: TestClient, scene: Scene, clock: builders.Clock
) -> None:
    path = f"/api/studies/{scene.judge(told(), HEAD, FLAG)}/opened"
    (row,) = entries(client)
    assert (row["opened"], row["alert"]) == (None, True)
    answer = client.put(path, json=LAN)
    assert (answer.status_code, answer.json()["lease_s"]) == (200, 600)
    (row,) = entries(client)
    assert (row["opened"]["by"], row["alert"]) == ("BS. Lan", False)
    refused = client.put(path, json=HUY)
    assert (refused.status_code, refused.json()["title"]) == (409, "Conflict")
    assert "another reader has this study open" in refused.json()["detail"]
    assert delete(client, path, HUY).json()["opened"] is None
    (row,) = entries(client)
    assert row["alert"] is False  # it called for attention once
    client.put(path, json=HUY)
    clock.go(600)
    (row,) = entries(client)
    assert row["opened"] is None


def test_renewing_a_lease_changes_nothing_that_the_list_says(
    client: TestClient, scene: Scene, clock: builders.Clock
) -> None:
    path = f"/api/studies/{scene.complete(told())}/opened"
    client.put(path, json=LAN)
    tag = client.get("/api/worklist").headers["etag"]
    clock.go(60)
    client.put(path, json=LAN)
    assert client.get("/api/worklist").headers["etag"] == tag


def test_a_study_that_was_read_is_on_the_list_of_those_that_were(client: TestClient, scene: Scene) -> None:
    first, second = (scene.complete(told(number, minutes_ago=20 - number)) for number in (1, 2))
    answer = client.put(f"/api/studies/{first}/reported", json={**LAN, "revision": 1})
    assert answer.json()["reported"] == {
        "by": "BS. Lan",
        "at": answer.json()["reported"]["at"],
        "revision": 1,
        "again": False,
    }
    assert [(row["study_instance_uid"], row["place"]) for row in entries(client)] == [(second, 1)]
    read = client.get("/api/worklist?list=reported").json()
    assert [(row["study_instance_uid"], row["place"]) for row in read["entries"]] == [(first, None)]
    assert (read["total"], read["reported"]) == (1, 1)
    assert len(entries(client, "?list=all")) == 2
    assert len(entries(client, "?list=all&order=name")) == 2
    assert client.get("/api/worklist?list=some").status_code == 400
    assert delete(client, f"/api/studies/{first}/reported", HUY).json()["reported"] is None
    assert [row["study_instance_uid"] for row in entries(client)] == [first, second]


def test_an_image_that_came_meanwhile_keeps_the_study_on_the_list(client: TestClient, scene: Scene) -> None:
    uid = scene.complete(told())
    builders.keep(scene.archive, builders.header(9, study_instance_uid=uid))
    client.put(f"/api/studies/{uid}/reported", json={**LAN, "revision": 1})
    (row,) = entries(client)
    assert (row["reported"]["revision"], row["reported"]["again"], row["revision"]) == (1, True, 2)
    assert client.put(f"/api/studies/{uid}/reported", json={**LAN, "revision": 3}).status_code == 409


@pytest.mark.parametrize("act", ["opened", "reported"])
def test_nobody_and_nothing_is_refused(client: TestClient, scene: Scene, act: str) -> None:
    uid = scene.complete(told())
    assert client.put("/api/studies/2.25.404/" + act, json=LAN).status_code == 404
    assert delete(client, "/api/studies/2.25.404/" + act, LAN).status_code == 404
    for body in ({}, {"by": " "}, {"by": "a\nb"}, {"by": "x" * 65}, {**LAN, "more": 1}):
        assert client.put(f"/api/studies/{uid}/{act}", json=body).status_code == 400
        assert client.request("DELETE", f"/api/studies/{uid}/{act}", json=body).status_code == 400


def test_a_flag_rate_that_is_too_high_is_said_in_both_languages(client: TestClient, scene: Scene) -> None:
    for number in range(1, 11):
        scene.judge(told(number, minutes_ago=30 - number), builders.card(), FLAG)
    answer = client.get("/api/worklist").json()
    rate = answer["flag_rate"]
    assert (rate["high"], rate["waiting"], rate["flagged"]) == (True, 10, 10)
    assert rate["text"]["en"].startswith("Flag rate high (")
    assert rate["text"]["vi"].startswith("Tỷ lệ cảnh báo quá cao (")
    assert {(row["urgency"], row["alert"], row["priority"]["ai"]) for row in answer["entries"]} == {
        ("routine", False, "critical")
    }

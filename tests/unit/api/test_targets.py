"""Targets are set by a named person, move all who wait at once, and show what they promise."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from storage import schema
from storage.archive import Archive
from tests import builders
from tests.browser.scene import Scene, Told
from tests.unit.api.test_worklist import FLAG, entries


@pytest.fixture
def scene(archive: Archive, clock: builders.Clock) -> Scene:
    return Scene(archive, clock)


def told(number: int, **fields: Any) -> Told:
    return Told(number=number, name="A", age_years=1, sex="M", description="", **fields)


def test_the_defaults_are_shown_with_the_guarantee_between_every_two_classes(client: TestClient) -> None:
    shown = client.get("/api/targets").json()
    assert {each["class"]: each["minutes"] for each in shown["targets"]} == {
        "STAT": 15,
        "URGENT": 45,
        "ROUTINE": 240,
        "ai-critical": 20,
        "ai-urgent": 60,
    }
    bounds = {(each["ahead"], each["behind"]): each["minutes"] for each in shown["guarantees"]}
    assert len(bounds) == 10
    assert (bounds["ai-critical", "ROUTINE"], bounds["STAT", "ai-critical"]) == (220, 5)
    (said,) = [each["text"] for each in shown["guarantees"] if (each["ahead"], each["behind"]) == ("URGENT", "ROUTINE")]
    assert "more than 195 min later" in said["en"]
    assert "quá 195 phút" in said["vi"]


def test_a_target_that_is_set_moves_all_who_wait_in_one_audited_act(
    client: TestClient, scene: Scene, archive: Archive
) -> None:
    plain = scene.complete(told(1, minutes_ago=100))
    flagged = scene.judge(told(2, minutes_ago=50), builders.card(), FLAG)
    urgent = scene.complete(told(3, minutes_ago=20, order="HIGH"))
    assert [row["study_instance_uid"] for row in entries(client)] == [flagged, urgent, plain]
    before = client.get("/api/worklist").json()["cursor"]
    answer = client.put("/api/targets", json={"targets": {"ROUTINE": 60, "URGENT": 50}, "by": "BS. Lan"})
    assert answer.status_code == 200
    assert [(row["study_instance_uid"], row["due_at"][11:16]) for row in entries(client)] == [
        (plain, "07:20"),
        (flagged, "07:30"),
        (urgent, "08:30"),
    ]
    (change,) = client.get(f"/api/changes?since={before}").json()["changes"]
    wanted = {"from": {"ROUTINE": 240, "URGENT": 45}, "to": {"ROUTINE": 60, "URGENT": 50}, "moved": 3}
    assert (change["kind"], change["detail"]) == ("targets-changed", {**wanted, "by": "BS. Lan"})
    with archive.database.read() as tx:
        (line,) = tx.execute(sa.select(schema.audit).where(schema.audit.c.action == "targets-changed"))
        job_due = tx.execute(sa.select(schema.jobs.c.due_at)).scalars().all()
    assert (line.actor, line.detail) == ("BS. Lan", wanted)
    assert len(job_due) == 1
    set_by = {each["class"]: each["set_by"] for each in client.get("/api/targets").json()["targets"]}
    assert set_by == {"STAT": None, "URGENT": "BS. Lan", "ROUTINE": "BS. Lan", "ai-critical": None, "ai-urgent": None}


def test_a_target_set_to_what_it_is_says_nothing(client: TestClient) -> None:
    client.put("/api/targets", json={"targets": {"URGENT": 45}, "by": "BS. Lan"})
    assert client.get("/api/changes?since=0").json()["changes"] == []


@pytest.mark.parametrize(
    ("wanted", "status", "says"),
    [
        ({"URGENT": 10}, 409, "STAT (15 min) is more urgent than URGENT (10 min)"),
        ({"ai-urgent": 300}, 409, "ai-urgent (300 min) is more urgent than ROUTINE (240 min)"),
        ({"SOON": 10}, 409, "no class SOON"),
        ({"STAT": 0}, 400, "Malformed"),
        ({"ROUTINE": 10081}, 400, "Malformed"),
        ({}, 400, "Malformed"),
    ],
)
def test_targets_by_which_nobody_could_be_told_are_refused(
    client: TestClient, wanted: dict[str, int], status: int, says: str
) -> None:
    answer = client.put("/api/targets", json={"targets": wanted, "by": "BS. Lan"})
    assert (answer.status_code, answer.json()["detail"].startswith(says)) == (status, True), answer.text
    assert client.put("/api/targets", json={"targets": {"STAT": 10}}).status_code == 400


def test_new_studies_are_due_by_the_targets_that_were_set(client: TestClient, scene: Scene) -> None:
    client.put("/api/targets", json={"targets": {"ROUTINE": 90, "ai-critical": 30}, "by": "BS. Lan"})
    scene.judge(told(1, minutes_ago=10), builders.card(), FLAG)
    (row,) = entries(client)
    assert (row["due_at"], row["due_without_ai"]) == ("2026-03-01T08:20:08+00:00", "2026-03-01T09:20:08+00:00")
    assert row["place_reason"]["en"].endswith("due within 30 min of completion")


def test_an_ai_target_later_than_that_of_the_order_delays_nothing(client: TestClient, scene: Scene) -> None:
    scene.judge(told(1, minutes_ago=10, order="STAT"), builders.card(), FLAG)
    client.put("/api/targets", json={"targets": {"ai-critical": 30, "ROUTINE": 100}, "by": "BS. Lan"})
    (row,) = entries(client)
    assert row["due_at"] == row["due_without_ai"] == "2026-03-01T08:05:08+00:00"

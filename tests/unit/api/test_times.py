"""Time to flag over HTTP: the stages of a study's results, spreads and budgets; and what a list that is read notes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from storage import schema
from storage.archive import Archive
from storage.catalog import results, showings
from storage.records import Outcome, StudyUid, TriageResult
from tests import builders
from tests.browser.scene import Scene, Told, finding
from tests.unit.api.conftest import BASE

TOLD = Told(number=1, name="A", age_years=40, sex="F", description="CT", images=2)


@pytest.fixture
def scene(archive: Archive, clock: builders.Clock) -> Scene:
    return Scene(archive, clock)


def judged(scene: Scene, told: Told = TOLD, *, took_s: float = 4.0) -> StudyUid:
    """Let a run end whose stages took as long as they say, the last image `took_s` before the result."""
    at = (scene.end - timedelta(minutes=told.minutes_ago) + timedelta(seconds=12)).timestamp()
    stamps = ("received_first", "received_last", "complete", "claimed", "selected", "decoded", "predicted", "committed")
    ago = (took_s + 1, took_s, 3.5, 3.0, 2.5, 1.5, 0.25, 0)
    times = {name: at - back for name, back in zip(stamps, ago, strict=True)}
    found = (finding("haemorrhage", "Xuất huyết", "Haemorrhage", 0.9),)
    result = TriageResult(outcome=Outcome.FLAGGED, findings=found, urgency="critical", raises=True, times=times)
    return scene.judge(told, builders.card(), result)


def times(client: TestClient, uid: str) -> dict[str, Any]:
    answer = client.get(f"/api/studies/{uid}/times")
    assert answer.status_code == 200, answer.text
    (told,) = answer.json()["results"]
    return dict(told)


def test_the_stages_of_a_result_add_up_and_end_with_the_list_that_showed_it(
    client: TestClient, scene: Scene, clock: builders.Clock
) -> None:
    uid = judged(scene)
    before = times(client, uid)
    assert [stage["stage"] for stage in before["stages"]][-1] == "committed"
    shown_at = clock.go(60)
    assert client.get("/api/worklist").status_code == 200
    clock.go(60)
    client.get("/api/worklist")
    client.get("/en")
    told = times(client, uid)
    last = told["stages"][-1]
    assert (last["stage"], datetime.fromisoformat(last["at"])) == ("shown", shown_at)
    assert sum(stage["took_s"] for stage in told["stages"]) == pytest.approx(told["total_s"], abs=1e-6)
    assert told["to_flag_s"] == pytest.approx(4.0, abs=1e-5)


@pytest.mark.parametrize(
    ("method", "path", "is_shown"),
    [
        ("GET", "/api/worklist", True),
        ("GET", "/vi", True),
        ("HEAD", "/api/worklist", False),
        ("HEAD", "/vi", False),
        ("GET", "/api/worklist?offset=1", False),
    ],
)
def test_a_result_is_shown_by_a_list_that_carries_it(
    client: TestClient, scene: Scene, archive: Archive, method: str, path: str, is_shown: bool
) -> None:
    judged(scene)
    client.request(method, path)
    with archive.database.read() as tx:
        ids = tx.execute(sa.select(schema.results.c.id)).scalars().all()
        assert bool(showings.times_of(tx, ids)) == is_shown


def test_a_list_that_the_client_holds_already_shows_nothing_new(client: TestClient, scene: Scene) -> None:
    judged(scene)
    tag = client.head("/api/worklist").headers["etag"]
    assert client.get("/api/worklist", headers={"If-None-Match": tag}).status_code == 304
    assert times(client, TOLD.uid)["stages"][-1]["stage"] == "committed"


def test_a_study_that_is_removed_takes_its_showings_along(client: TestClient, scene: Scene, archive: Archive) -> None:
    judged(scene)
    client.get("/api/worklist")
    with archive.database.write() as tx:
        tx.execute(sa.delete(schema.results))
        assert tx.execute(sa.select(schema.showings)).all() == []


def test_a_showing_of_a_result_that_is_gone_is_left_out(archive: Archive, clock: builders.Clock) -> None:
    with archive.database.write() as tx:
        showings.note(tx, [results.ResultId("f" * 32)], now=clock.now)
        assert tx.execute(sa.select(schema.showings)).all() == []


def test_spreads_and_the_budget_are_of_the_runs_that_were_made(context: ApiContext, scene: Scene) -> None:
    for number in range(1, 21):
        judged(scene, replace(TOLD, number=number, minutes_ago=number), took_s=4.0 if number < 20 else 30.0)
    scene.clock.now = scene.end
    with TestClient(create_app(replace(context, flag_targets={"trial": 25.0})), base_url=BASE) as client:
        told = client.get("/api/triage/times?days=1").json()
    (model,) = told["models"]
    predicted = next(stage for stage in model["stages"] if stage["stage"] == "predicted")
    assert (told["runs"], told["complete"]) == (20, True)
    assert (predicted["count"], round(predicted["p50_s"], 3), round(predicted["p99_s"], 3)) == (20, 1.25, 1.25)
    assert (round(model["to_flag"]["p95_s"], 3), round(model["to_flag"]["p99_s"], 3)) == (4.0, 30.0)
    budget = model["budget"]
    assert (budget["target_s"], budget["runs"], budget["late"], budget["used"]) == (25.0, 20, 1, pytest.approx(1.0))


def test_what_is_asked_wrongly_is_a_problem(client: TestClient) -> None:
    for query in ("days=0", "days=29", "days=nan", "model=%3Cscript%3E"):
        answer = client.get(f"/api/triage/times?{query}")
        assert (answer.status_code, "<script>" in answer.text) == (400, False)
    assert client.get("/api/studies/2.25.404/times").status_code == 404

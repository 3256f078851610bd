"""Readers say what a finding is worth: one call, the latest word of each counts, nothing is forgotten."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from storage import schema
from storage.archive import Archive
from storage.catalog import feedback
from storage.catalog.deletions import Target, delete, find
from storage.records import Outcome, TriageResult
from tests import builders
from tests.browser.scene import Scene, finding
from tests.unit.api.test_worklist import TOLD, entries

BOTH = TriageResult(
    outcome=Outcome.FLAGGED,
    findings=(
        finding("haemorrhage", "Xuất huyết", "Haemorrhage", 0.9),
        finding("fracture", "Gãy xương", "Fracture", 0.1, "urgent"),
    ),
    urgency="critical",
    raises=True,
)


@pytest.fixture
def uid(archive: Archive, clock: builders.Clock) -> str:
    return Scene(archive, clock).judge(TOLD, builders.card(), BOTH)


@pytest.fixture
def path(client: TestClient, uid: str) -> str:
    (row,) = entries(client)
    return f"/api/results/{row['findings'][0]['result_id']}/feedback"


def say(client: TestClient, path: str, code: str, verdict: str | None, by: str = "BS. Lan") -> Any:
    return client.put(path, json={"finding": code, "verdict": verdict, "by": by})


def test_the_latest_word_of_each_reader_counts_and_every_word_is_kept(
    client: TestClient, uid: str, path: str, clock: builders.Clock
) -> None:
    for verdict, by in (("agree", "BS. Lan"), ("disagree", "BS. Huy"), ("disagree", "BS. Lan")):
        clock.go(1)
        assert say(client, path, "haemorrhage", verdict, by).status_code == 200
    (row,) = entries(client)
    said = [(each["by"], each["verdict"]) for each in row["findings"][0]["feedback"]]
    assert said == [("BS. Huy", "disagree"), ("BS. Lan", "disagree")]
    assert row["findings"][1]["feedback"] == []
    told = client.get(path).json()
    assert [(each["by"], each["verdict"]) for each in told["history"]] == [
        ("BS. Lan", "agree"),
        ("BS. Huy", "disagree"),
        ("BS. Lan", "disagree"),
    ]
    (result,) = client.get(f"/api/studies/{uid}/results").json()["results"]
    assert result["findings"][0]["feedback"] == row["findings"][0]["feedback"]


def test_a_word_that_is_taken_back_counts_no_longer(client: TestClient, path: str) -> None:
    say(client, path, "haemorrhage", "not relevant")
    answer = say(client, path, "haemorrhage", None).json()
    assert (answer["feedback"], [each["verdict"] for each in answer["history"]]) == ([], ["not relevant", None])


def test_what_a_model_missed_is_said_on_its_negative_finding(client: TestClient, path: str) -> None:
    assert say(client, path, "fracture", "missed").status_code == 200
    (row,) = entries(client)
    assert row["findings"][1]["feedback"][0]["verdict"] == "missed"
    assert row["findings"][1]["feedback"][0]["by"] == "BS. Lan"


@pytest.mark.parametrize(
    ("code", "verdict", "status"),
    [
        ("haemorrhage", "missed", 409),
        ("fracture", "disagree", 409),
        ("effusion", "missed", 409),
        ("haemorrhage", "maybe", 400),
        ("", "agree", 400),
    ],
)
def test_what_cannot_be_said_of_a_finding_is_refused(
    client: TestClient, path: str, code: str, verdict: str, status: int
) -> None:
    assert say(client, path, code, verdict).status_code == status
    assert client.get(path).json()["history"] == []
    unknown = "/api/results/" + "0" * 32 + "/feedback"
    assert say(client, unknown, "haemorrhage", "agree").status_code == 404
    assert client.get(unknown).status_code == 404


def test_feedback_is_audited_once_and_moves_nothing(client: TestClient, uid: str, path: str, archive: Archive) -> None:
    before = client.get("/api/worklist").json()
    for _ in range(2):
        say(client, path, "haemorrhage", "disagree")
    (change,) = client.get(f"/api/changes?since={before['cursor']}").json()["changes"]
    result = path.split("/")[3]
    detail = {"result": result, "finding": "haemorrhage", "verdict": "disagree"}
    assert (change["kind"], change["detail"]) == ("feedback-given", {**detail, "by": "BS. Lan"})
    with archive.database.read() as tx:
        query = sa.select(schema.audit).where(schema.audit.c.action == "feedback-given")
        (line,) = tx.execute(query)
        assert [each.by for each in feedback.since(tx, line.at)] == ["BS. Lan"]
    assert (line.actor, line.subject, line.detail) == ("BS. Lan", uid, detail)
    (row,) = entries(client)
    assert row["due_at"] == before["entries"][0]["due_at"]


def test_feedback_goes_with_the_study_it_is_about(client: TestClient, uid: str, path: str, archive: Archive) -> None:
    say(client, path, "haemorrhage", "agree")
    with archive.database.write() as tx:
        target = Target(study=uid)
        delete(tx, target, find(tx, target), now=builders.START)
    with archive.database.read() as tx:
        assert tx.execute(sa.select(schema.feedback)).all() == []

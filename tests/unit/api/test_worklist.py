from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from api.words import REASONS
from inference.completion import complete
from inference.evidence import Completion
from inference.silence import Situation
from storage import schema
from storage.archive import Archive
from storage.catalog import jobs, results, studies
from storage.records import JobState, Outcome, TriageResult
from tests import builders
from tests.browser.scene import CHEST, HEAD, Scene, Told, finding

TOLD = Told(number=1, name="Nguyễn^Thị Đào", age_years=40, sex="F", description="CLVT sọ não", images=2)
FLAG = TriageResult(
    outcome=Outcome.FLAGGED,
    findings=(finding("haemorrhage", "Xuất huyết", "Haemorrhage", 0.9),),
    urgency="critical",
    raises=True,
)


@pytest.fixture
def scene(archive: Archive, clock: builders.Clock) -> Scene:
    return Scene(archive, clock)


def entries(client: TestClient, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/api/worklist{query}")
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


def test_a_row_tells_everything_of_its_study(client: TestClient, scene: Scene) -> None:
    scene.judge(TOLD, builders.card(), FLAG)
    (row,) = entries(client)
    provenance = {key: row["findings"][0].pop(key) for key in ("result_id",)}
    assert len(provenance["result_id"]) == 32
    assert row == {
        "place": 1,
        "place_reason": {
            "vi": "AI cảnh báo: Xuất huyết 0,90; cần đọc trong 20 phút sau khi đủ ảnh",
            "en": "AI flag: Haemorrhage 0.90; due within 20 min of completion",
        },
        "urgency": "critical",
        "study_instance_uid": "2.25.7.1",
        "patient": {
            "patient_id": "BN000001",
            "issuer_of_patient_id": None,
            "patient_name": "Nguyễn^Thị Đào",
            "patient_birth_date": "19860114",
            "patient_sex": "F",
        },
        "identity_conflict": False,
        "study": {
            "study_date": None,
            "study_time": None,
            "accession_number": "A00001",
            "study_id": None,
            "study_description": "CLVT sọ não",
            "referring_physician_name": None,
            "modalities": ["CT"],
        },
        "series": [
            {
                "series_instance_uid": "2.25.7.1.1",
                "modality": "CT",
                "series_number": None,
                "series_description": None,
                "body_part_examined": None,
                "protocol_name": None,
                "manufacturer": None,
                "station_name": None,
                "pps_start_date": None,
                "pps_start_time": None,
                "scheduled_procedure_step_ids": None,
                "requested_procedure_ids": None,
                "instance_count": 2,
                "made_here": False,
            }
        ],
        "series_count": 1,
        "instance_count": 2,
        "received_first": "2026-03-01T07:50:00+00:00",
        "received_last": "2026-03-01T07:50:00+00:00",
        "completed_at": "2026-03-01T07:50:08+00:00",
        "ready_at": "2026-03-01T07:50:08+00:00",
        "due_at": "2026-03-01T08:10:08+00:00",
        "due_without_ai": "2026-03-01T11:50:08+00:00",
        "completion_reason": "association released",
        "completion_probability": None,
        "priority": {"order": None, "ai": "critical", "manual": None, "manual_by": None},
        "opened": None,
        "reported": None,
        "alert": True,
        "state": "TRIAGED",
        "revision": 1,
        "coverage": [
            {
                "model_id": "trial",
                "coverage": "analysed",
                "reason": None,
                "outcome": "FLAGGED",
                "revision": 1,
                "provisional": None,
                "text": {"vi": "AI đã phân tích", "en": "analysed by AI"},
                "reason_text": None,
                "title": "Trial",
                "label": {"vi": "Mô hình thử", "en": "Trial model"},
                "outdated": False,
                "retracted": False,
            }
        ],
        "findings": [
            {
                "code": "haemorrhage",
                "score": 0.9,
                "threshold": 0.5,
                "operating_point": "balanced",
                "positive": True,
                "urgency": "critical",
                "key_instance_uid": None,
                "key_series_uid": None,
                "name": {"vi": "Xuất huyết", "en": "Haemorrhage"},
                "model_id": "trial",
                "model_version": "1",
                "model_digest": builders.card().digest,
                "revision": 1,
                "superseded_by": None,
                "provisional": None,
                "shadow": False,
                "retracted": None,
                "label": {"vi": "Mô hình thử", "en": "Trial model"},
                "feedback": [],
            }
        ],
        "viewer": None,
    }


def test_an_empty_list_has_a_cursor_and_no_entries(client: TestClient) -> None:
    answer = client.get("/api/worklist").json()
    assert answer == {
        "as_of": "2026-03-01T08:00:00+00:00",
        "cursor": 0,
        "total": 0,
        "waiting": 0,
        "reported": 0,
        "flag_rate": {"high": False, "since": None, "waiting": None, "flagged": None, "text": None},
        "limit": 100,
        "offset": 0,
        "entries": [],
    }


def test_pages_number_their_places_through(client: TestClient, scene: Scene) -> None:
    for number in range(1, 4):
        scene.complete(Told(number=number, name="A", age_years=1, sex="M", description="", minutes_ago=60 - number))
    paged = [entry for offset in range(3) for entry in entries(client, f"?limit=1&offset={offset}")]
    assert [(row["place"], row["study_instance_uid"]) for row in paged] == [
        (1, "2.25.7.1"),
        (2, "2.25.7.2"),
        (3, "2.25.7.3"),
    ]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "offset=-1", "limit=1e3"])
def test_a_malformed_page_is_a_problem(client: TestClient, query: str) -> None:
    assert client.get(f"/api/worklist?{query}").status_code == 400


def test_a_shadow_and_a_superseded_result_are_marked(client: TestClient, scene: Scene) -> None:
    shadow = TriageResult(outcome=Outcome.FLAGGED, findings=FLAG.findings, urgency="critical", raises=False)
    uid = scene.judge(TOLD, HEAD, shadow)
    builders.keep(
        scene.archive,
        builders.header(9, study_instance_uid=uid, series_instance_uid=f"{uid}.1", sop_instance_uid=f"{uid}.1.9"),
    )
    scene.judge(TOLD, HEAD, FLAG)
    (row,) = entries(client)
    assert [(one["revision"], one["superseded_by"], one["shadow"]) for one in row["findings"]] == [
        (2, None, False),
        (1, 2, True),
    ]
    # Images of the first patient and of the second name of `builders.header` stand in one study.
    assert row["identity_conflict"] is True


@pytest.mark.parametrize(
    ("result", "coverage", "reason"),
    [
        (TriageResult(outcome=Outcome.FAILED, reason="timeout"), "failed", "timeout"),
        (TriageResult(outcome=Outcome.NOT_SUITABLE, reason="gantry_tilt"), "not suitable", "gantry_tilt"),
    ],
)
def test_what_gave_no_answer_never_looks_like_nothing_found(
    client: TestClient, scene: Scene, result: TriageResult, coverage: str, reason: str
) -> None:
    scene.judge(TOLD, HEAD, result)
    (row,) = entries(client)
    (line,) = row["coverage"]
    assert (line["coverage"], line["reason"], row["findings"]) == (coverage, reason, [])
    assert line["text"]["vi"].startswith("chưa phân tích")
    assert line["text"]["en"].startswith("not analysed")


def test_every_reason_code_on_the_reference_page_has_words() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference.md").read_text(encoding="utf-8")
    section = page.partition("## Reason codes\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(REASONS)


def test_an_unchanged_list_is_304_until_something_is_said_anew(
    client: TestClient, scene: Scene, clock: builders.Clock
) -> None:
    scene.complete(TOLD, HEAD)
    tag = client.get("/api/worklist").headers["etag"]
    clock.go(5)
    held = client.get("/api/worklist", headers={"If-None-Match": f'"other", {tag}'})
    assert (held.status_code, held.content, held.headers["etag"]) == (304, b"", tag)
    with scene.archive.database.write() as tx:  # a run that starts is no change of the feed, yet the row tells it
        assert jobs.claim(tx, owner="worker", lease=timedelta(minutes=1), now=clock.now)
    assert client.get("/api/worklist", headers={"If-None-Match": tag}).status_code == 200


def test_one_entry_is_found_by_its_study(client: TestClient, scene: Scene) -> None:
    scene.complete(TOLD)
    (listed,) = entries(client)
    one = client.get("/api/worklist/2.25.7.1").json()
    assert {**listed, "place": None} == {key: one[key] for key in listed}
    assert client.get("/api/worklist/1.2.3").status_code == 404


def test_changes_follow_a_cursor(client: TestClient, scene: Scene) -> None:
    scene.complete(TOLD)
    first = client.get("/api/changes?since=0&limit=2").json()
    rest = client.get(f"/api/changes?since={first['cursor']}").json()
    assert [change["kind"] for change in first["changes"] + rest["changes"]] == [
        "instance-stored",
        "instance-stored",
        "study-complete",
    ]
    assert client.get(f"/api/changes?since={rest['cursor']}").json() == {"changes": [], "cursor": rest["cursor"]}


def audit_lines(archive: Archive) -> list[tuple[Any, ...]]:
    table = schema.audit
    with archive.database.read() as tx:
        query = sa.select(table.c.actor, table.c.action, table.c.subject, table.c.detail)
        return [tuple(row) for row in tx.execute(query)]


def test_a_persons_stat_goes_on_top_and_is_audited(client: TestClient, scene: Scene) -> None:
    first = scene.complete(Told(number=1, name="A", age_years=1, sex="M", description="", minutes_ago=60))
    second = scene.complete(Told(number=2, name="B", age_years=1, sex="M", description="", minutes_ago=5))
    wanted = {"kind": "manual", "priority": "STAT", "by": " BS. Lan "}
    answer = client.put(f"/api/studies/{second}/priority", json=wanted)
    assert answer.status_code == 200
    assert answer.json()["priority"] == {"order": None, "ai": None, "manual": "STAT", "manual_by": "BS. Lan"}
    assert [row["study_instance_uid"] for row in entries(client)] == [second, first]
    move = {
        "cause": "manual",
        "moved_s": -225 * 60.0,
        "from": "2026-03-01T11:55:08+00:00",
        "to": "2026-03-01T08:10:08+00:00",
        "ai": None,
        "open": False,
    }
    assert audit_lines(scene.archive) == [
        ("BS. Lan", "set-priority", second, {"kind": "manual", "from": None, "to": "STAT"}),
        ("BS. Lan", "priority-changed", second, move),
    ]
    (change,) = client.get("/api/changes?since=8").json()["changes"]
    assert (change["kind"], change["study_instance_uid"], change["detail"]) == (
        "priority-changed",
        second,
        {**move, "by": "BS. Lan"},
    )


def test_an_orders_priority_moves_the_due_time_and_can_be_taken_back(client: TestClient, scene: Scene) -> None:
    uid = scene.complete(TOLD)
    due = [
        client.put(f"/api/studies/{uid}/priority", json={"kind": "order", "priority": wanted, "by": "RIS"}).json()[
            "due_at"
        ]
        for wanted in ("URGENT", None)
    ]
    assert due == ["2026-03-01T08:35:08+00:00", "2026-03-01T11:50:08+00:00"]


def test_a_change_that_moves_no_due_time_is_heard_all_the_same(client: TestClient, scene: Scene) -> None:
    uid = scene.complete(Told(number=1, name="A", age_years=1, sex="M", description="", order="STAT"))
    before = client.get("/api/worklist").json()["cursor"]
    client.put(f"/api/studies/{uid}/priority", json={"kind": "manual", "priority": "STAT", "by": "BS. Lan"})
    (change,) = client.get(f"/api/changes?since={before}").json()["changes"]
    assert change["kind"] == "priority-changed"
    assert (change["detail"]["moved_s"], change["detail"]["by"]) == (0.0, "BS. Lan")
    assert change["detail"]["from"] == change["detail"]["to"]


def test_the_priority_of_an_unknown_study_is_404(client: TestClient) -> None:
    body = {"kind": "manual", "priority": "STAT", "by": "BS. Lan"}
    assert client.put("/api/studies/1.2.3/priority", json=body).status_code == 404


def test_results_are_told_whole_and_newest_first(client: TestClient, scene: Scene) -> None:
    uid = scene.judge(TOLD, builders.card(), FLAG)
    answer = client.get(f"/api/studies/{uid}/results").json()
    (result,) = answer["results"]
    assert (answer["study_instance_uid"], answer["revision"]) == (uid, 1)
    assert (result["outcome"], result["model_id"], result["label"]["en"]) == ("FLAGGED", "trial", "Trial model")
    assert [one["code"] for one in result["findings"]] == ["haemorrhage"]
    assert client.get("/api/studies/1.2.3/results").status_code == 404


def test_a_model_no_longer_installed_keeps_a_warning(client: TestClient, scene: Scene) -> None:
    scene.judge(TOLD, CHEST, FLAG)
    (row,) = entries(client)
    assert row["findings"][0]["label"]["en"] == "This model is no longer installed."


def test_model_cards_are_listed(client: TestClient) -> None:
    (card,) = client.get("/api/models").json()["models"]
    assert (card["id"], card["digest"], card["label_en"]) == ("trial", builders.card().digest, "Trial model")


def test_a_provisional_flag_is_marked_until_the_whole_series_was_judged(client: TestClient, scene: Scene) -> None:
    uid = scene.flag_early(replace(TOLD, images=14), builders.card(), FLAG)
    (row,) = entries(client)
    assert (row["state"], row["ready_at"], row["urgency"]) == ("RECEIVING", None, "critical")
    assert row["place_reason"] == {
        "vi": "AI cảnh báo tạm thời: Xuất huyết 0,90; đang nhận ảnh",
        "en": "provisional AI flag: Haemorrhage 0.90; images still arriving",
    }
    assert [(line["coverage"], line["provisional"]) for line in row["coverage"]] == [("waiting", 14)]
    assert [finding["provisional"] for finding in row["findings"]] == [14]
    page = client.get("/vi").text, client.get("/en").text
    assert "tạm thời, trên 14 lát đầu nhận được" in page[0]
    assert "provisional, on the first 14 slices received" in page[1]
    with scene.archive.database.write() as tx:
        study = studies.get(tx, uid)
        why = Completion(reason="test", probability=0.99, situation=Situation.WHOLE)
        complete(tx, study, [builders.card()], why=why, now=scene.clock.go(10))
        job = jobs.claim(tx, owner="scene", lease=timedelta(minutes=1), now=scene.clock.now)
        assert job is not None
        results.add(tx, job, FLAG, now=scene.clock.now)
        jobs.end(tx, job.id, owner="scene", state=JobState.DONE, reason=None, now=scene.clock.now)
    (row,) = entries(client)
    assert [(finding["provisional"], finding["superseded_by"]) for finding in row["findings"]] == [(None, None)]
    told = client.get(f"/api/studies/{uid}/results").json()["results"]
    assert [(each["provisional"], each["superseded_by"]) for each in told] == [(None, None), (14, 1)]

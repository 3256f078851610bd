"""The site's word on its models over HTTP: every step by a named person, and what readers see of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from models.contract import InputRules
from storage.archive import Archive
from storage.catalog import jobs, local_checks, studies
from storage.catalog import operating_points as points
from storage.records import Outcome, TriageResult
from tests import builders
from tests.browser.scene import Scene, Told, finding

SAID = {"by": "BS. Lan", "reason": "as agreed"}
FLAG = TriageResult(
    outcome=Outcome.FLAGGED,
    findings=(replace(finding("trial-finding", "Dấu hiệu", "Finding", 0.9), key_instance_uid="2.25.7.1.1.1"),),
    urgency="critical",
    raises=True,
)
TOLD = Told(number=1, name="Nguyễn^Thị Đào", age_years=40, sex="F", description="CLVT sọ não", images=2)


@pytest.fixture
def scene(archive: Archive, clock: builders.Clock) -> Scene:
    return Scene(archive, clock)


def _site(client: TestClient) -> dict[str, Any]:
    told: dict[str, Any] = client.get("/api/models/trial").json()["site"]
    return told


def _row(client: TestClient, uid: str = "2.25.7.1") -> dict[str, Any]:
    row: dict[str, Any] = client.get(f"/api/worklist/{uid}").json()
    return row


def test_a_model_tells_its_card_and_the_site_s_word(client: TestClient) -> None:
    (model,) = client.get("/api/models").json()["models"]
    assert (model["id"], model["findings"][0]["code"]) == ("trial", "trial-finding")
    assert (model["site"]["deployment"]["status"], model["site"]["moves"]) == ("ENABLED", True)
    assert model["site"]["deployment"]["by"] == "Rọi"
    assert client.get("/api/models/another").status_code == 404


def test_a_model_is_retired_and_back_in_the_shadow_by_a_named_person(client: TestClient) -> None:
    for status in ("RETIRED", "SHADOW"):
        answer = client.put("/api/models/trial/status", json={"status": status, **SAID})
        assert (answer.status_code, answer.json()["site"]["moves"]) == (200, False)
    assert _site(client)["deployment"]["by"] == "BS. Lan"
    again = client.put("/api/models/trial/status", json={"status": "SHADOW", **SAID})
    assert (again.status_code, "SHADOW" in again.json()["detail"]) == (409, True)
    nobody = client.put("/api/models/trial/status", json={"status": "RETIRED", "by": " ", "reason": "x"})
    assert nobody.status_code == 400


def test_a_phantom_model_is_not_enabled_for_patients(client: TestClient) -> None:
    answer = client.put("/api/models/trial/status", json={"status": "ENABLED", "mode": "clinical", **SAID})
    assert (answer.status_code, "no setting changes that" in answer.json()["detail"]) == (409, True)
    without = client.put("/api/models/trial/status", json={"status": "ENABLED", **SAID})
    assert without.status_code == 409


def test_a_stop_shows_on_the_row_and_the_page_and_reading_goes_on(client: TestClient, scene: Scene) -> None:
    scene.complete(TOLD, builders.card())
    stopped = client.post("/api/all-models/stop", json=SAID).json()
    assert stopped == {"stopped": "*", "studies": 1}
    (line,) = _row(client)["coverage"]
    assert (line["coverage"], line["text"]["vi"]) == ("opted out", "Không phân tích AI")
    assert line["reason_text"] == {"vi": "mô hình đang dừng", "en": "the model is stopped"}
    page = client.get("/vi").text
    assert "Không phân tích AI" in page
    assert "mô hình đang dừng" in page
    assert _site(client)["stop"]["by"] == "BS. Lan"
    assert client.post("/api/all-models/start", json=SAID).json()["was_stopped"] is True
    assert client.post("/api/models/trial/start", json=SAID).json()["was_stopped"] is False


def test_an_ai_optout_shows_on_the_row_and_ends_by_its_number(client: TestClient, scene: Scene) -> None:
    declared = client.post("/api/opt-outs", json={"patient_id": "BN000001", **SAID}).json()
    scene.complete(TOLD, builders.card())
    (line,) = _row(client)["coverage"]
    assert (line["coverage"], line["reason_text"]["vi"]) == ("opted out", "người bệnh từ chối AI")
    (listed,) = client.get("/api/opt-outs").json()["opt_outs"]
    assert listed == declared["opt_out"]
    ended = client.post(f"/api/opt-outs/{listed['id']}/end", json=SAID).json()
    assert ended["ended_at"] is not None
    assert client.get("/api/opt-outs").json()["opt_outs"] == []
    assert client.post("/api/opt-outs/99/end", json=SAID).status_code == 404


def test_a_workitem_of_a_job_that_was_not_to_be_run_is_canceled_with_its_reason(
    client: TestClient, scene: Scene
) -> None:
    scene.complete(TOLD, builders.card())
    client.post("/api/models/trial/stop", json=SAID)
    found = client.get("/dicom-web/workitems", params={"ProcedureStepState": "CANCELED", "includefield": "all"}).json()
    (progress,) = found[0]["00741002"]["Value"]
    assert progress["00741238"]["Value"] == ["model_stopped"]


def test_a_retraction_shows_wherever_the_result_did(client: TestClient, scene: Scene, archive: Archive) -> None:
    uid = scene.judge(TOLD, builders.card(), FLAG)
    flagged = _row(client, uid)
    result = flagged["findings"][0]["result_id"]
    told = client.post(f"/api/results/{result}/retract", json=SAID).json()
    assert told["retracted"]["by"] == "BS. Lan"
    row = _row(client, uid)
    assert row["findings"][0]["retracted"]["why"] == "as agreed"
    assert (row["priority"]["ai"], row["urgency"], row["due_at"] > flagged["due_at"]) == (None, "routine", True)
    assert row["coverage"][0]["retracted"] is True
    (kept,) = client.get(f"/api/studies/{uid}/results").json()["results"]
    assert (kept["outcome"], kept["retracted"]["by"]) == ("FLAGGED", "BS. Lan")
    for language, words in (("vi", "Kết quả AI đã thu hồi"), ("en", "AI result retracted")):
        page = client.get(f"/{language}").text
        assert words in page
        assert "0,90" not in page
        assert "0.90" not in page
    assert "nothing suggested" not in client.get("/en").text
    changes = client.get("/api/changes?since=0").json()["changes"]
    assert [change["detail"]["result"] for change in changes if change["kind"] == "result-retracted"] == [result]
    assert client.post(f"/api/results/{'0' * 32}/retract", json=SAID).status_code == 404


def test_a_permit_is_recorded_and_a_half_one_refused(client: TestClient) -> None:
    whole = {"kind": "circulation", "number": "220000001/PCBB-BYT", "signed_on": "2026-01-01", **SAID}
    assert (
        client.post("/api/models/trial/permits", json=whole).json()["site"]["permits"][0]["number"] == whole["number"]
    )
    half = {"kind": "research", "signed_by": "GS. Hoa", "signed_on": "2026-01-01", **SAID}
    assert client.post("/api/models/trial/permits", json=half).status_code == 409


def test_a_research_model_s_results_say_so_before_its_label(client: TestClient, scene: Scene) -> None:
    research = {"site": {"status": "ENABLED", "mode": "research"}}
    scene.judge(TOLD, builders.card(), replace(FLAG, provenance=research))
    assert _row(client)["findings"][0]["label"]["vi"] == "Chỉ dùng cho nghiên cứu. Mô hình thử"
    assert "Chỉ dùng cho nghiên cứu." in client.get("/vi").text


def test_what_a_person_says_never_reaches_a_job_of_another_study(client: TestClient, scene: Scene) -> None:
    uid = scene.complete(TOLD, builders.card())
    client.post("/api/opt-outs", json={"patient_id": "BN999999", **SAID})
    with scene.archive.database.read() as tx:
        assert len(jobs.waiting(tx, now=scene.clock.now)) == 1
        assert studies.get(tx, uid).patient_id == "BN000001"


def test_an_incident_freezes_the_result_and_tells_its_due_dates(client: TestClient, scene: Scene) -> None:
    uid = scene.judge(TOLD, builders.card(), FLAG)
    result = _row(client, uid)["findings"][0]["result_id"]
    told = {"model": "trial", "result": result, "what": "flag on an artefact", "by": "BS. Lan"}
    made = client.post("/api/incidents", json={**told, "known_at": "2026-03-01T07:00:00+00:00"}).json()
    assert [duty["due_at"] for duty in made["duties"]] == [
        "2026-03-04T07:00:00+00:00",
        "2026-03-06T17:00:00+00:00",
        "2026-03-16T07:00:00+00:00",
    ]
    client.post(f"/api/results/{result}/retract", json=SAID)
    done = client.post(f"/api/incidents/{made['id']}/done", json={"duty": "first notice", "by": "BS. Hoa"}).json()
    assert done["duties"][0]["done_by"] == "BS. Hoa"
    (listed,) = client.get("/api/incidents").json()["incidents"]
    assert listed["frozen"]["findings"][0]["score"] == 0.9
    assert (listed["frozen"]["outcome"], listed["model_digest"]) == ("FLAGGED", builders.card().digest)
    assert client.post("/api/incidents", json={**told, "known_at": "2027-03-01T07:00:00+00:00"}).status_code == 409
    assert client.post("/api/incidents", json={**told, "result": "0" * 32}).status_code == 404
    assert client.post("/api/incidents", json={**told, "model": "never-here"}).status_code == 404
    assert client.post(f"/api/incidents/{'0' * 32}/done", json={"duty": "notice", "by": "x"}).status_code == 404


def test_a_retracted_result_is_told_of_in_the_workitem_of_its_job(client: TestClient, scene: Scene) -> None:
    uid = scene.judge(TOLD, builders.card(), FLAG)
    result = _row(client, uid)["findings"][0]["result_id"]
    asked = {"StudyInstanceUID": uid, "includefield": "all"}
    (before,) = client.get("/dicom-web/workitems", params=asked).json()
    assert "Value" not in before["00741002"]
    client.post(f"/api/results/{result}/retract", json=SAID)
    (after,) = client.get("/dicom-web/workitems", params=asked).json()
    assert after["00741000"]["Value"] == ["COMPLETED"]
    (progress,) = after["00741002"]["Value"]
    assert progress["00741006"]["Value"] == ["The result was retracted: as agreed"]


def test_a_report_counts_what_was_said_of_this_week_s_studies(client: TestClient, scene: Scene) -> None:
    scene.judge(TOLD, builders.card(), FLAG)
    told = client.get("/api/models/trial/report").json()
    (week,) = told["weeks"]
    assert (week["begins"], week["asked"], week["flagged"]["hits"]) == ("2026-02-23T00:00:00+00:00", 1, 1)
    assert week["ppv"] == {"trial-finding": None}
    assert {each["psi"] for each in told["drift"]} == {None}


def test_the_page_tells_of_each_model_in_both_languages_and_escapes_what_people_write(
    client: TestClient, archive: Archive, clock: builders.Clock
) -> None:
    shares = {"value": 0.9, "low": 0.8, "high": 0.95, "hits": 54, "of": 60}
    figures = {"sensitivity": shares, "specificity": shares, "ppv": None, "labelled": 300}
    with archive.database.write() as tx:
        found = {"findings": {"trial-finding": figures}, "refused": []}
        digest = builders.card().digest
        local_checks.add(tx, digest, found, passed=True, by="BS. Lan", now=clock.now)
        points.choose(tx, digest, "trial-finding", 0.125, figures={}, by="BS. Lan", now=clock.now)
    client.post("/api/all-models/stop", json={"by": "BS. Lan", "reason": "<b>fire drill</b>"})
    told = {
        "vi": (
            "Đang dùng (chỉ ảnh mô phỏng)",
            "ĐANG DỪNG",
            "độ nhạy 0,90 (0,80–0,95)",
            "dấu hiệu thử: 0,12 (của đơn vị)",
        ),
        "en": ("Enabled (phantoms only)", "STOPPED", "sensitivity 0.90 (0.80–0.95)", "trial finding: 0.12 (the site"),
    }
    for language, words in told.items():
        page = client.get(f"/{language}/models")
        assert page.headers["Content-Language"] == language
        assert [word for word in words if word not in page.text] == []
        assert "<b>fire drill" not in page.text
    assert 'href="/vi/models"' in client.get("/vi").text


@dataclass(frozen=True, kw_only=True, slots=True)
class _Aged(InputRules):
    min_age_years: int = 15


def test_a_card_that_is_for_adults_says_so_on_the_page(context: ApiContext) -> None:
    rules = builders.card().input_rules
    aged = _Aged(kind=rules.kind, modalities=rules.modalities, sop_class_uids=rules.sop_class_uids)
    card = replace(builders.card(), input_rules=aged)
    with TestClient(create_app(replace(context, cards=(card,))), base_url=context.public_base_url) as client:
        assert "chỉ từ 15 tuổi" in client.get("/vi/models").text
        assert "from 15 years on only" in client.get("/en/models").text
        assert client.get("/api/models/trial").json()["input_rules"]["min_age_years"] == 15

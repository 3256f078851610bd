"""An administrator sees the copies in quarantine and decides on them."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from api.context import ApiContext
from storage.catalog import studies
from storage.records import StudyUid
from tests.builders import ct_slice, part10

TOLD = {"by": "BS. Lan", "reason": "corrected at the modality"}


@pytest.fixture
def copy(context: ApiContext, client: TestClient) -> int:
    """One copy that waits, by its id."""
    for value_hu in (40.0, 70.0):
        client.post(
            "/dicom-web/studies",
            content=part10(ct_slice(value_hu=value_hu)),
            headers={"Content-Type": "application/dicom"},
        )
    (told,) = client.get("/api/quarantine").json()["copies"]
    return int(told["id"])


def _kept_key(context: ApiContext) -> str:
    with context.archive.database.read() as tx:
        (kept,) = studies.instances_of(tx, StudyUid("2.25.1"))
    return kept.object_key


def test_copies_are_listed_until_decided_on(client: TestClient, copy: int) -> None:
    told = client.get("/api/quarantine").json()
    (one,) = told["copies"]
    assert (told["waiting"], one["state"], one["reason"]) == (1, "WAITING", "other content")
    assert client.get("/api/integrity").json()["quarantined"] == 1
    assert client.get(f"/api/quarantine/{copy}").json() == one
    assert client.get(f"/api/quarantine?after={copy}").json()["copies"] == []
    assert client.post(f"/api/quarantine/{copy}/reject", json=TOLD).json()["state"] == "REJECTED"
    assert client.get("/api/quarantine").json() == {"waiting": 0, "copies": []}
    (decided,) = client.get("/api/quarantine?all=true").json()["copies"]
    assert (decided["decided_by"], decided["decided_why"]) == (TOLD["by"], TOLD["reason"])


def test_a_released_copy_is_what_is_retrieved(context: ApiContext, client: TestClient, copy: int) -> None:
    wanted = client.get(f"/api/quarantine/{copy}").json()["object_key"]
    for _ in range(2):
        told = client.post(f"/api/quarantine/{copy}/release", json=TOLD)
        assert (told.status_code, told.json()["state"]) == (200, "RELEASED")
    assert _kept_key(context) == wanted
    refused = client.post(f"/api/quarantine/{copy}/reject", json=TOLD)
    assert (refused.status_code, refused.json()["detail"]) == (409, "The copy was decided on otherwise before.")


@pytest.mark.parametrize("body", [{}, {"by": "anna"}, {"by": " ", "reason": "x"}, {**TOLD, "more": 1}])
def test_who_and_why_must_be_said(context: ApiContext, client: TestClient, copy: int, body: dict[str, object]) -> None:
    before = _kept_key(context)
    assert client.post(f"/api/quarantine/{copy}/release", json=body).status_code == 400
    assert _kept_key(context) == before


@pytest.mark.parametrize(("path", "status"), [("99", 404), ("0", 400), ("x", 400), (str(2**63), 400)])
def test_a_copy_that_is_not_there(client: TestClient, path: str, status: int) -> None:
    assert client.get(f"/api/quarantine/{path}").status_code == status
    assert client.post(f"/api/quarantine/{path}/release", json=TOLD).status_code == status

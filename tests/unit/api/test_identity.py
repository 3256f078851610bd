"""Studies that name more than one patient are listed without the patients' IDs, and cleared by a person (D-25)."""

from __future__ import annotations

import sqlalchemy as sa
from fastapi.testclient import TestClient

from api import words
from storage import schema
from storage.archive import Archive
from tests.builders import header, keep

TOLD = {"by": "BS. Lan", "reason": "one person"}


def test_a_conflict_of_identity_is_listed_until_cleared(client: TestClient, archive: Archive) -> None:
    keep(archive, header(1))
    assert client.get("/api/identity-conflicts").json() == {"studies": []}
    keep(archive, header(2, patient_id="SECRET-2"))
    told = client.get("/api/identity-conflicts")
    assert (told.json(), "SECRET-2" in told.text) == ({"studies": ["2.25.1"]}, False)
    marks = {"/vi": words.IDENTITY_CONFLICT.vi, "/en": words.IDENTITY_CONFLICT.en}
    assert all(mark in client.get(page).text for page, mark in marks.items())
    for _ in range(2):
        cleared = client.post("/api/identity-conflicts/2.25.1/clear", json=TOLD)
        assert (cleared.status_code, cleared.json()["identity_conflict"]) == (200, False)
    assert not any(mark in client.get(page).text for page, mark in marks.items())
    with archive.database.read() as tx:
        (line,) = tx.execute(sa.select(schema.audit)).all()
    assert (line.actor, line.action, line.subject) == (TOLD["by"], "identity-reconciled", "2.25.1")
    assert client.get("/api/changes?since=0").json()["changes"][-1]["kind"] == "identity-reconciled"
    keep(archive, header(3, patient_id="SECRET-3"))
    assert client.get("/api/identity-conflicts").json() == {"studies": ["2.25.1"]}


def test_only_a_study_that_is_there_is_cleared_and_by_somebody(client: TestClient) -> None:
    assert client.post("/api/identity-conflicts/2.25.99/clear", json=TOLD).status_code == 404
    assert client.post("/api/identity-conflicts/2.25.99/clear", json={"by": "anna"}).status_code == 400

"""What is hidden over HTTP: nowhere on any route, listed for an administrator, and brought back.  W-70."""

from __future__ import annotations

import re
from typing import Any

import pydicom
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from api.context import ApiContext
from pacs_gateway.rejection_note import read_note
from pacs_gateway.reread import read_object
from storage import rejection, schema
from storage.archive import Archive
from storage.catalog.deletions import Target
from storage.errors import ObjectStoreUnavailable
from storage.records import StudyUid
from storage.removal import remove
from tests import builders
from tests.unit.api.requests import store
from tests.unit.api.test_removal import ONE, SERIES, STUDY, TOLD, delete

_FILLED = {
    "study": "2.25.1",
    "series": "2.25.1.1",
    "instance": "2.25.1.1.1",
    "frames": "1",
    "path": "7FE00010",
    "language": "en",
    "row_id": "1",
    "model": "trial",
    "incident": "0" * 32,
    "rerun": "0" * 32,
    "result": "0" * 32,
    "workitem": "2.25.5",
}
"""A value for every parameter that a path has: a route with another one has to be thought of here."""
_MAY_TELL = {"/api/changes", "/api/hidden", "/api/hidden/{study}/restore"}
"""What tells that something was hidden."""


@pytest.fixture
def paths(client: TestClient) -> list[tuple[str, str]]:
    """Every path that can be read: as it is declared, and filled for the instance to be hidden."""
    described = client.get("/api/openapi.json").json()["paths"]
    declared = [path for path, methods in described.items() if "get" in methods]
    return [(path, re.sub(r"\{(\w+)\}", lambda name: _FILLED[name[1]], path)) for path in declared]


def _tells(client: TestClient, path: str) -> bool:
    """Whether an answer speaks of the study or of anything in it."""
    asked = client.get(path, params={"since": 0} if path == "/api/changes" else None)
    return asked.status_code == 200 and bool("/2.25.1" in path or "2.25.1" in asked.text)


def test_no_route_tells_of_what_is_hidden(client: TestClient, paths: list[tuple[str, str]]) -> None:
    store(client, builders.ct_slice(1))
    told = {declared for declared, path in paths if _tells(client, path)}
    about_it = {
        declared for declared, _ in paths if declared.startswith(("/dicom-web", "/api")) and "study" in declared
    }
    assert about_it - _MAY_TELL <= told  # else the next line proves nothing
    assert {"/dicom-web/studies", "/dicom-web/series", "/dicom-web/instances", "/api/worklist"} <= told
    assert delete(client, STUDY).status_code == 204
    assert {declared for declared, path in paths if _tells(client, path)} - _MAY_TELL == set()


def test_no_route_tells_of_one_hidden_instance_of_a_series(client: TestClient, paths: list[tuple[str, str]]) -> None:
    store(client, builders.ct_slice(1), builders.ct_slice(2))
    delete(client, ONE)
    for declared, path in paths:
        if declared in _MAY_TELL:
            continue
        answer = client.get(path)
        assert "2.25.1.1.1" not in re.sub(r"2\.25\.1\.1\.1\d", "", answer.text), declared
        if "{instance}" in declared:
            assert answer.status_code == 404, declared
    answered = client.get("/dicom-web/studies").json()[0]
    assert (answered["00201206"]["Value"], answered["00201208"]["Value"]) == ([1], [1])


def test_other_methods_do_not_find_what_is_hidden(client: TestClient) -> None:
    store(client, builders.ct_slice(1))
    delete(client, STUDY)
    change = {"kind": "manual", "priority": "STAT", "by": "BS. Lan"}
    assert client.put("/api/studies/2.25.1/priority", json=change).status_code == 404
    told = {"by": "BS. Lan", "reason": "test"}
    assert client.post("/api/identity-conflicts/2.25.1/clear", json=told).status_code == 404


def test_what_is_hidden_is_listed_and_restored(client: TestClient) -> None:
    store(client, builders.ct_slice(1), builders.ct_slice(2))
    delete(client, STUDY)
    listed = client.get("/api/hidden", params={"study": "2.25.1"}).json()
    assert listed["total"] == 2
    assert [(each["sop_instance_uid"], each["hidden_by"]) for each in listed["hidden"]] == [
        ("2.25.1.1.1", "BS. Lan"),
        ("2.25.1.1.2", "BS. Lan"),
    ]
    more = client.get("/api/hidden", params={"after": listed["hidden"][0]["id"], "limit": 1}).json()["hidden"]
    assert [each["sop_instance_uid"] for each in more] == ["2.25.1.1.2"]
    body = {**TOLD, "instance": "2.25.1.1.2"}
    assert client.post("/api/hidden/2.25.1/restore", json=body).json()["instances"] == 1
    assert client.get(ONE).status_code == 404
    assert client.post("/api/hidden/2.25.1/restore", json=TOLD).json()["instances"] == 1
    assert client.get(ONE).status_code == 200
    assert client.post("/api/hidden/2.25.1/restore", json=TOLD).status_code == 404
    assert client.get("/api/hidden").json() == {"total": 0, "hidden": []}


@pytest.mark.parametrize("told", [{}, {"by": "BS. Lan"}, {**TOLD, "instance": "../x"}, {**TOLD, "more": 1}])
def test_nobody_restores_anything_unnamed(client: TestClient, told: dict[str, Any]) -> None:
    store(client, builders.ct_slice(1))
    delete(client, STUDY)
    assert client.post("/api/hidden/2.25.1/restore", json=told).status_code == 400
    assert client.get(STUDY).status_code == 404


def test_what_was_removed_for_good_is_gone_and_what_is_hidden_is_not_found(
    client: TestClient, archive: Archive, clock: builders.Clock
) -> None:
    store(client, builders.ct_slice(1))
    delete(client, STUDY)
    assert client.get(STUDY).status_code == 404
    remove(archive, Target(study=StudyUid("2.25.1")), reason="test", actor="anna", clock=clock)
    for path in (STUDY, f"{SERIES}/metadata", ONE):
        assert client.get(path).status_code == 410
    assert client.get("/dicom-web/studies/2.25.9").status_code == 404
    store(client, builders.ct_slice(1))
    assert client.get(ONE).status_code == 200


def test_who_stores_what_is_hidden_hears_that_it_is_stored_and_no_address(client: TestClient) -> None:
    store(client, builders.ct_slice(1))
    delete(client, STUDY, {**TOLD, "code": "113037"})
    answer = store(client, builders.ct_slice(1), builders.ct_slice(2))
    assert answer.status_code == 200
    first, second = answer.json()["00081199"]["Value"]
    assert ("00081190" in first, "00081190" in second) == (False, True)
    assert client.get(ONE).status_code == 404


# --------------------------------------------------------------------------------------------------------- with a code
def test_a_deletion_with_a_code_makes_a_note_that_other_archives_can_be_told(
    client: TestClient, archive: Archive, context: ApiContext
) -> None:
    store(client, builders.ct_slice(1), builders.ct_slice(2))
    assert delete(client, ONE, {**TOLD, "code": "113001"}).status_code == 204
    assert client.get(ONE).status_code == 404
    (found,) = client.get("/dicom-web/instances", params={"Modality": "KO"}).json()
    with archive.database.read() as tx:
        row = tx.execute(sa.select(schema.rejection_notes)).one()
        instance = tx.execute(
            sa.select(schema.instances).where(schema.instances.c.sop_instance_uid == found["00080018"]["Value"][0])
        ).one()
    assert (row.state, row.code, row.sender, row.reason) == ("APPLIED", "113001", "BS. Lan", "sent twice")
    assert instance.via == "self"
    with archive.objects.open(row.object_key) as stream:
        note = pydicom.dcmread(stream)
    assert [each.TextValue for each in note.ContentSequence if "TextValue" in each] == ["sent twice"]


def test_a_study_deleted_with_a_code_is_nowhere_its_note_included(client: TestClient) -> None:
    store(client, builders.ct_slice(1), builders.ct_slice(2))
    delete(client, STUDY, {**TOLD, "code": "113038"})
    assert client.get(STUDY).status_code == 404
    assert client.get("/dicom-web/instances").status_code == 204
    assert client.get("/api/hidden").json()["total"] == 3


def test_a_code_of_something_else_is_refused(client: TestClient) -> None:
    store(client, builders.ct_slice(1))
    assert delete(client, STUDY, {**TOLD, "code": "113000"}).status_code == 400
    assert client.get(STUDY).status_code == 200


def test_a_note_that_is_kept_has_its_effect_although_nobody_waited(
    client: TestClient, archive: Archive, monkeypatch: pytest.MonkeyPatch, clock: builders.Clock
) -> None:
    store(client, builders.ct_slice(1), builders.ct_slice(2))

    def away(*_: Any, **__: Any) -> None:
        raise ObjectStoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr("storage.hiding.tombstones.put", away)
        assert delete(client, ONE, {**TOLD, "code": "113037"}).status_code == 503
    assert client.get(ONE).status_code == 200
    assert rejection.apply_waiting(archive, read_note, read_object, clock=clock) == 1
    assert client.get(ONE).status_code == 404

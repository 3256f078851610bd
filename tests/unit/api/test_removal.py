"""DELETE, the extension of DICOMweb."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from api.guard import MAX_BODY_BYTES
from storage import schema
from storage.archive import Archive
from tests import builders
from tests.unit.api.requests import store

STUDY = "/dicom-web/studies/2.25.1"
SERIES = f"{STUDY}/series/2.25.1.1"
ONE = f"{SERIES}/instances/2.25.1.1.1"
TOLD = {"by": "BS. Lan", "reason": "sent twice"}


def delete(client: TestClient, path: str, told: Any = TOLD, **headers: str) -> Any:
    return client.request("DELETE", path, json=told, headers=headers)


@pytest.mark.parametrize(("path", "left"), [(ONE, 1), (SERIES, 0), (STUDY, 0)])
def test_what_is_deleted_is_hidden_and_noted(client: TestClient, archive: Archive, path: str, left: int) -> None:
    store(client, builders.ct_slice(1), builders.ct_slice(2))
    answer = delete(client, path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get(path).status_code == 404
    found = client.get("/dicom-web/instances")
    assert (len(found.json()) if found.content else 0) == left
    with archive.database.read() as tx:
        line = tx.execute(sa.select(schema.audit).where(schema.audit.c.action == "hidden")).one()
    assert (line.actor, line.subject) == ("BS. Lan", path.rsplit("/", 1)[1])
    assert delete(client, path).status_code == 404


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"by": "BS. Lan"},
        {**TOLD, "by": " "},
        {**TOLD, "by": "a\nb"},
        {**TOLD, "more": 1},
        {**TOLD, "reason": "x" * 300},
    ],
)
def test_nobody_hides_anything_unnamed(client: TestClient, told: Any) -> None:
    store(client, builders.ct_slice(1))
    assert delete(client, STUDY, told).status_code == 400
    assert client.get(STUDY).status_code == 200


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_sites_page_hides_nothing(client: TestClient, headers: dict[str, str]) -> None:
    store(client, builders.ct_slice(1))
    assert delete(client, STUDY, **headers).status_code == 403
    assert client.get(STUDY).status_code == 200


def test_a_long_body_is_refused(client: TestClient) -> None:
    assert delete(client, STUDY, {**TOLD, "reason": "x" * MAX_BODY_BYTES}).status_code == 413

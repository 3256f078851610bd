from __future__ import annotations

import inspect

import pytest
from fastapi.testclient import TestClient

from api import errors as ours
from api import problems
from storage import errors as storage
from storage.archive import Archive


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (ours.ParameterRejected("limit is not one unsigned integer"), 400, "limit is not one unsigned integer"),
        (ours.BodyIncomplete(), 400, "The body ends before its final boundary."),
        (ours.NotAcceptable(), 406, "None of the accepted media types can be given."),
        (ours.MediaTypeUnsupported(), 415, "The body's media type is not taken here."),
        (storage.CatalogueUnknown("no study 1.2"), 404, "no study 1.2"),
        (
            storage.CatalogueUnavailable("host db.internal refused"),
            503,
            "The catalogue database does not answer; the same call may succeed later.",
        ),
        (
            storage.ObjectCorrupt("object 00 no longer has its digest"),
            500,
            "The bytes under this key do not have the digest they were stored with.",
        ),
    ],
)
def test_an_error_class_tells_its_status_and_no_secret(error: Exception, status: int, detail: str) -> None:
    problem = problems.problem_of(error)
    assert problem is not None
    answer = problems.of_error(error, problem, "id")
    assert answer.status_code == status
    assert f'"detail":"{detail}"' in bytes(answer.body).decode()
    assert answer.headers.get("retry-after") == ("5" if status == 503 else None)


def test_every_error_of_ours_has_a_problem() -> None:
    classes = [kind for _, kind in inspect.getmembers(ours, inspect.isclass) if issubclass(kind, ours.ApiError)]
    assert [kind for kind in classes if problems.problem_of(kind()) is None] == []


def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    unknown, mistaken = client.get("/nowhere"), client.delete("/api/worklist")
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert (mistaken.status_code, set(mistaken.headers["allow"].split(", "))) == (405, {"GET", "HEAD", "OPTIONS"})


def test_a_malformed_body_names_its_fields_and_repeats_nothing(client: TestClient) -> None:
    answer = client.put("/api/studies/1.2/priority", json={"kind": "ZZ^PHI", "priority": "ZZ^PHI", "by": ""})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "Malformed or missing: body.by, body.kind, body.priority."


@pytest.mark.parametrize("uid", ["1..2", "1.2.", "a.b", "1" * 65, "%2e%2e", "1.2%00"])
def test_what_is_no_uid_is_malformed_on_every_route(client: TestClient, uid: str) -> None:
    for path in (f"/api/worklist/{uid}", f"/dicom-web/studies/{uid}", f"/dicom-web/studies/1.2/series/{uid}/metadata"):
        assert client.get(path).status_code == 400


def test_a_catalogue_that_is_away_is_503(client: TestClient, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise storage.CatalogueUnavailable("gone")

    monkeypatch.setattr(archive.database, "read", away)
    answer = client.get("/api/worklist")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")

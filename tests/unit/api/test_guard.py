from __future__ import annotations

import logging

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from api.connection import MAX_HEAD_BYTES
from api.guard import HEADERS, MAX_BODY_BYTES
from roi.logs import describe
from tests.unit.api.conftest import BASE


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "[::2]", ""])
def test_a_foreign_host_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/api/worklist", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9", "localhost:8080", "[::1]:8080"])
def test_our_own_names_are_served_with_any_port(client: TestClient, host: str) -> None:
    assert client.get("/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:8080"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("PUT", "/api/studies/2.25.1/priority"), ("POST", "/dicom-web/studies")])
def test_another_sites_page_changes_nothing(
    client: TestClient, headers: dict[str, str], method: str, path: str
) -> None:
    assert client.request(method, path, headers=headers).status_code == 403


def test_our_own_page_and_programs_without_origin_may_change(client: TestClient) -> None:
    for headers in ({}, {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}):
        assert client.put("/api/studies/2.25.1/priority", json={}, headers=headers).status_code == 400


def test_every_answer_carries_the_guards_headers(client: TestClient) -> None:
    for path in ("/", "/health/live", "/nowhere", "/static/worklist.css", "/dicom-web/studies"):
        headers = client.get(path).headers
        assert {name: headers[name] for name in HEADERS if name != "Cache-Control"} == {
            name: value for name, value in HEADERS.items() if name != "Cache-Control"
        }
        assert len(headers["x-request-id"]) == 16


def test_a_long_body_is_refused_before_it_is_read(client: TestClient) -> None:
    answer = client.put("/api/studies/2.25.1/priority", content=b" " * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


def test_an_unforeseen_error_is_answered_with_an_id_and_logged_without_its_words(
    context: ApiContext, caplog: pytest.LogCaptureFixture
) -> None:  # W-6
    app, router = create_app(context), APIRouter()
    name = "ZZ^PHI^CANARY"

    @router.get("/crash")
    def crash() -> None:
        raise ValueError(name)

    app.include_router(router)
    with caplog.at_level(logging.ERROR), TestClient(app, base_url=BASE) as client:
        answer = client.get("/crash")
    (record,) = [record for record in caplog.records if record.name == "api.guard"]
    told = answer.json()
    assert told == {
        "title": "Internal Server Error",
        "status": 500,
        "detail": "An unforeseen error; the log holds its trace under this request id.",
        "request_id": record.request,
    }
    assert name not in answer.text
    assert record.exc_info is not None
    told_of_it = describe(record.exc_info[1])
    assert "crash" in told_of_it
    assert name not in f"{told_of_it}{record.getMessage()}"


def test_two_hosts_are_none(client: TestClient) -> None:
    """RFC 9112 3.2."""
    answer = client.get("/health/live", headers=[("Host", "127.0.0.1"), ("Host", "evil.example")])
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_a_long_head_is_refused(client: TestClient) -> None:
    answer = client.get("/dicom-web/studies", headers={"X-Long": "y" * MAX_HEAD_BYTES})
    assert (answer.status_code, answer.headers["content-type"]) == (431, "application/problem+json")


@pytest.mark.parametrize("path", ["/api/studies/2.25.1/priority", "/dicom-web/studies/2.25.1"])
def test_a_long_body_in_chunks_is_413_however_it_comes(client: TestClient, path: str) -> None:
    method = "PUT" if path.startswith("/api") else "DELETE"
    pieces = iter([b" " * 40_000] * 3)
    answer = client.request(method, path, content=pieces, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["title"]) == (413, "Content Too Large")

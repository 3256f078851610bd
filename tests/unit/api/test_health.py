from __future__ import annotations

from dataclasses import replace

from fastapi.testclient import TestClient

from api import ApiContext, create_app
from storage.errors import ObjectStoreUnavailable
from tests.unit.api.conftest import BASE


def test_a_process_whose_adapters_answer_is_ready(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "alive"}
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ready", "checks": {"catalogue": "ok", "objects": "ok"}},
    )


def test_the_adapter_that_does_not_answer_is_named_and_its_address_is_not(context: ApiContext) -> None:
    def away() -> None:
        raise ObjectStoreUnavailable("http://user@10.0.0.1 refused")

    app = create_app(replace(context, pings={**context.pings, "objects": away}))
    with TestClient(app, base_url=BASE) as client:
        assert client.get("/health/live").status_code == 200
        answer = client.get("/health/ready")
    assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (
        503,
        "5",
        {
            "status": "not ready",
            "checks": {
                "catalogue": "ok",
                "objects": "The object store does not answer; the same call may succeed later.",
            },
        },
    )

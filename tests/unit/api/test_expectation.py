"""The calculator over HTTP: what the command line says, with limits, and nothing told of what was sent."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from api import ApiContext
from inference.expectation import expect
from inference.site import Site
from models import registry
from roi.cli import app as command
from storage import schema
from storage.archive import Archive
from tests import builders

ASKED = {"model": "trial", "prevalence": 0.1, "traffic": 0.8}


def get(client: TestClient, **asked: Any) -> Any:
    return client.get("/api/triage/expectation", params={**ASKED, **asked})


def test_the_answer_is_the_one_of_the_formulas_with_the_losers_in_it(client: TestClient) -> None:
    answer = get(client, seed=5)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    site = Site(**{**found["site"], "hourly": tuple(found["site"]["hourly"])})
    direct = expect(site, sensitivity=0.9, specificity=0.9, seed=5)
    assert (found["ppv"], found["npv"]) == (direct.ppv, direct.npv)
    assert [line["change"] for line in found["lines"]] == [line.change for line in direct.lines]
    assert found["steady"]["gained"] == pytest.approx(26.916, abs=1e-3)
    change = {line["group"]: line["change"] for line in found["lines"]}
    assert change["ill and flagged"] < 0 < min(change["all others"], change["ill and missed"])


def test_the_command_line_says_the_same(client: TestClient, context: ApiContext, tmp_path: Any) -> None:
    object.__setattr__(context, "cards", registry.cards())
    told = get(client, model="head-ct-haemorrhage", seed=2).json()
    asked = ["triage", "simulate", "head-ct-haemorrhage", "--prevalence", "0.1", "--traffic", "0.8", "--seed", "2"]
    printed = json.loads(CliRunner().invoke(command, [*asked, "--data", str(tmp_path), "--json"]).stdout)
    assert printed["lines"] == told["lines"]
    assert printed["steady"].items() <= told["steady"].items()


def test_the_archive_s_own_arrivals_are_read_where_none_are_given(
    client: TestClient, archive: Archive, clock: builders.Clock
) -> None:
    with archive.database.write() as tx:
        for number in range(100):
            at = clock.now - timedelta(days=6 * number / 100)
            row = {"study_instance_uid": f"2.25.{number + 1}", "state": "TRIAGED", "revision": 1, "ready_at": at}
            row |= dict.fromkeys(("received_first", "received_last", "quiet_until"), at)
            tx.execute(sa.insert(schema.studies).values(**row, modalities="CT" if number % 4 else "US"))
    found = client.get(
        "/api/triage/expectation", params={"model": "trial", "prevalence": 0.1, "reading_min": 60}
    ).json()
    assert found["site"]["eligible"] == 0.75
    assert round(found["studies_a_week"]) == 100


def test_a_site_says_of_itself_when_its_studies_arrive(client: TestClient) -> None:
    hourly = [0.0] * 168
    hourly[8] = 30.0
    answer = client.post("/api/triage/expectation", json={"model": "trial", "prevalence": 0.1, "hourly": hourly})
    assert answer.status_code == 200, answer.text
    assert answer.json()["studies_a_week"] == 30
    assert client.post("/api/triage/expectation", json={**ASKED, "hourly": hourly[:-1]}).status_code == 400


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"prevalence": 1.1}, 400),
        ({"prevalence": "nan"}, 400),
        ({"readers": 0}, 400),
        ({"readers": 101}, 400),
        ({"reading_min": 0}, 400),
        ({"reading_min": "inf"}, 400),
        ({"traffic": 0}, 400),
        ({"seed": -1}, 400),
        ({"model": "<script>"}, 400),
        ({"finding": "<script>"}, 400),
        ({"patient": "1"}, 400),
        ({"readers": 100, "reading_min": 0.1}, 400),  # more studies than any room reads
        ({"traffic": 1}, 409),  # the list only grows
        ({"traffic": ""}, 400),
    ],
)
def test_what_cannot_be_worked_out_is_refused_as_a_problem(
    client: TestClient, asked: dict[str, Any], status: int
) -> None:
    answer = get(client, **asked)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "<script>" not in answer.text


def test_an_archive_without_arrivals_has_no_answer(client: TestClient) -> None:
    answer = client.get("/api/triage/expectation", params={"model": "trial", "prevalence": 0.1})
    assert (answer.status_code, "no study became ready" in answer.json()["detail"]) == (409, True)


def test_a_calculator_at_work_says_when_to_come_again(client: TestClient, context: ApiContext) -> None:
    context.calculator._free.acquire()
    try:
        answer = get(client)
    finally:
        context.calculator._free.release()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_what_flags_nothing_has_no_share_of_right_flags(client: TestClient) -> None:
    found = get(client, sensitivity=0, specificity=1).json()
    assert found["ppv"] is None
    assert not math.isnan(found["npv"])

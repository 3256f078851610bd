"""The replay of a day over HTTP and on the command line."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from api.replay import GROUP_NAMES
from inference.replay import GROUPS
from roi.cli import app as command
from storage.archive import Archive
from storage.catalog import flow
from tests import builders
from tests.browser.scene import HEAD, Scene, Told, fill
from tests.unit.api.test_worklist import FLAG

ASKED = {"day": "2026-03-01", "readers": 1, "reading_min": 30}


@pytest.fixture
def scene(archive: Archive, clock: builders.Clock) -> Scene:
    made = Scene(archive, clock)
    fill(made)
    return made


def get(client: TestClient, **asked: Any) -> Any:
    return client.get("/api/triage/replay", params={**ASKED, **asked})


def test_the_day_is_told_by_group_with_what_is_assumed(client: TestClient, scene: Scene) -> None:
    answer = get(client)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    lines = {line["group"]: line for line in told["lines"]}
    assert lines["all"]["studies"] == told["studies"] == 11
    assert sum(lines[name]["studies"] for name in ("flagged", "not flagged", "not analysed")) == 11
    assert lines["flagged"]["gained_by_ai"] > 0 > lines["not analysed"]["gained_by_ai"]
    assert lines["all"]["gained_by_ai"] == pytest.approx(0, abs=1e-9)
    assert "1 reader(s), 30 min" in told["assumed"][0]["en"]
    assert "1 người đọc" in told["assumed"][0]["vi"]


def test_a_shadow_flag_counts_only_where_it_is_asked_for(client: TestClient, scene: Scene) -> None:
    flagged = [
        next(line["studies"] for line in get(client, shadow=shadow).json()["lines"] if line["group"] == "flagged")
        for shadow in ("false", "true")
    ]
    assert flagged == [2, 3]


def test_where_it_is_known_when_readers_began_nothing_is_assumed(client: TestClient, scene: Scene) -> None:
    told = client.get("/api/triage/replay?day=2026-03-01").json()
    assert 0 < told["studies"] < 11
    assert told["studies"] + told["unread"] == 11
    assert "really did" in told["assumed"][0]["en"]
    assert next(line for line in told["lines"] if line["group"] == "all")["gained_by_ai"] == pytest.approx(0, abs=1e-9)


def test_where_nothing_is_known_of_the_readers_they_have_to_be_named(
    client: TestClient, archive: Archive, clock: builders.Clock
) -> None:
    Scene(archive, clock).judge(Told(number=1, name="A", age_years=1, sex="M", description=""), HEAD, FLAG)
    answer = client.get("/api/triage/replay?day=2026-03-01")
    assert (answer.status_code, "say readers" in answer.json()["detail"]) == (400, True)


def test_another_day_has_nobody(client: TestClient, scene: Scene) -> None:
    assert get(client, day="2026-03-02").json()["lines"] == []


@pytest.mark.parametrize(
    "asked",
    [
        {"day": "2026-02-30"},
        {"day": "0"},
        {"day": "２０２６-03-01"},
        {"day": "9999-12-31"},
        {"day": "0001-01-01"},
        {"readers": 0},
        {"reading_min": 0},
        {"reading_min": "nan"},
        {"readers": None},
    ],
)
def test_what_is_asked_wrongly_is_a_problem(client: TestClient, scene: Scene, asked: dict[str, Any]) -> None:
    answer = client.get("/api/triage/replay", params={k: v for k, v in {**ASKED, **asked}.items() if v is not None})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_the_command_line_says_the_same_in_both_languages(tmp_path: Path) -> None:
    clock = builders.Clock()
    archive = builders.archive(tmp_path, clock)
    fill(Scene(archive, clock))
    archive.close()
    day = (clock.now - timedelta(hours=1)).astimezone().strftime("%Y-%m-%d")
    asked = ["triage", "replay", "--day", day, "--readers", "1", "--minutes", "30", "--data", str(tmp_path)]
    done = CliRunner().invoke(command, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    lines = {line["group"]: line for line in json.loads(done.stdout)["lines"]}
    assert lines["flagged"]["gained_by_ai"] > 0 > lines["not analysed"]["gained_by_ai"]
    shown = CliRunner().invoke(command, asked).stdout
    for words in ("not analysed", "AI chưa phân tích", "assumed, not measured", "giả định"):
        assert words in shown
    assert CliRunner().invoke(command, asked[:6] + asked[8:]).exit_code != 0


def test_every_group_has_a_name_and_what_was_read_late_is_kept_apart(archive: Archive, scene: Scene) -> None:
    assert set(GROUP_NAMES) == set(GROUPS)
    with archive.database.read() as tx:
        day = flow.waited_between(tx, scene.end - timedelta(days=1), scene.end)
    assert [study.ready_at for study in day] == sorted(study.ready_at for study in day)
    assert {len(study.judged) for study in day} == {0, 1}

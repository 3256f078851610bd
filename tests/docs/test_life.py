"""The page on the life of a model against the code."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from roi.cli import app
from storage.catalog.deployments import STEPS, Status
from storage.catalog.incidents import DUTIES
from tests.docs.test_reference import AUDITED

PAGE = (Path(__file__).parents[2] / "docs" / "models" / "life.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_every_command_on_the_page_exists() -> None:
    named = set(re.findall(r"roi models ([a-z-]+)", PAGE))
    assert named <= set(get_command(app).commands["models"].commands)  # type: ignore[attr-defined]
    assert {"enable", "check", "stop", "retract", "opt-out", "incident"} <= named


def test_the_steps_on_the_page_are_those_there_are() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `roi models \w+` \| `([\w-]+)` \|$", PAGE, re.MULTILINE)
    assert {(Status(before), Status(after)): action for before, after, action in rows} == dict(STEPS)


def test_the_duties_on_the_page_are_those_there_are() -> None:
    named = re.findall(r"^\| `([a-z ]+)` \|", _section("When something went wrong"), re.MULTILINE)
    assert named == list(DUTIES)


def test_every_action_in_the_audit_is_on_the_page() -> None:
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", _section("In the audit")))
    ours = {action for action in AUDITED if action.startswith(("model-", "opt-out-", "operating-", "incident-"))}
    assert named == ours | set(STEPS.values()) | {"permit-recorded", "result-retracted"}

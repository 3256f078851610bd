"""The pages against the code they speak of."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from roi.cli import app
from roi.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(
    r"^\| `(?P<name>\w+)` \| `(?P<env>\w+)` \| (?:`(?P<default>[^`]*)`)? ?\| (?P<meaning>.+) \|$", re.MULTILINE
)


def test_settings_page_lists_every_setting_with_its_default_and_meaning() -> None:
    described = {
        name: (f"ROI_{name.upper()}", "" if field.default in (None, "") else str(field.default), field.description)
        for name, field in Settings.model_fields.items()
    }
    page = (DOCS / "settings.md").read_text()
    listed = {row["name"]: (row["env"], row["default"] or "", row["meaning"]) for row in ROW.finditer(page)}
    assert listed == described


def test_operations_page_names_every_command_and_no_other() -> None:
    named = set(re.findall(r"(?:^|`|& )roi ([a-z]+)", (DOCS / "operations.md").read_text(), re.MULTILINE))
    assert named == set(get_command(app).commands)  # type: ignore[attr-defined]


def test_test_folders_on_the_page_are_those_that_exist() -> None:
    tests = DOCS.parent / "tests"
    listed = set(re.findall(r"^\| `tests/(\w+)` \|", (DOCS / "testing.md").read_text(), re.MULTILINE))
    assert listed == {folder.name for folder in tests.iterdir() if (folder / "__init__.py").exists()}


def test_every_decision_has_a_number_of_its_own_which_its_page_says() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    numbers = [page.name[:4] for page in pages]
    assert len(set(numbers)) == len(pages) > 10
    assert [page.read_text(encoding="utf-8")[2:6] for page in pages] == numbers

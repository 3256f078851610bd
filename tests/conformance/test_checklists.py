"""The checklists: each row that claims a test has one that cites its id.

``python -m tests.conformance.test_checklists`` writes the columns of tests anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGES = TESTS.parent / "docs" / "conformance"
ROW = re.compile(
    r"^\| (?P<id>[DRW]-\d+) \| (?P<state>[^|]+) \| (?P<what>[^|]+) \| (?P<tests>[^|]*?) ?\|$", re.MULTILINE
)
STATES = {"tested", "not offered", "missing"}
_CITED = re.compile(r"(?<!to )\b([DRW]-\d+)\b(?! to)")


@dataclass(frozen=True, slots=True)
class Checklist:
    """A page of rows, and the ids it has to have, in order."""

    page: Path
    ids: tuple[str, ...]

    def rows(self) -> list[re.Match[str]]:
        """Return its rows: id, state, what is asked, tests."""
        return list(ROW.finditer(self.page.read_text(encoding="utf-8")))

    def rewrite(self, citing: dict[str, list[str]]) -> None:
        """Write its column of tests anew."""
        text = ROW.sub(lambda row: _rewritten(row, citing), self.page.read_text(encoding="utf-8"))
        self.page.write_text(text, encoding="utf-8")


def _ids(letter: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{letter}-{number}" for number in numbers)


CHECKLISTS = (
    Checklist(
        PAGES / "checklist.md",
        (*_ids("D", *range(1, 18), *range(20, 28)), *_ids("R", *range(1, 16), *range(20, 35))),
    ),
    Checklist(
        PAGES / "checklist-web.md",
        (
            *_ids("W", *range(1, 13), *range(20, 28), *range(30, 38), *range(40, 49), 50, 51),
            *_ids("W", *range(60, 69), *range(70, 73), *range(80, 90)),
            *_ids("R", 28, *range(40, 49), *range(51, 54)),
        ),
    ),
)


@pytest.fixture(scope="module")
def citing() -> dict[str, list[str]]:
    """Return the test files that cite each id."""
    return _citing()


@pytest.mark.parametrize("checklist", CHECKLISTS, ids=lambda each: each.page.stem)
def test_every_id_has_one_row_in_order(checklist: Checklist) -> None:
    rows = checklist.rows()
    assert tuple(row["id"] for row in rows) == checklist.ids
    assert {row["state"] for row in rows} <= STATES


@pytest.mark.parametrize(
    ("checklist", "number"),
    [
        pytest.param(each, number, id=f"{each.page.stem}-{row}")
        for each in CHECKLISTS
        for number, row in enumerate(each.ids)
    ],
)
def test_row_names_the_tests_that_cite_it(checklist: Checklist, number: int, citing: dict[str, list[str]]) -> None:
    row = checklist.rows()[number]
    assert row["tests"] == _told(row, citing)
    assert bool(row["tests"]) == (row["state"] == "tested")


def _citing() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        if path != Path(__file__):
            for each in set(_CITED.findall(path.read_text(encoding="utf-8"))):
                found.setdefault(each, []).append(path.relative_to(TESTS).as_posix())
    return found


def _told(row: re.Match[str], citing: dict[str, list[str]]) -> str:
    """Return what its column of tests has to say; a gap names none, though part of it may have its test."""
    files = citing.get(row["id"], []) if row["state"] == "tested" else []
    return ", ".join(f"`{file}`" for file in files)


def _rewritten(row: re.Match[str], citing: dict[str, list[str]]) -> str:
    return f"| {row['id']} | {row['state']} | {row['what']} | {_told(row, citing)} |".replace("|  |", "| |")


if __name__ == "__main__":
    cited = _citing()
    for page in CHECKLISTS:
        page.rewrite(cited)

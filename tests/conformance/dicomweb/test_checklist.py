"""The checklist of the web services: each row that claims a test has one that cites its id.

``python -m tests.conformance.dicomweb.test_checklist`` writes the column of tests anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
PAGE = TESTS.parent / "docs" / "conformance" / "checklist-web.md"
ROW = re.compile(r"^\| (?P<id>[WR]-\d+) \| (?P<state>[^|]+) \| (?P<what>[^|]+) \| (?P<tests>[^|]*?) ?\|$", re.MULTILINE)
IDS = [
    *(f"W-{number}" for number in [*range(1, 13), *range(20, 28), *range(30, 38), *range(40, 49), 50, 51]),
    *(f"W-{number}" for number in [*range(60, 69), *range(70, 73), *range(80, 90)]),
    *(f"R-{number}" for number in [28, *range(40, 49), *range(51, 54)]),
]
STATES = {"tested", "not offered", "missing"}
_CITED = re.compile(r"(?<!to )\b([WR]-\d+)\b(?! to)")


def _citing() -> dict[str, list[str]]:
    """Return the test files that cite each id."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        if path != Path(__file__):
            for each in set(_CITED.findall(path.read_text(encoding="utf-8"))):
                found.setdefault(each, []).append(path.relative_to(TESTS).as_posix())
    return found


def _told(files: list[str]) -> str:
    return ", ".join(f"`{file}`" for file in files)


def _rows() -> list[re.Match[str]]:
    return list(ROW.finditer(PAGE.read_text(encoding="utf-8")))


def test_every_id_has_one_row_in_order() -> None:
    assert [row["id"] for row in _rows()] == IDS
    assert {row["state"] for row in _rows()} <= STATES


@pytest.mark.parametrize("number", range(len(IDS)), ids=IDS)
def test_row_names_the_tests_that_cite_it(number: int) -> None:
    row = _rows()[number]
    told = _citing().get(row["id"], []) if row["state"] == "tested" else []  # part of a gap may have its test
    assert row["tests"] == _told(told)
    assert bool(row["tests"]) == (row["state"] == "tested")


def _rewritten(row: re.Match[str], citing: dict[str, list[str]]) -> str:
    told = _told(citing.get(row["id"], []) if row["state"] == "tested" else [])
    return f"| {row['id']} | {row['state']} | {row['what']} | {told} |".replace("|  |", "| |")


if __name__ == "__main__":
    cited = _citing()
    text = ROW.sub(lambda row: _rewritten(row, cited), PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")

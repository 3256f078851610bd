"""Each pitfall of the workers names tests that exist."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_pitfall_names_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = page.partition("| pitfall | here | test |")[2].partition("\n\n")[0]
    rows = table.splitlines()[2:]
    sources: dict[str, str] = defaultdict(str)
    for path in ROOT.glob("tests/**/test_*.py"):
        sources[path.name] += path.read_text(encoding="utf-8")
    assert rows
    for row in rows:
        named = re.findall(r"`(test_\w+\.py)`: ((?:`test_\w+`(?:, )?)+)", row)
        assert named, row
        for file, tests in named:
            for test in re.findall(r"`(test_\w+)`", tests):
                assert f"def {test}(" in sources[file], test

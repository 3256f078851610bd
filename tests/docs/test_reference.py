"""The reference page against the words that the code really uses."""

from __future__ import annotations

import re
from pathlib import Path

from api import words
from inference import marks
from inference.errors import RunDied, RunFailed, RunHung
from storage.catalog import changes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
PACKAGES = ("api", "imaging", "inference", "models", "pacs_gateway", "roi", "storage")
SOURCE = "\n".join(
    path.read_text(encoding="utf-8") for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))
)
AUDITED = {"removed", "quarantined", "identity-reconciled", "set-priority", "peer-added", "peer-removed"}
AUDITED |= {"priority-changed", "targets-changed", "feedback-given", "asked-rerun"}
AUDITED |= {
    "model-introduced",
    "model-stopped",
    "model-started",
    "model-removed",
    "model-checked",
    "permit-recorded",
    "result-retracted",
}
AUDITED |= {"opt-out-declared", "opt-out-ended", "operating-point-chosen", "operating-point-ended", "incident-recorded"}
AUDITED |= {"incident-reported"}
"""Actions of the audit, which is not the log."""


def _section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_every_reason_code_is_on_the_page_and_no_other() -> None:
    named = set(re.findall(r'NotSuitable\(\s*"(\w+)"', SOURCE)) | set(re.findall(r'_check_range\("(\w+)"', SOURCE))
    failed = {RunFailed.reason, RunHung.reason, RunDied.reason, "weights", "memory", "object_damaged"}
    assert set(re.findall(r"^\| `(\w+)` \|", _section("Reason codes"), re.MULTILINE)) == named | failed


def test_every_reason_code_and_mark_is_said_in_both_languages() -> None:
    codes = re.findall(r"^\| `(\w+)` \|", _section("Reason codes"), re.MULTILINE)
    assert set(codes) <= set(words.REASONS)
    assert set(re.findall(r"^\| `(\w+)` \|", _section("Marks"), re.MULTILINE)) == set(words.MARKS)
    assert set(words.MARKS) == {
        value for name, value in vars(marks).items() if name.isupper() and isinstance(value, str)
    }


def test_every_kind_of_change_is_on_the_page_and_no_other() -> None:
    assert set(re.findall(r"^\| `([\w-]+)` \|", _section("Changes"), re.MULTILINE)) == set(changes.KINDS)
    used = set(re.findall(r'(?:append|fact|_append_about)\(\s*(?:tx,\s*)?"([a-z]+-[a-z]+)"', SOURCE))
    assert used <= set(changes.KINDS)


def test_every_log_action_is_on_the_page_and_no_other() -> None:
    said = {
        word
        for words in re.findall(r'action(?:": |=)([^,})\n]+)', SOURCE)
        for word in re.findall(r'"([a-z-]+)"', words)
    }
    said |= set(re.findall(r'self\._log\("[^"]+", "([a-z-]+)"', SOURCE))
    said -= AUDITED
    assert set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", _section("Log actions"))) - {"action"} == said

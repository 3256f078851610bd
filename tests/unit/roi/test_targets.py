"""`roi triage targets` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from roi.cli import app
from tests import builders

RUN = CliRunner()


def test_targets_are_shown_and_set_with_their_guarantees(tmp_path: Path) -> None:
    builders.archive(tmp_path).close()
    ask = ["triage", "targets", "--data", str(tmp_path)]
    done = RUN.invoke(app, [*ask, "--set", "URGENT=30", "--set", "ROUTINE=120", "--by", "BS. Lan", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["targets"]["URGENT"] == 30
    assert {"ahead": "URGENT", "behind": "ROUTINE", "minutes": 90} in told["guarantees"]
    shown = RUN.invoke(app, ask).stdout
    for words in ("Targets / Hạn đọc", "ai-critical", "Guarantees", "Cam kết", "100"):
        assert words in shown


def test_who_sets_targets_is_named_and_what_is_no_target_is_refused(tmp_path: Path) -> None:
    builders.archive(tmp_path).close()
    ask = ["triage", "targets", "--data", str(tmp_path), "--set"]
    assert "who sets targets" in str(RUN.invoke(app, [*ask, "URGENT=30"]).exception)
    assert "CLASS=MINUTES" in str(RUN.invoke(app, [*ask, "URGENT", "--by", "BS. Lan"]).exception)
    assert "more urgent" in str(RUN.invoke(app, [*ask, "URGENT=300", "--by", "BS. Lan"]).exception)


def test_what_flags_would_do_is_counted_by_the_targets_of_the_site(tmp_path: Path) -> None:
    builders.archive(tmp_path).close()
    data = ["--data", str(tmp_path)]
    RUN.invoke(app, ["triage", "targets", *data, "--set", "ai-critical=30", "--set", "ROUTINE=120", "--by", "BS. Lan"])
    ask = ["triage", "simulate", "head-ct-haemorrhage", "--prevalence", "0.1", "--traffic", "0.5", "--json", *data]
    assert json.loads(RUN.invoke(app, ask).stdout)["site"]["head_start_min"] == 90

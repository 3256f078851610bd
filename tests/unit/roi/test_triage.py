"""`roi triage simulate` as a person runs it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from typer.testing import CliRunner

from roi.cli import app
from storage import schema
from tests import builders

RUN = CliRunner()
ASKED = ["triage", "simulate", "head-ct-haemorrhage", "--prevalence", "0.1"]


def test_a_steady_load_is_told_with_who_gains_and_who_loses(tmp_path: Path) -> None:
    done = RUN.invoke(app, [*ASKED, "--traffic", "0.8", "--data", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    change = {line["group"]: line["change"] for line in found["lines"]}
    assert change["ill and flagged"] < 0 < change["all others"]
    assert round(found["steady"]["without_diseased"], 6) == 40.0
    assert found["site"]["head_start_min"] > 0


def test_the_table_names_the_losers_in_both_languages(tmp_path: Path) -> None:
    done = RUN.invoke(app, [*ASKED, "--traffic", "0.8", "--data", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for words in ("missed by the model", "bị mô hình bỏ sót", "all others", "PPV", "Not for clinical use"):
        assert words in done.stdout


def test_the_archive_s_own_arrivals_are_drawn_from(tmp_path: Path) -> None:
    archive = builders.archive(tmp_path)
    now = datetime.now(UTC)
    with archive.database.write() as tx:
        for number in range(200):
            at = now - timedelta(days=6 * number / 200)
            row = {"study_instance_uid": f"2.25.{number + 1}", "state": "TRIAGED", "revision": 1, "ready_at": at}
            row |= {
                "received_first": at,
                "received_last": at,
                "quiet_until": at,
                "modalities": "CT" if number % 2 else "US",
            }
            tx.execute(sa.insert(schema.studies).values(**row))
    archive.close()
    done = RUN.invoke(app, [*ASKED, "--minutes", "30", "--data", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["site"]["eligible"] == 0.5
    assert round(found["studies_a_week"]) == 200


def test_an_archive_without_arrivals_says_what_to_do(tmp_path: Path) -> None:
    done = RUN.invoke(app, [*ASKED, "--data", str(tmp_path)])
    assert done.exit_code != 0
    assert "say --traffic" in str(done.exception)


def test_a_finding_that_the_model_does_not_look_for_is_refused(tmp_path: Path) -> None:
    done = RUN.invoke(app, [*ASKED, "--finding", "fracture", "--traffic", "0.5", "--data", str(tmp_path)])
    assert "does not look for that finding" in str(done.exception)

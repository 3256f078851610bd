"""`roi models remove`: an imported model goes, what it said stays."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import copytree

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from inference import deployment
from inference.errors import RemovalRefused
from models import registry
from models.contract import ModelCard
from models.errors import ModelUnknown
from roi.cli import app
from roi.compose import open_database
from roi.errors import SettingWrong
from roi.settings import read_settings
from storage import schema
from storage.catalog import deployments, jobs, results
from storage.catalog.deployments import Mode, Status
from storage.database import Database, Transaction
from storage.records import JobId, JobState, Outcome, StudyUid, TriageResult
from tests import builders
from tests.unit.models.test_imported import folder

__all__ = ["folder"]  # a fixture: a data folder's models, with one called trial
NOW = builders.START
SAID = ("--by", "BS. Lan", "--why", "another took its place")


@pytest.fixture
def trial(folder: Path) -> ModelCard:
    return registry.card("trial", folder)


def _database(data: Path) -> closing[Database]:
    return closing(open_database(read_settings(data=data)))


def _remove(data: Path, model: str, *said: str) -> Result:
    return CliRunner().invoke(app, ["models", "remove", model, *said, "--data", str(data)])


def _ask(tx: Transaction, card: ModelCard) -> JobId:
    """Have the model asked about a study."""
    times = dict.fromkeys(("received_first", "received_last", "quiet_until"), NOW)
    tx.execute(sa.insert(schema.studies).values(study_instance_uid="2.25.9", state="COMPLETE", revision=1, **times))
    (job,) = jobs.create(tx, StudyUid("2.25.9"), 1, [deployment.ref(card)], due_at=NOW, now=NOW)
    return job


def _answer(tx: Transaction, card: ModelCard) -> None:
    job = jobs.claim(tx, owner="worker", lease=timedelta(minutes=1), now=NOW)
    assert job is not None
    assert jobs.end(tx, job.id, owner="worker", state=JobState.DONE, reason=None, now=NOW)
    said = {"model": card.id, "digest": card.digest, "weights_sha256": card.weights_sha256}
    answer = TriageResult(outcome=Outcome.NOT_FLAGGED, findings=(), raises=False, provenance=said)
    results.add(tx, job, answer, now=NOW)


def _audited(data: Path) -> list[tuple[str, str, str]]:
    with _database(data) as database, database.read() as tx:
        rows = tx.execute(
            sa.select(schema.audit).where(schema.audit.c.action.like("model-%")).order_by(schema.audit.c.seq)
        )
        return [(row.action, row.actor, row.subject) for row in rows]


def _status(data: Path, card: ModelCard) -> Status:
    with _database(data) as database, database.read() as tx:
        return deployment.standing(tx, card, now=NOW).deployment.status


def test_an_imported_model_goes_and_its_results_still_tell_what_made_them(tmp_path: Path, trial: ModelCard) -> None:
    with _database(tmp_path) as database, database.write() as tx:
        _ask(tx, trial)
        _answer(tx, trial)
    done = _remove(tmp_path, "trial", *SAID)
    assert done.exit_code == 0
    assert "trial 1 is removed; its results stay" in done.stdout
    assert list((tmp_path / "models").iterdir()) == []
    with _database(tmp_path) as database, database.read() as tx:
        (row,) = tx.execute(sa.select(schema.results))
        (detail,) = tx.execute(
            sa.select(schema.audit.c.detail).where(schema.audit.c.action == "model-removed")
        ).scalars()
    assert (row.model_id, row.model_digest) == ("trial", trial.digest)
    assert row.provenance["weights_sha256"] == trial.weights_sha256
    assert trial.source is not None
    assert detail == {
        "model": "trial",
        "version": trial.version,
        "weights_sha256": trial.weights_sha256,
        "recipe": trial.source.recipe,
        "file_sha256": trial.source.file_sha256,
        "reason": "another took its place",
    }
    assert _audited(tmp_path) == [
        ("model-introduced", deployment.INTRODUCER, trial.digest),
        ("model-retired", "BS. Lan", trial.digest),
        ("model-removed", "BS. Lan", trial.digest),
    ]


def test_a_model_that_shipped_is_not_removed(tmp_path: Path, trial: ModelCard) -> None:
    _refused(tmp_path, "chest-radiograph", "was not imported")


def test_an_enabled_model_is_not_removed(tmp_path: Path, trial: ModelCard) -> None:
    stands = replace(deployment.at_first(trial, now=NOW), status=Status.ENABLED, mode=Mode.RESEARCH)
    with _database(tmp_path) as database, database.write() as tx:
        deployments.introduce(tx, stands)
    _refused(tmp_path, "trial", "roi models shadow")
    assert _status(tmp_path, trial) is Status.ENABLED


@pytest.mark.parametrize("claimed", [False, True])
def test_a_model_with_jobs_is_removed_once_they_have_ended(tmp_path: Path, trial: ModelCard, claimed: bool) -> None:
    with _database(tmp_path) as database, database.write() as tx:
        _ask(tx, trial)
        if claimed:
            jobs.claim(tx, owner="worker", lease=timedelta(minutes=1), now=NOW)
    _refused(tmp_path, "trial", "jobs that wait or run (1): roi models retire ends them")
    assert _status(tmp_path, trial) is Status.SHADOW
    CliRunner().invoke(app, ["models", "retire", "trial", *SAID, "--data", str(tmp_path)])
    assert _remove(tmp_path, "trial", *SAID).exit_code == 0
    assert [action for action, _, _ in _audited(tmp_path)] == ["model-introduced", "model-retired", "model-removed"]


def test_nobody_removes_a_model_without_a_name_and_a_reason(tmp_path: Path, trial: ModelCard) -> None:
    refused = _remove(tmp_path, "trial", "--by", " ", "--why", "so")
    assert isinstance(refused.exception, SettingWrong)
    assert isinstance(_remove(tmp_path, "nobody", *SAID).exception, ModelUnknown)
    assert (tmp_path / "models" / "trial").is_dir()


def test_a_removal_that_was_killed_before_the_files_went_is_asked_for_again(tmp_path: Path, trial: ModelCard) -> None:
    with _database(tmp_path) as database, database.write() as tx:
        deployment.remove(tx, trial, by="BS. Lan", why="killed now", now=NOW)
    assert _remove(tmp_path, "trial", *SAID).exit_code == 0
    assert list((tmp_path / "models").iterdir()) == []


def test_imported_again_it_is_retired_until_a_person_says_otherwise(tmp_path: Path, trial: ModelCard) -> None:
    copytree(tmp_path / "models" / "trial", tmp_path / "again")
    assert _remove(tmp_path, "trial", *SAID).exit_code == 0
    copytree(tmp_path / "again", tmp_path / "models" / "trial")
    assert _status(tmp_path, trial) is Status.RETIRED
    CliRunner().invoke(app, ["models", "shadow", "trial", *SAID, "--data", str(tmp_path)])
    assert _status(tmp_path, trial) is Status.SHADOW


def _refused(data: Path, model: str, why: str) -> None:
    refused = _remove(data, model, *SAID)
    assert isinstance(refused.exception, RemovalRefused)
    assert why in str(refused.exception)
    assert (data / "models" / "trial" / "card.json").is_file()
    assert "model-removed" not in {action for action, _, _ in _audited(data)}

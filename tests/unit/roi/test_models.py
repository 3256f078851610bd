"""The life of a model as a person at the command line leads it."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from inference import deployment
from inference.errors import CheckRefused, EnablingRefused
from models import registry
from roi.cli import app
from roi.errors import SettingWrong
from storage import schema
from storage.archive import Archive
from storage.catalog import jobs, results
from storage.database import Database, Transaction
from storage.records import Finding, JobState, Outcome, StudyUid, TriageResult
from tests import builders

MODEL = "site-model"
CARD = builders.card(MODEL, root=None)
SAID = ("--by", "BS. Lan", "--why", "as agreed")


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was not made for phantoms: none is shipped."""
    monkeypatch.setattr(registry, "cards", lambda _=None: (CARD,))
    monkeypatch.setattr(registry, "card", lambda *_: CARD)


@pytest.fixture
def site(tmp_path: Path) -> Archive:
    """An archive that holds nothing yet."""
    made = builders.archive(tmp_path)
    made.close()
    return made


@pytest.fixture
def judged(site: Archive) -> Archive:
    """The model said something of 240 studies: 40 have the finding, of which 36 are flagged, as are 20 others."""
    with _database(site) as database, database.write() as tx:
        for number in range(240):
            score = (0.9 if number < 36 else 0.1) if number < 40 else (0.1 if number < 220 else 0.9)
            _judge(tx, StudyUid(f"2.25.9.{number}"), score)
    return site


def _judge(tx: Transaction, uid: StudyUid, score: float) -> None:
    now = builders.START
    times = dict.fromkeys(("received_first", "received_last", "quiet_until"), now)
    row = {"study_instance_uid": uid, "state": "TRIAGED", "revision": 1, **times}
    tx.execute(sa.insert(schema.studies).values(**row))
    found = Finding(
        code="trial-finding",
        name_en="trial finding",
        name_vi="dấu hiệu thử",
        score=score,
        threshold=0.5,
        operating_point="balanced",
        positive=score >= 0.5,
        urgency="critical",
    )
    outcome = Outcome.FLAGGED if found.positive else Outcome.NOT_FLAGGED
    jobs.create(tx, uid, 1, [deployment.ref(CARD)], due_at=now, now=now)
    taken = jobs.claim(tx, owner="worker", lease=timedelta(minutes=1), now=now)
    assert taken is not None
    assert jobs.end(tx, taken.id, owner="worker", state=JobState.DONE, reason=None, now=now)
    results.add(tx, taken, TriageResult(outcome=outcome, findings=(found,), raises=False), now=now)


def _database(site: Archive) -> closing[Database]:
    return closing(Database(f"sqlite:///{site.spool_folder / 'catalogue.sqlite'}"))


def _roi(site: Archive, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments, "--data", str(site.spool_folder)])


def _labels(tmp_path: Path, *, positives: int = 40, cases: int = 240) -> str:
    path = tmp_path / "labels.csv"
    lines = [f"2.25.9.{number},trial-finding,{int(number < positives)}" for number in range(cases)]
    path.write_text("\n".join(["study,finding,truth", *lines]), encoding="utf-8")
    return str(path)


def _standing(site: Archive):
    with _database(site) as database, database.read() as tx:
        return deployment.standing(tx, CARD, now=builders.START + timedelta(days=1))


def test_a_model_goes_from_the_shadow_to_enabled_and_out_again(judged: Archive, tmp_path: Path) -> None:
    with pytest.raises(EnablingRefused, match="số lưu hành"):
        _go(_roi(judged, "enable", MODEL, "--mode", "clinical", *SAID))
    permit = ("permit", MODEL, "--circulation-number", "220000001/PCBB-BYT", "--signed-on", "2026-01-01")
    _go(_roi(judged, *permit, "--by", "BS. Lan"))
    with pytest.raises(EnablingRefused, match="not checked"):
        _go(_roi(judged, "enable", MODEL, "--mode", "clinical", *SAID))
    checked = _go(_roi(judged, "check", MODEL, "--labels", _labels(tmp_path), "--by", "BS. Lan"))
    assert "(0.77 to 0.96)" in checked.stdout
    enabled = _go(_roi(judged, "enable", MODEL, "--mode", "clinical", *SAID))
    assert "(0.77 to 0.96)" in enabled.stdout  # the table is shown before the word is taken
    assert "enabled, clinical, by BS. Lan" in enabled.stdout
    told = json.loads(_go(_roi(judged, "status", "--json")).stdout)
    assert [(each["id"], each["moves"], each["deployment"]["mode"]) for each in told] == [(MODEL, True, "clinical")]
    _go(_roi(judged, "shadow", MODEL, *SAID))
    _go(_roi(judged, "retire", MODEL, *SAID))
    assert "RETIRED" in _go(_roi(judged, "status")).stdout


def test_a_check_that_is_too_small_is_kept_as_refused_and_ends_with_code_1(judged: Archive, tmp_path: Path) -> None:
    small = _roi(judged, "check", MODEL, "--labels", _labels(tmp_path, cases=150), "--by", "BS. Lan")
    assert small.exit_code == 1
    assert "150 labelled cases with an answer, 200 needed" in small.stdout
    check = _standing(judged).check
    assert check is not None
    assert (check.passed, check.checked_by) == (False, "BS. Lan")


def test_a_site_chooses_its_threshold_and_goes_back_to_the_card_s(judged: Archive, tmp_path: Path) -> None:
    asked = ("threshold", MODEL, "--finding", "trial-finding", "--labels", _labels(tmp_path), "--by", "BS. Lan")
    with pytest.raises(CheckRefused, match="40 positive cases"):
        _go(_roi(judged, *asked, "--rule", "sensitivity", "--target", "0.9", "--half-width", "0.05"))
    chosen = _go(_roi(judged, *asked, "--rule", "sensitivity", "--target", "0.9"))
    point = _standing(judged).operating_points["trial-finding"]
    assert point.id in chosen.stdout
    assert (point.threshold, point.figures["rule"], point.figures["sensitivity"]["hits"]) == (0.9, "sensitivity", 36)
    _go(_roi(judged, "card-threshold", MODEL, "--finding", "trial-finding", *SAID))
    assert _standing(judged).operating_points == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("study,truth\n1,1", "no columns"),
        ("study,finding,truth\n1,other,1", "line 2: site-model looks for trial-finding"),
        ("study,finding,truth\n1,trial-finding,maybe", "line 2: a truth is one of"),
        ("study,finding,truth\n1,trial-finding,1\n1,trial-finding,0", "line 3: this study was labelled otherwise"),
    ],
)
def test_labels_that_cannot_be_read_are_refused_with_their_line(
    site: Archive, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingWrong, match=words):
        _go(_roi(site, "check", MODEL, "--labels", str(path), "--by", "BS. Lan"))


def test_a_research_statement_is_known_by_the_digest_of_its_file(site: Archive, tmp_path: Path) -> None:
    statement = tmp_path / "statement.pdf"
    statement.write_bytes(b"%PDF signed")
    told = ("--statement", str(statement), "--signed-by", "GS. Hoa", "--signed-on", "2026-01-01")
    _go(_roi(site, "permit", MODEL, *told, "--expires-on", "2027-01-01", "--by", "BS. Lan"))
    (permit,) = _standing(site).permits
    assert permit.statement_sha256 == hashlib.sha256(b"%PDF signed").hexdigest()


def test_all_models_stop_and_start_and_nobody_stops_them_unnamed(site: Archive) -> None:
    assert "every model is stopped" in _go(_roi(site, "stop", "--all", *SAID)).stdout
    assert _standing(site).stop is not None
    assert "STOPPED" in _go(_roi(site, "status")).stdout
    assert "every model is started" in _go(_roi(site, "start", "--all", *SAID)).stdout
    with pytest.raises(SettingWrong, match="not stopped"):
        _go(_roi(site, "start", MODEL, *SAID))
    with pytest.raises(SettingWrong, match="neither may be empty"):
        _go(_roi(site, "stop", MODEL, "--by", " ", "--why", "x"))
    assert _roi(site, "stop", *SAID).exit_code == 2


def test_a_person_opts_out_and_in(site: Archive) -> None:
    assert "opt-out 1 stands" in _go(_roi(site, "opt-out", "BN1", *SAID)).stdout
    assert "BN1" in _go(_roi(site, "opt-outs")).stdout
    _go(_roi(site, "opt-in", "1", *SAID))
    assert "BN1" not in _go(_roi(site, "opt-outs")).stdout


def _go(done: Result) -> Result:
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_an_incident_prints_its_three_due_dates(site: Archive) -> None:
    told = ("incident", MODEL, "--what", "flag on an artefact", "--by", "BS. Lan", "--known-at", "2026-03-02T08:00")
    said = _go(_roi(site, *told)).stdout
    assert "first notice: 2026-03-05 08:00 (+07), OVERDUE" in said
    assert "notice: 2026-03-10 00:00 (+07)" in said
    assert "full report: 2026-03-17 08:00 (+07)" in said
    incident = said.split()[1]
    _go(_roi(site, "incident-done", incident, "--duty", "first notice", "--by", "BS. Hoa"))
    assert MODEL in _go(_roi(site, "incidents")).stdout
    with pytest.raises(SettingWrong, match="future"):
        _go(_roi(site, *told[:-1], "2199-01-01T00:00"))


def test_a_report_tells_the_weeks_and_says_what_is_too_few_to_say(judged: Archive, monkeypatch) -> None:
    monkeypatch.setattr("roi.model_report.utc_now", lambda: builders.START + timedelta(days=1))
    said = _go(_roi(judged, "report", MODEL)).stdout
    assert "2026-02-23" in said
    assert "240" in said
    assert "score of trial-finding: 240 cases, 0 in the base: too few to say" in said
    told = json.loads(_go(_roi(judged, "report", MODEL, "--json")).stdout)
    assert told["weeks"][0]["flagged"]["hits"] == 56

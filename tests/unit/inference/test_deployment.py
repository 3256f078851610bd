"""The site's word on a model: shadow, enabled by a person, stopped, retired; opt-outs; retraction."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from inference import deployment, priority
from inference.completion import close_quiet
from inference.dispatchers.child import ChildDispatcher
from inference.errors import EnablingRefused
from inference.worker import Worker
from storage import schema
from storage.archive import Archive
from storage.catalog import changes, deployments, jobs, local_checks, opt_outs, permits, results, studies, worklist
from storage.catalog import operating_points as points
from storage.catalog.deployments import Mode, Status, StepRefused
from storage.catalog.permits import Ground, Permit, PermitInvalid
from storage.catalog.stops import EVERY
from storage.errors import CatalogueUnknown
from storage.records import Coverage, Finding, JobState, Outcome, StudyState, StudyUid, TriageResult
from storage.workitems.records import state_of_job
from storage.workitems.states import OF_JOB
from tests.builders import Clock, archive, card, header, keep
from tests.unit.inference.test_worker import ScriptedProcess

STUDY = StudyUid("2.25.1")
SITE = card("site-model", root=None)
PHANTOM = card("phantom-model")
BY = {"by": "BS. Lan", "why": "as agreed"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Archive:
    return archive(tmp_path, clock)


def _arrive(kept: Archive, clock: Clock, number: int = 1, *cards, patient: str = "P1") -> StudyUid:
    uid = StudyUid(f"2.25.{number}")
    for slice_number in range(1, 5):
        told = {"study_instance_uid": uid, "series_instance_uid": f"{uid}.1", "patient_id": patient}
        keep(kept, header(slice_number, sop_instance_uid=f"{uid}.1.{slice_number}", **told))
        clock.go(0.01)
    kept.release([uid])
    clock.go(1)
    close_quiet(kept.database, cards or (SITE,), now=clock.now, seen={})
    return uid


def _flag(score: float = 0.9) -> TriageResult:
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
    urgency = "critical" if found.positive else None
    return TriageResult(outcome=outcome, findings=(found,), urgency=urgency, raises=True)


def _work(kept: Archive, clock: Clock, *answers: TriageResult, cards=(SITE, PHANTOM)) -> ScriptedProcess:
    process = ScriptedProcess(list(answers or [_flag()]))
    Worker(database=kept.database, dispatcher=ChildDispatcher(), cards=cards, model=process, clock=clock).step()
    return process


def _permit(kept: Archive, clock: Clock, kind: Ground = Ground.CIRCULATION, expires_on: date | None = None) -> None:
    permit = Permit(
        model_digest=SITE.digest,
        kind=kind,
        number="220000001/PCBB-BYT" if kind is Ground.CIRCULATION else "",
        statement_sha256="0" * 64 if kind is Ground.RESEARCH else None,
        signed_by="GS. Hoa",
        signed_on=date(2026, 1, 1),
        expires_on=expires_on,
        recorded_at=clock.now,
        recorded_by="BS. Lan",
    )
    with kept.database.write() as tx:
        permits.record(tx, permit)


def _pass_the_check(kept: Archive, clock: Clock) -> None:
    with kept.database.write() as tx:
        local_checks.add(tx, SITE.digest, {"refused": []}, passed=True, by="BS. Lan", now=clock.now)


def _enable(kept: Archive, clock: Clock, mode: Mode = Mode.CLINICAL, of=SITE) -> None:
    with kept.database.write() as tx:
        deployment.enable(tx, of, mode, **BY, now=clock.now)


def _row(kept: Archive, uid: StudyUid = STUDY):
    with kept.database.read() as tx:
        return worklist.entry(tx, uid)


def _audited(kept: Archive) -> list[tuple[str, str]]:
    with kept.database.read() as tx:
        rows = tx.execute(sa.select(schema.audit).order_by(schema.audit.c.seq))
        return [(row.action, row.actor) for row in rows]


# ------------------------------------------------------------------------------------------------------------- shadow
def test_a_new_model_is_a_shadow_that_is_recorded_and_moves_nothing(kept: Archive, clock: Clock) -> None:
    uid = _arrive(kept, clock)
    before = _row(kept, uid).study.due_at
    _work(kept, clock)
    row = _row(kept, uid)
    assert (row.study.due_at, row.study.ai_urgency) == (before, None)
    (record,) = row.results
    assert (record.result.outcome, record.result.raises) == (Outcome.FLAGGED, False)
    assert record.result.provenance["site"] == {"status": "SHADOW", "mode": None}


def test_the_phantom_models_are_enabled_from_the_start_and_for_phantoms_only(kept: Archive, clock: Clock) -> None:
    uid = _arrive(kept, clock, 1, PHANTOM)
    _work(kept, clock)
    assert _row(kept, uid).study.ai_urgency == "critical"
    with kept.database.write() as tx:
        for mode in (Mode.CLINICAL, Mode.RESEARCH):
            with pytest.raises(EnablingRefused, match="no setting changes that"):
                deployment.enable(tx, PHANTOM, mode, **BY, now=clock.now)
        deployment.enable(tx, PHANTOM, Mode.PHANTOM, **BY, now=clock.now)
        foreign = _flag().__class__(outcome=Outcome.FLAGGED, urgency="critical", raises=False)
        assert not deployment.judged_here(tx, PHANTOM, foreign, now=clock.now).raises


def test_models_are_introduced_once_with_a_line_of_the_audit(kept: Archive, clock: Clock) -> None:
    for _ in range(2):
        with kept.database.write() as tx:
            deployment.introduce(tx, (SITE, PHANTOM), now=clock.go(1))
    with kept.database.read() as tx:
        status = {kept_one.model.id: kept_one.status for kept_one in deployments.every(tx).values()}
    assert status == {"site-model": Status.SHADOW, "phantom-model": Status.ENABLED}
    assert _audited(kept) == [("model-introduced", "Rọi")] * 2


# ------------------------------------------------------------------------------------------------------------ enabled
def test_a_model_is_enabled_on_a_ground_after_a_check_by_a_named_person(kept: Archive, clock: Clock) -> None:
    with pytest.raises(EnablingRefused, match="số lưu hành"):
        _enable(kept, clock)
    _permit(kept, clock)
    with pytest.raises(EnablingRefused, match="roi models check"):
        _enable(kept, clock)
    with kept.database.write() as tx:
        figures = {"refused": ["34 positives, 60 needed"]}
        local_checks.add(tx, SITE.digest, figures, passed=False, by="BS. Lan", now=clock.go(1))
    with pytest.raises(EnablingRefused, match="34 positives, 60 needed"):
        _enable(kept, clock)
    clock.go(1)
    _pass_the_check(kept, clock)
    _enable(kept, clock)
    uid = _arrive(kept, clock)
    _work(kept, clock)
    assert _row(kept, uid).study.ai_urgency == "critical"
    assert ("model-enabled", "BS. Lan") in _audited(kept)


def test_a_research_statement_lets_a_model_move_the_list_until_it_expires(kept: Archive, clock: Clock) -> None:
    _pass_the_check(kept, clock)
    _permit(kept, clock, Ground.RESEARCH, date(2026, 3, 1))
    with pytest.raises(EnablingRefused, match="clinical"):
        _enable(kept, clock, Mode.CLINICAL)
    _enable(kept, clock, Mode.RESEARCH)
    last_minute = _arrive(kept, clock, 1)
    _work(kept, clock)
    clock.go(24 * 3600)
    too_late = _arrive(kept, clock, 2)
    _work(kept, clock)
    assert (_row(kept, last_minute).study.ai_urgency, _row(kept, too_late).study.ai_urgency) == ("critical", None)


def test_another_digest_is_another_model_and_starts_as_a_shadow(kept: Archive, clock: Clock) -> None:
    _permit(kept, clock)
    _pass_the_check(kept, clock)
    _enable(kept, clock)
    newer = card("site-model-2", root=None)
    with kept.database.read() as tx:
        assert deployment.standing(tx, SITE, now=clock.now).moves
        assert not deployment.standing(tx, newer, now=clock.now).moves


@pytest.mark.parametrize(
    "told",
    [
        {"kind": Ground.CIRCULATION, "number": " "},
        {"kind": Ground.RESEARCH, "statement_sha256": "0" * 64, "signed_by": "GS. Hoa"},
        {"kind": Ground.RESEARCH, "statement_sha256": "0" * 63, "signed_by": "GS. Hoa", "expires_on": date(2027, 1, 1)},
        {"kind": Ground.RESEARCH, "statement_sha256": "0" * 64, "signed_by": "", "expires_on": date(2027, 1, 1)},
        {"kind": Ground.CIRCULATION, "number": "1", "expires_on": date(2025, 1, 1)},
    ],
)
def test_a_permit_that_does_not_say_what_it_must_is_refused(clock: Clock, told: dict) -> None:
    with pytest.raises(PermitInvalid):
        Permit(model_digest=SITE.digest, signed_on=date(2026, 1, 1), recorded_at=clock.now, recorded_by="x", **told)


# ------------------------------------------------------------------------------------------------------------ retired
def test_a_retired_model_gets_no_job_and_only_goes_back_to_the_shadow(kept: Archive, clock: Clock) -> None:
    waiting = _arrive(kept, clock, 1)
    with kept.database.write() as tx:
        deployment.retire(tx, SITE, **BY, now=clock.now)
    (line,) = _row(kept, waiting).coverage
    assert (line.coverage, line.reason) == (Coverage.OPTED_OUT, "model_retired")
    (later,) = _row(kept, _arrive(kept, clock, 2)).coverage
    assert later.coverage is Coverage.NO_MODEL_APPLIES
    with kept.database.write() as tx, pytest.raises(StepRefused, match="RETIRED"):
        deployments.step(tx, deployments.of(tx, SITE.digest), Status.ENABLED, **BY, now=clock.now, mode=Mode.CLINICAL)
    with kept.database.write() as tx:
        assert deployment.shadow(tx, SITE, **BY, now=clock.now).status is Status.SHADOW


# -------------------------------------------------------------------------------------------------------- kill switch
@pytest.mark.parametrize("named", ["site-model", EVERY])
def test_a_stop_ends_what_waits_and_makes_no_job_until_it_is_lifted(kept: Archive, clock: Clock, named: str) -> None:
    waiting = _arrive(kept, clock, 1)
    with kept.database.write() as tx:
        assert deployment.stop(tx, named, **BY, now=clock.now) == 1
    during = _arrive(kept, clock, 2)
    process = _work(kept, clock)
    assert process.asked == []
    for uid in (waiting, during):
        row = _row(kept, uid)
        (line,) = row.coverage
        assert (line.coverage, line.reason, row.study.state) == (
            Coverage.OPTED_OUT,
            "model_stopped",
            StudyState.TRIAGED,
        )
    with kept.database.write() as tx:
        assert deployment.start(tx, named, **BY, now=clock.now)
    _arrive(kept, clock, 3)
    assert len(_work(kept, clock).asked) == 1
    assert [action for action, _ in _audited(kept)] == ["model-stopped", "model-started"]


def test_a_stop_while_a_model_runs_drops_what_it_says(kept: Archive, clock: Clock) -> None:
    uid = _arrive(kept, clock)

    class Stopping(ScriptedProcess):
        def run(self, request, *, limit_s, on_beat):
            with kept.database.write() as tx:
                deployment.stop(tx, SITE.id, **BY, now=clock.now)
            return super().run(request, limit_s=limit_s, on_beat=on_beat)

    process = Stopping([_flag()])
    Worker(database=kept.database, dispatcher=ChildDispatcher(), cards=(SITE,), model=process, clock=clock).step()
    row = _row(kept, uid)
    assert (len(process.asked), row.results, row.coverage[0].coverage) == (1, (), Coverage.OPTED_OUT)


def test_a_stop_ends_jobs_of_studies_that_are_out_of_sight_too(kept: Archive, clock: Clock) -> None:
    _arrive(kept, clock)
    with kept.database.write() as tx:
        tx.execute(sa.update(schema.studies).values(instance_count=0))
        assert deployment.stop(tx, SITE.id, **BY, now=clock.now) == 0
        assert tx.execute(sa.select(schema.jobs.c.state)).scalars().all() == ["OPTED_OUT"]


def test_a_job_that_slipped_past_a_stop_is_not_run(kept: Archive, clock: Clock) -> None:
    uid = _arrive(kept, clock)
    with kept.database.write() as tx:  # as where a completion committed beside the stop
        deployment.stop(tx, SITE.id, **BY, now=clock.now)
        tx.execute(sa.update(schema.jobs).values(state=JobState.WAITING, ended_at=None, reason=None))
    assert _work(kept, clock).asked == []
    assert _row(kept, uid).coverage[0].reason == "model_stopped"


def test_a_stopped_model_leaves_the_others_alone(kept: Archive, clock: Clock) -> None:
    with kept.database.write() as tx:
        deployment.stop(tx, SITE.id, **BY, now=clock.now)
    uid = _arrive(kept, clock, 1, SITE, PHANTOM)
    _work(kept, clock)
    found = {line.model_id: line.coverage for line in _row(kept, uid).coverage}
    assert found == {"site-model": Coverage.OPTED_OUT, "phantom-model": Coverage.ANALYSED}


def test_every_state_of_a_job_is_a_state_of_a_workitem() -> None:
    assert set(OF_JOB) == set(JobState)
    assert state_of_job(JobState.OPTED_OUT, claimed=False) == "CANCELED"


# ---------------------------------------------------------------------------------------------------------- opt-outs
def test_ai_optout_of_a_person_makes_no_job_and_says_so(kept: Archive, clock: Clock) -> None:
    waiting = _arrive(kept, clock, 1, SITE, PHANTOM, patient="BN1")
    with kept.database.write() as tx:
        wish, met = deployment.opt_out(tx, "BN1", issuer="", **BY, now=clock.now)
    assert met == 1
    later = _arrive(kept, clock, 2, SITE, PHANTOM, patient="BN1")
    other = _arrive(kept, clock, 3, PHANTOM, patient="BN2")
    process = _work(kept, clock)
    assert [request.instances[0].study_instance_uid for request in process.asked] == [other]
    for uid in (waiting, later):
        lines = _row(kept, uid).coverage
        assert [(line.coverage, line.reason) for line in lines] == [(Coverage.OPTED_OUT, "person_opted_out")] * 2
    with kept.database.write() as tx:
        assert opt_outs.end(tx, wish.id, **BY, now=clock.now)
    _arrive(kept, clock, 4, PHANTOM, patient="BN1")
    assert len(_work(kept, clock).asked) == 1


@pytest.mark.parametrize(
    ("wished", "issuer", "holds"),
    [("", None, True), ("", "A", True), ("A", "A", True), ("A", None, True), ("A", "B", False)],
)
def test_in_doubt_about_the_issuer_ai_optout_holds(
    kept: Archive, clock: Clock, wished: str, issuer: str | None, holds: bool
) -> None:
    keep(kept, header(1, patient_id="BN1", issuer_of_patient_id=issuer))
    with kept.database.write() as tx:
        opt_outs.declare(tx, "BN1", issuer=wished, **BY, now=clock.now)
        assert opt_outs.stands_for(tx, STUDY) is holds


# -------------------------------------------------------------------------------------------------- operating points
def test_a_site_s_own_operating_point_judges_and_is_named_in_the_result(kept: Archive, clock: Clock) -> None:
    with kept.database.write() as tx:
        point = points.choose(
            tx, PHANTOM.digest, "trial-finding", 0.95, figures={"rule": "specificity"}, by="BS. Lan", now=clock.now
        )
    uid = _arrive(kept, clock, 1, PHANTOM)
    _work(kept, clock, _flag(0.9))
    (record,) = _row(kept, uid).results
    (found,) = record.result.findings
    assert (found.threshold, found.operating_point, found.positive) == (0.95, "site", False)
    assert (record.result.outcome, record.result.urgency) == (Outcome.NOT_FLAGGED, None)
    assert record.result.provenance["site"]["operating_points"] == {"trial-finding": point.id}
    assert PHANTOM.findings[0].operating_point.threshold == 0.5
    with kept.database.write() as tx:
        assert points.end(tx, PHANTOM.digest, "trial-finding", **BY, now=clock.now)
    again = _arrive(kept, clock, 2, PHANTOM)
    _work(kept, clock, _flag(0.9))
    assert _row(kept, again).study.ai_urgency == "critical"


# -------------------------------------------------------------------------------------------------------- retraction
def test_a_retracted_raise_falls_away_and_everybody_hears(kept: Archive, clock: Clock) -> None:
    uid = _arrive(kept, clock, 1, PHANTOM)
    before = _row(kept, uid).study.due_at
    _work(kept, clock)
    (record,) = _row(kept, uid).results
    for _ in range(2):
        with kept.database.write() as tx:
            assert deployment.retract(tx, record.id, **BY, now=clock.go(1)) == uid
    row = _row(kept, uid)
    assert (row.study.due_at, row.study.ai_urgency) == (before, None)
    assert (row.coverage[0].coverage, row.coverage[0].retracted) == (Coverage.ANALYSED, True)
    (after,) = row.results
    assert (after.result, after.retracted_by, after.retracted_why) == (record.result, "BS. Lan", "as agreed")
    assert "AI flag" not in priority.place_reason(row).en
    with kept.database.read() as tx:
        told = [change for change in changes.since(tx, 0) if change.kind == "result-retracted"]
    assert [(change.study_instance_uid, change.detail["result"]) for change in told] == [(uid, record.id)]


def test_a_retraction_leaves_the_raise_of_another_model(kept: Archive, clock: Clock) -> None:
    other = card("phantom-other")
    uid = _arrive(kept, clock, 1, PHANTOM, other)
    _work(kept, clock, cards=(PHANTOM, other))
    first = _row(kept, uid).results[0]
    with kept.database.write() as tx:
        deployment.retract(tx, first.id, **BY, now=clock.now)
    assert _row(kept, uid).study.ai_urgency == "critical"


def test_a_job_made_for_a_later_revision_obeys_too(kept: Archive, clock: Clock) -> None:
    _arrive(kept, clock)
    with kept.database.write() as tx:
        deployment.stop(tx, SITE.id, **BY, now=clock.now)
        made = jobs.create(tx, STUDY, 2, [deployment.ref(SITE)], due_at=clock.now, now=clock.now)
        assert made == []
        assert studies.get(tx, STUDY).revision == 1


def test_the_result_itself_is_unknown_where_there_is_none(kept: Archive, clock: Clock) -> None:
    with kept.database.write() as tx, pytest.raises(results.CatalogueUnknown):
        deployment.retract(tx, "0" * 32, **BY, now=clock.now)


# ------------------------------------------------------------------------------------------------------- incidents
def test_an_incident_may_be_with_a_model_that_is_no_longer_installed(kept: Archive, clock: Clock) -> None:
    said = {"result": None, "what": "missed a bleed", "known_at": clock.now, "by": "BS. Lan", "now": clock.now}
    with kept.database.write() as tx:
        deployment.introduce(tx, [SITE], now=clock.now)
        incident = deployment.record_incident(tx, SITE.id, [PHANTOM], **said)
        assert (incident.model_id, incident.model_digest) == (SITE.id, SITE.digest)
        with pytest.raises(CatalogueUnknown, match="never-here"):
            deployment.record_incident(tx, "never-here", [PHANTOM], **said)

"""Results told as objects: once, after the fact, and the same whoever is killed in between."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
import sqlalchemy as sa

pytest.importorskip("highdicom", reason="result objects need the extra `ai`")

from inference import reporting
from inference.completion import close_quiet
from inference.dispatchers.child import ChildDispatcher
from inference.reporting import Reporter, Scope
from inference.worker import Worker
from pacs_gateway.ingest import Ingest
from pacs_gateway.reread import read_object
from storage import schema
from storage.archive import Archive
from storage.catalog import changes, reports, results, studies
from storage.catalog.deletions import Target
from storage.errors import CatalogueUnavailable
from storage.hiding import Word, hide
from storage.rebuild import rebuild
from storage.records import Finding, InstanceUid, Origin, Outcome, StudyState, StudyUid, TriageResult, Verdict
from storage.removal import remove
from storage.turn import UnderWay, turn_at
from tests.builders import Clock, archive, card, ct_slice, part10
from tests.unit.inference.test_worker import ScriptedProcess

STUDY = StudyUid("2.25.1")
CARD = card()
SLICES = 8
PERSON = {
    "PatientID": "BN1",
    "PatientName": "Nguyễn^Thị Đào",
    "PatientBirthDate": "19860114",
    "PatientSex": "F",
    "StudyInstanceUID": STUDY,
    "SeriesInstanceUID": "2.25.1.1",
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Archive:
    return archive(tmp_path, clock)


def send(kept: Archive, *numbers: int, **attributes: object) -> None:
    for number in numbers:
        image = ct_slice(number, **{**PERSON, "SpecificCharacterSet": "ISO_IR 192", **attributes})
        assert Ingest(kept).part10([part10(image)], Origin(via="dimse"))[0] is Verdict.STORED
    kept.release([STUDY])


def judge(kept: Archive, clock: Clock, *answers: TriageResult) -> ScriptedProcess:
    clock.go(20)
    close_quiet(kept.database, [CARD], now=clock.now, seen={})
    process = ScriptedProcess(list(answers))
    worker = Worker(database=kept.database, dispatcher=ChildDispatcher(), cards=[CARD], model=process, clock=clock)
    worker.step()
    return process


def flagged(kept: Archive) -> TriageResult:
    with kept.database.read() as tx:
        inputs = tuple(each.sop_instance_uid for each in studies.instances_of(tx, STUDY) if not each.made_here)
    spec = CARD.findings[0]
    finding = Finding(
        code=spec.code,
        name_en=spec.name_en,
        name_vi=spec.name_vi,
        score=0.9,
        threshold=spec.operating_point.threshold,
        operating_point=spec.operating_point.name,
        positive=True,
        urgency="critical",
        key_instance_uid=inputs[2],
        key_series_uid="2.25.1.1",
    )
    return TriageResult(
        outcome=Outcome.FLAGGED,
        urgency="critical",
        raises=True,
        findings=(finding,),
        inputs=inputs,
        provenance={"input_sha256": f"{len(inputs):064d}"},
    )


def scope(kept: Archive, *forms: str, keep=None) -> Scope:
    ingest = Ingest(kept)
    return Scope(
        database=kept.database,
        objects=kept.objects,
        keep=keep or (lambda content: ingest.part10([content], Origin(via="self"))[0]),
        cards={CARD.digest: CARD},
        forms=forms or ("sr", "ko", "sc", "seg"),
    )


def tell(kept: Archive, clock: Clock, *forms: str, keep=None) -> int:
    return Reporter(scope(kept, *forms, keep=keep), clock=clock, rest=lambda _: None).run()


def ours(kept: Archive) -> dict[str, bytes]:
    """What we wrote, by modality, as data sets without file meta."""
    with kept.database.read() as tx:
        made = [each for each in studies.instances_of(tx, STUDY) if each.made_here]
    return {str(each.modality): kept.open_data_set(each).read() for each in made}


def result_of(kept: Archive):
    with kept.database.read() as tx:
        return results.of_studies(tx, [STUDY])[STUDY][0]


def kinds(kept: Archive) -> Counter[str]:
    with kept.database.read() as tx:
        return Counter(change.kind for change in changes.since(tx, 0))


def test_a_flag_is_told_once_and_the_study_stays_as_it_is(kept: Archive, clock: Clock) -> None:
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    assert tell(kept, clock) == 1
    assert tell(kept, clock) == 0
    assert sorted(ours(kept)) == ["KO", "OT", "SR"]
    with kept.database.read() as tx:
        study = studies.get(tx, STUDY)
    assert (study.state, study.revision, study.ai_urgency) == (StudyState.TRIAGED, 1, "critical")
    record = result_of(kept)
    assert record.reported_at == clock.now
    assert [each.form for each in record.objects] == ["sr", "ko", "sc"]
    assert kinds(kept)["result-reported"] == 1
    assert kinds(kept)["study-reopened"] == 0


def test_an_object_takes_the_patient_over_and_names_all_that_was_looked_at(kept: Archive, clock: Clock) -> None:
    """A-1, A-6."""
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    tell(kept, clock)
    record = result_of(kept)
    with kept.database.read() as tx:
        (row,) = studies.instances_of(tx, STUDY, instance=record.objects[0].sop_instance_uid)
    report = pydicom.dcmread(kept.open(row))
    assert (report.PatientID, report.PatientName, report.StudyInstanceUID) == ("BN1", "Nguyễn^Thị Đào", STUDY)
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    named = {item.ReferencedSOPInstanceUID for item in study.ReferencedSeriesSequence[0].ReferencedSOPSequence}
    assert named == {f"2.25.1.1.{number}" for number in range(1, SLICES + 1)}


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(Outcome.NOT_SUITABLE, "contrast"), (Outcome.FAILED, "timeout"), (Outcome.NOT_FLAGGED, None)],
)
def test_every_other_run_has_its_report_alone(
    outcome: Outcome, reason: str | None, kept: Archive, clock: Clock
) -> None:
    """A-10."""
    send(kept, *range(1, SLICES + 1))
    told = flagged(kept)
    findings = tuple(replace(each, positive=False, score=0.1) for each in told.findings) if reason is None else ()
    inputs = told.inputs if reason is None else ()
    judge(kept, clock, replace(told, outcome=outcome, reason=reason, urgency=None, findings=findings, inputs=inputs))
    tell(kept, clock)
    assert sorted(ours(kept)) == ["SR"]


def test_only_the_forms_that_the_site_wants_are_kept(kept: Archive, clock: Clock) -> None:
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    tell(kept, clock, "sr", "ko")
    assert sorted(ours(kept)) == ["KO", "SR"]


class Killed(BaseException):
    """What a kill is to the code that it cuts: nothing handles it."""


@pytest.mark.parametrize("moment", range(7))
def test_killed_anywhere_the_next_turn_leaves_what_one_turn_would_have(
    moment: int, kept: Archive, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before or after each of the three objects is kept, or before it is noted that they are."""
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    at = {"step": 0}
    ingest = Ingest(kept)

    def step() -> None:
        at["step"] += 1
        if at["step"] == moment + 1:
            raise Killed

    def keep(content: bytes) -> Verdict:
        step()
        verdict, _ = ingest.part10([content], Origin(via="self"))
        step()
        return verdict

    noted = reports.note_reported

    def note(*args, **fields):
        step()
        return noted(*args, **fields)

    monkeypatch.setattr(reporting.reports, "note_reported", note)
    with pytest.raises(Killed):
        tell(kept, clock, keep=keep)
    monkeypatch.setattr(reporting.reports, "note_reported", noted)
    clock.go(3600)  # the dead one's lease is over, and the time is another
    assert tell(kept, clock) == 1
    found = ours(kept)
    assert sorted(found) == ["KO", "OT", "SR"]
    assert kinds(kept)["instance-stored"] == SLICES + 3
    assert kinds(kept)["instance-quarantined"] == 0
    assert kinds(kept)["result-reported"] == 1
    with kept.database.write() as tx:  # made anew from nothing, the bytes are the same
        tx.execute(sa.delete(schema.instances).where(schema.instances.c.via == "self"))
        reports.tell_again(tx, [result_of(kept).id])
    clock.go(3600)
    tell(kept, clock)
    assert ours(kept) == found


def test_two_at_once_keep_one_set(kept: Archive, clock: Clock) -> None:
    """The second one looks before the first has kept anything, and goes on after it has noted all."""
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    verdicts: list[Verdict] = []
    ingest = Ingest(kept)
    rival = Reporter(scope(kept), clock=clock, rest=lambda _: None)
    with kept.database.read() as tx:
        (waits,) = reports.waiting(tx)

    def keep(content: bytes) -> Verdict:
        if not verdicts:
            with reporting.closing(reporting.Decoders()) as decoders:
                rival._tell(waits, decoders)
        verdicts.append(ingest.part10([content], Origin(via="self"))[0])
        return verdicts[-1]

    tell(kept, clock, keep=keep)
    assert verdicts[0] is Verdict.DUPLICATE
    assert kinds(kept)["instance-stored"] == SLICES + 3
    assert kinds(kept)["instance-quarantined"] == 0
    assert kinds(kept)["result-reported"] == 1


def test_a_later_revision_s_report_follows_the_first_and_our_own_objects_are_not_looked_at(
    kept: Archive, clock: Clock
) -> None:
    """A-11: what a model is given is what was received."""
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    tell(kept, clock)
    first = result_of(kept).objects[0]
    send(kept, SLICES + 1)
    process = judge(kept, clock, flagged(kept))
    assert {each.modality for each in process.asked[0].instances} == {"CT"}
    tell(kept, clock)
    second = result_of(kept)
    assert (second.revision, second.objects[0].sop_instance_uid == first.sop_instance_uid) == (2, False)
    with kept.database.read() as tx:
        (row,) = studies.instances_of(tx, STUDY, instance=second.objects[0].sop_instance_uid)
    report = pydicom.dcmread(kept.open(row))
    (named,) = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert named.ReferencedSOPInstanceUID == first.sop_instance_uid


def test_a_result_told_again_with_nothing_new_keeps_what_is_there(kept: Archive, clock: Clock) -> None:
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    tell(kept, clock)
    before = ours(kept)
    with kept.database.write() as tx:
        reports.tell_again(tx, [result_of(kept).id])
    clock.go(60)
    tell(kept, clock)
    assert ours(kept) == before
    assert [each.form for each in result_of(kept).objects] == ["sr", "ko", "sc"]


def test_a_study_that_is_removed_meanwhile_is_not_brought_back(kept: Archive, clock: Clock) -> None:
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    ingest = Ingest(kept)
    verdicts = []

    def keep(content: bytes) -> Verdict:
        if not verdicts:
            remove(kept, Target(study=STUDY), reason="test", actor="test")
        verdicts.append(ingest.part10([content], Origin(via="self"))[0])
        return verdicts[-1]

    tell(kept, clock, keep=keep)
    assert set(verdicts) == {Verdict.STUDY_GONE}
    with kept.database.read() as tx:
        assert not studies.exists(tx, STUDY)
        assert tx.execute(sa.select(sa.func.count()).select_from(schema.studies)).scalar_one() == 0


def test_a_result_whose_images_were_hidden_is_noted_without_objects(kept: Archive, clock: Clock) -> None:
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    hide(kept, Target(study=STUDY, instance=InstanceUid("2.25.1.1.3")), Word(actor="a", reason="b"), read_object)
    tell(kept, clock)
    assert ours(kept) == {}
    assert result_of(kept).reported_at is not None
    with kept.database.read() as tx:
        (told,) = [change for change in changes.since(tx, 0) if change.kind == "result-reported"]
    assert told.detail["reason"] == "images_gone"


def test_one_result_that_cannot_be_written_does_not_hold_up_the_others(kept: Archive, clock: Clock) -> None:
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    send(kept, SLICES + 1)
    judge(kept, clock, flagged(kept))
    calls = []

    def keep(content: bytes) -> Verdict:
        calls.append(content)
        raise ValueError("a bug")

    assert tell(kept, clock, "sr", keep=keep) == 0
    assert len(calls) == 2
    assert result_of(kept).reported_at is None
    assert tell(kept, clock) == 2


def test_a_catalogue_that_is_away_ends_the_turn_and_nothing_is_noted(kept: Archive, clock: Clock) -> None:
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))

    def keep(_: bytes) -> Verdict:
        raise CatalogueUnavailable

    with pytest.raises(CatalogueUnavailable):
        tell(kept, clock, keep=keep)
    assert result_of(kept).reported_at is None
    assert tell(kept, clock) == 1


def test_a_result_over_which_processes_die_is_left_without_objects(kept: Archive, clock: Clock) -> None:
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))

    def keep(_: bytes) -> Verdict:
        raise Killed

    for _ in range(3):
        with pytest.raises(Killed):
            tell(kept, clock, keep=keep)
        clock.go(3600)
    assert tell(kept, clock) == 1
    assert ours(kept) == {}
    assert result_of(kept).reported_at is not None


def test_a_catalogue_that_is_made_anew_keeps_the_objects_and_their_first_words(kept: Archive, clock: Clock) -> None:
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    tell(kept, clock)
    before = ours(kept)
    rebuild(kept, read_object, replace_it=True, clock=clock)
    assert ours(kept) == before
    judge(kept, clock, flagged(kept))
    assert result_of(kept).objects == ()
    assert tell(kept, clock) == 1
    assert ours(kept) == before
    assert [each.form for each in result_of(kept).objects] == ["sr", "ko", "sc"]
    assert kinds(kept)["instance-quarantined"] == 0


def test_what_was_made_here_is_no_series_that_a_reader_counts(kept: Archive, clock: Clock) -> None:
    send(kept, *range(1, SLICES + 1))
    judge(kept, clock, flagged(kept))
    tell(kept, clock)
    with kept.database.read() as tx:
        marked = {series.modality: series.made_here for series in studies.series_of(tx, [STUDY])[STUDY]}
        study = studies.get(tx, STUDY)
    assert marked == {"CT": False, "KO": True, "OT": True, "SR": True}
    assert study.modalities == ("CT", "KO", "OT", "SR")  # DICOM's own count has them all


def test_another_process_at_it_is_left_to_it(kept: Archive, clock: Clock) -> None:
    with turn_at(kept.database, reports.KIND, clock=clock), pytest.raises(UnderWay):
        tell(kept, clock)

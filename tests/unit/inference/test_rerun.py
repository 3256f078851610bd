"""A result made again from its provenance, and when it cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage

from inference import rerun
from inference.errors import NotReproducible
from inference.rerun import Agreement, compare
from inference.triage import RunRequest
from inference.triage import run as run_model
from pacs_gateway.reread import read_object
from storage.archive import Archive
from storage.catalog import jobs, results, studies
from storage.catalog.deletions import Target
from storage.hiding import Word, hide
from storage.records import InstanceUid, JobId, JobState, Outcome, ResultId, StudyUid, TriageResult
from tests.builders import Clock, TrialModel, archive, card, ct_slice, header, keep, keep_data_set

STUDY = StudyUid("2.25.1")
CARD = card()
RUNTIME = {
    "device": "cpu",
    "threads": 1,
    "torch": "2",
    "monai": "1",
    "numpy": "2",
    "pydicom": "3",
    "cpu": "AVX2 x",
    "gpu": "",
}


@pytest.fixture
def kept(tmp_path: Path) -> Archive:
    made = archive(tmp_path, Clock())
    for number in range(1, 9):
        keep_data_set(made, ct_slice(number, StudyInstanceUID=STUDY, SeriesInstanceUID="2.25.1.1"))
    report = header(99, sop_class_uid=str(Comprehensive3DSRStorage), series_instance_uid="2.25.1.9", modality="SR")
    keep(made, report, via="self")
    return made


def entered(kept: Archive, model: TrialModel, **changed: object) -> ResultId:
    """Run the model once as a worker does, and enter what came out."""
    clock = Clock()
    with kept.database.write() as tx:
        study = studies.complete(tx, studies.get(tx, STUDY), reason="test", now=clock.now)
        assert study is not None
        wanted = [jobs.ModelRef(id=CARD.id, version=CARD.version, digest=CARD.digest)]
        jobs.create(tx, STUDY, study.revision, wanted, due_at=clock.now, now=clock.now)
        job = jobs.claim(tx, owner="w", lease=clock.go(60) - clock.now, now=clock.now)
        assert job is not None
        instances = tuple(each for each in studies.instances_of(tx, STUDY) if not each.made_here)
        found = run_model(
            RunRequest(job=job.id, model_id=CARD.id, instances=instances), model, kept.objects, runtime=RUNTIME
        )
        assert jobs.end(tx, job.id, owner="w", state=JobState.DONE, reason=None, now=clock.now)
        return results.add(tx, job, replace(found, **changed), now=clock.now)


def found(kept: Archive, result: ResultId):
    with kept.database.read() as tx:
        return rerun.find(tx, result, {CARD.digest: CARD}.get)


def test_the_same_images_model_and_conditions_give_the_same_bits(kept: Archive) -> None:
    subject = found(kept, entered(kept, TrialModel(CARD)))
    assert len(subject.instances) == 8
    said = rerun.run(subject, TrialModel(CARD), kept.objects, runtime=RUNTIME)
    assert (said.agreement, said.largest, said.same_conditions) == (Agreement.EQUAL, 0.0, True)


def test_scores_are_held_against_the_thresholds_that_held_then(kept: Archive) -> None:
    once = run_model(_request(kept), TrialModel(CARD), kept.objects, runtime=RUNTIME)
    of_the_site = tuple(
        replace(each, threshold=1.0 if each.positive else 0.0, positive=not each.positive) for each in once.findings
    )
    turned = {Outcome.FLAGGED: Outcome.NOT_FLAGGED, Outcome.NOT_FLAGGED: Outcome.FLAGGED}[once.outcome]
    subject = found(kept, entered(kept, TrialModel(CARD), findings=of_the_site, outcome=turned))
    said = rerun.run(subject, TrialModel(CARD), kept.objects, runtime=RUNTIME)
    assert (said.agreement, said.outcome) == (Agreement.EQUAL, (turned, turned))


def _request(kept: Archive) -> RunRequest:
    with kept.database.read() as tx:
        instances = tuple(each for each in studies.instances_of(tx, STUDY) if not each.made_here)
    return RunRequest(job=JobId("j"), model_id=CARD.id, instances=instances)


def test_of_a_run_that_looked_at_nothing_all_that_was_received_is_run_again_and_nothing_of_ours(kept: Archive) -> None:
    result = entered(kept, TrialModel(CARD), inputs=())
    assert [each.modality for each in found(kept, result).instances] == ["CT"] * 8


@pytest.mark.parametrize(
    ("apart", "runtime", "agreement"),
    [
        (0.0, RUNTIME, Agreement.EQUAL),
        (1e-9, RUNTIME, Agreement.DIFFERS),
        (1e-9, {**RUNTIME, "threads": 2}, Agreement.WITHIN),
        (1e-9, {**RUNTIME, "cpu": "AVX512 y"}, Agreement.WITHIN),
        (1e-9, {**RUNTIME, "gpu": "H100, CUDA 13.0, cuDNN 91002"}, Agreement.WITHIN),
        (2e-4, {**RUNTIME, "threads": 2}, Agreement.DIFFERS),
    ],
)
def test_only_other_conditions_excuse_a_difference_and_only_within_the_bound(
    apart: float, runtime: dict[str, object], agreement: Agreement, kept: Archive
) -> None:
    result = entered(kept, TrialModel(CARD))
    then = found(kept, result).result.result
    (finding,) = then.findings
    now = replace(
        then,
        findings=(replace(finding, score=finding.score - apart),),
        provenance={**then.provenance, **runtime},
    )
    said = compare(then, now, bound=CARD.score_bound)
    assert said.agreement is agreement
    assert said.largest == pytest.approx(apart, abs=1e-12)


def test_another_outcome_differs_however_near_the_scores_are() -> None:
    then = TriageResult(outcome=Outcome.FLAGGED)
    now = TriageResult(outcome=Outcome.NOT_FLAGGED)
    assert compare(then, now, bound=1.0).agreement is Agreement.DIFFERS


def test_what_was_not_noted_then_is_no_same_condition(kept: Archive) -> None:
    """Results of earlier releases do not name their processor and batches."""
    then = found(kept, entered(kept, TrialModel(CARD))).result.result
    old = replace(then, provenance={key: value for key, value in then.provenance.items() if key != "cpu"})
    assert set(compare(old, then, bound=1e-4).conditions) == {"cpu"}


def test_a_result_whose_model_version_is_not_installed_is_refused(kept: Archive) -> None:
    result = entered(kept, TrialModel(CARD))
    with kept.database.read() as tx, pytest.raises(NotReproducible, match="is not installed here"):
        rerun.find(tx, result, {}.get)


def test_a_result_whose_images_are_gone_is_refused(kept: Archive) -> None:
    result = entered(kept, TrialModel(CARD))
    hide(kept, Target(study=STUDY, instance=InstanceUid("2.25.1.1.4")), Word(actor="a", reason="b"), read_object)
    with pytest.raises(NotReproducible, match="1 of 8 images"):
        found(kept, result)


def test_a_result_that_was_entered_with_another_digest_is_refused(kept: Archive) -> None:
    result = entered(kept, TrialModel(CARD), provenance={"input_sha256": "0" * 64})
    with pytest.raises(NotReproducible, match="no longer those"):
        found(kept, result)


def test_a_run_that_gave_no_answer_is_refused(kept: Archive) -> None:
    result = entered(kept, TrialModel(CARD), outcome=Outcome.FAILED, reason="timeout")
    with pytest.raises(NotReproducible, match="no answer"):
        found(kept, result)


def test_a_result_that_nobody_knows_is_refused(kept: Archive) -> None:
    with pytest.raises(NotReproducible, match="no result 00"):
        found(kept, ResultId("00"))

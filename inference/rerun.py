"""A result reproduced from its provenance: the same images, model and threads, and what came out then and now."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from inference import triage
from inference.errors import NotReproducible
from inference.triage import RunRequest
from inference.urgency import most_urgent
from storage.catalog import inputs, results, studies
from storage.errors import Damaged
from storage.records import Outcome

if TYPE_CHECKING:
    from models.contract import ModelCard, TriageModel
    from storage.database import Transaction
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord, ResultId, ResultRecord, StudyUid, TriageResult

CONDITIONS: Final = ("device", "threads", "torch", "monai", "numpy", "pydicom", "cpu", "gpu", "batches")
"""What of a provenance the bits of a score depend on, beside model and images."""


class Agreement(StrEnum):
    """How near what came out now is to what came out then."""

    EQUAL = "bit-equal"
    WITHIN = "within the card's bound"
    DIFFERS = "differs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A result that can be reproduced here, and with what."""

    study_instance_uid: StudyUid
    result: ResultRecord
    card: ModelCard
    instances: tuple[InstanceRecord, ...]

    @property
    def threads(self) -> int:
        """How many threads the model had."""
        return int(str(self.result.result.provenance.get("threads", 1)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What came out then and now; a score is None where there is none."""

    agreement: Agreement
    outcome: tuple[str, str]
    reason: tuple[str | None, str | None]
    scores: Mapping[str, tuple[float | None, float | None]]
    conditions: Mapping[str, tuple[Any, Any]]
    """Those of `CONDITIONS` that are others now, or that were not noted then."""
    largest: float
    """The largest difference of a score."""
    bound: float

    @property
    def same_conditions(self) -> bool:
        """Whether the bits must be the same."""
        return not self.conditions


def find(tx: Transaction, result: ResultId, card_of: Callable[[str], ModelCard | None]) -> Subject:
    """Return what a result can be reproduced from; `card_of` gives an installed model's card by its digest.

    Raises
    ------
    NotReproducible
        There is no such result, it never was an answer, its model version is not installed, or an image that was
        looked at is gone or another one now.
    """
    found = results.find(tx, result)
    if found is None:
        raise NotReproducible(f"no result {result}; GET /api/studies/STUDY/results names those of a study")
    study, record = found
    if record.result.outcome is Outcome.FAILED:
        raise NotReproducible("the run gave no answer, so there is none to reproduce")
    card = card_of(record.model_digest)
    if card is None:
        raise NotReproducible(
            f"{record.model_id} {record.model_version} (digest {record.model_digest[:12]}) is not installed here"
        )
    return Subject(study_instance_uid=study, result=record, card=card, instances=_same_images(tx, study, record))


def run(subject: Subject, model: TriageModel, objects: ObjectStore, *, runtime: Mapping[str, object]) -> Comparison:
    """Run the model again on the same images and compare.

    Raises
    ------
    NotReproducible
        An object is missing, or no longer what was received.
    Unavailable
        The objects cannot be had for now.
    """
    record = subject.result
    request = RunRequest(job=record.job_id, model_id=record.model_id, instances=subject.instances)
    try:
        now = triage.run(request, model, objects, runtime=runtime)
    except Damaged as error:
        raise NotReproducible(f"an image is no longer what was received: {error}") from error
    return compare(record.result, _at_thresholds_of(record.result, now), bound=subject.card.score_bound)


def _at_thresholds_of(then: TriageResult, now: TriageResult) -> TriageResult:
    """Hold the scores of now against the thresholds of then: the site may have had its own."""
    if not now.findings:
        return now
    points = {each.code: each.threshold for each in then.findings}
    findings = tuple(
        replace(each, positive=each.score >= points.get(each.code, each.threshold)) for each in now.findings
    )
    urgency = most_urgent(findings)
    outcome = Outcome.NOT_FLAGGED if urgency is None else Outcome.FLAGGED
    return replace(now, findings=findings, urgency=urgency, outcome=outcome)


def compare(then: TriageResult, now: TriageResult, *, bound: float) -> Comparison:
    """Hold two results of one model on the same images against each other.

    Under the same conditions only equal bits agree; under others, the same outcome with scores within `bound`.
    """
    codes = [finding.code for finding in (*then.findings, *now.findings)]
    before, after = ({each.code: each.score for each in result.findings} for result in (then, now))
    scores = {code: (before.get(code), after.get(code)) for code in dict.fromkeys(codes)}
    largest = max((_apart(*pair) for pair in scores.values()), default=0.0)
    conditions = {
        name: (then.provenance.get(name), now.provenance.get(name))
        for name in CONDITIONS
        if name not in then.provenance or then.provenance[name] != now.provenance.get(name)
    }
    said = (then.outcome, then.reason) == (now.outcome, now.reason)
    if said and largest == 0.0 and _keys(then) == _keys(now):
        agreement = Agreement.EQUAL
    elif said and conditions and largest <= bound:
        agreement = Agreement.WITHIN
    else:
        agreement = Agreement.DIFFERS
    return Comparison(
        agreement=agreement,
        outcome=(then.outcome, now.outcome),
        reason=(then.reason, now.reason),
        scores=scores,
        conditions=conditions,
        largest=largest,
        bound=bound,
    )


def _same_images(tx: Transaction, study: StudyUid, record: ResultRecord) -> tuple[InstanceRecord, ...]:
    """Return what the model was given, checked against the digest that the result was entered with."""
    received = [each for each in studies.instances_of(tx, study) if not each.made_here]
    named = inputs.of(tx, record.id)
    by_uid = {each.sop_instance_uid: each for each in received}
    gone = [uid for uid in named if uid not in by_uid]
    if gone:
        raise NotReproducible(f"{len(gone)} of {len(named)} images that the model looked at are gone, or hidden")
    given = [by_uid[uid] for uid in named] or [each for each in received if each.revision <= record.revision]
    keys = "\n".join(each.object_key for each in given)
    if hashlib.sha256(keys.encode()).hexdigest() != record.result.provenance.get("input_sha256"):
        raise NotReproducible("the images are no longer those that the model was given")
    return tuple(given)


def _apart(then: float | None, now: float | None) -> float:
    return float("inf") if then is None or now is None else abs(then - now)


def _keys(result: TriageResult) -> list[str | None]:
    return [finding.key_instance_uid for finding in result.findings]

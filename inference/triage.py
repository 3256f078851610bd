"""One model on one revision of a study: select, load, gate, predict, judge."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inference.errors import NotSuitable
from inference.gates import check_input, check_scores
from inference.selection import Selected, select
from inference.volume import load_radiograph, load_volume
from storage.ports import ObjectStore
from storage.records import Finding, Outcome, TriageResult

if TYPE_CHECKING:
    from models.contract import FindingSpec, ModelCard, Prediction, Radiograph, TriageModel, Volume
    from storage.records import InstanceRecord, JobId

_LOAD: Mapping[str, Callable[[Selected, ObjectStore], Volume | Radiograph]] = {
    "volume": load_volume,
    "radiograph": load_radiograph,
}
_MOST_URGENT_FIRST = ("critical", "urgent", "routine")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What a run needs: the card's id and the study's instances up to the job's revision."""

    job: JobId
    model_id: str
    instances: tuple[InstanceRecord, ...]


def run(
    request: RunRequest,
    model: TriageModel,
    objects: ObjectStore,
    *,
    runtime: Mapping[str, object],
    clock: Callable[[], float] = time.time,
) -> TriageResult:
    """Run a model on a study; an input it may not judge gives NOT_SUITABLE with its reason, never a negative.

    Errors of the model itself are not caught here: the run then has no answer, and its attempt is counted.
    """
    card = model.card
    times: dict[str, float] = {}
    try:
        selected = select(request.instances, card.input_rules, objects)
        times["selected"] = clock()
        image = _LOAD[card.input_rules.kind](selected, objects)
        times["decoded"] = clock()
        check_input(image)
        times["gated"] = clock()
        prediction = model.predict(image)
        times["predicted"] = clock()
        check_scores(prediction)
    except NotSuitable as error:
        return TriageResult(
            outcome=Outcome.NOT_SUITABLE,
            reason=error.reason,
            detail=error.detail,
            series_reasons=error.series_reasons,
            provenance=_provenance(card, request.instances, runtime),
            times=times,
        )
    result = judge(card, prediction, selected.series_instance_uid, raises=may_raise(card, request.instances))
    return replace(
        result,
        series_instance_uid=selected.series_instance_uid,
        series_reasons=selected.series_reasons,
        provenance=_provenance(card, selected.instances, runtime),
        times=times,
    )


def judge(card: ModelCard, prediction: Prediction, series_instance_uid: str, *, raises: bool) -> TriageResult:
    """Hold each score against its operating point."""
    findings = tuple(_finding(spec, prediction, series_instance_uid) for spec in card.findings)
    urgencies = {finding.urgency for finding in findings if finding.positive}
    return TriageResult(
        outcome=Outcome.FLAGGED if urgencies else Outcome.NOT_FLAGGED,
        findings=findings,
        urgency=next((urgency for urgency in _MOST_URGENT_FIRST if urgency in urgencies), None),
        raises=raises,
    )


def may_raise(card: ModelCard, instances: Sequence[InstanceRecord]) -> bool:
    """Tell whether a result may move the list.

    A phantom model moves only studies drawn by its own generator; an imported model moves none.
    """
    if card.origin == "imported":
        return False
    root = card.raises_only_uid_root
    return root is None or all(instance.sop_instance_uid.startswith(root) for instance in instances)


def _finding(spec: FindingSpec, prediction: Prediction, series_instance_uid: str) -> Finding:
    score = float(prediction.scores[spec.code])
    point = spec.operating_point
    return Finding(
        code=spec.code,
        name_en=spec.name_en,
        name_vi=spec.name_vi,
        score=score,
        threshold=point.threshold,
        operating_point=point.name,
        positive=score >= point.threshold,
        urgency=str(spec.urgency),
        key_instance_uid=prediction.key_instance_uids.get(spec.code),
        key_series_uid=series_instance_uid,
    )


def _provenance(
    card: ModelCard, instances: Sequence[InstanceRecord], runtime: Mapping[str, object]
) -> dict[str, object]:
    keys = "\n".join(instance.object_key for instance in instances)
    return {
        "model": card.id,
        "version": card.version,
        "digest": card.digest,
        "weights_sha256": card.weights_sha256,
        "input_sha256": hashlib.sha256(keys.encode()).hexdigest(),
        "input_instances": len(instances),
        **runtime,
    }

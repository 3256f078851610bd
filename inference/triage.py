"""One model on one revision of a study: select, load, gate, predict, judge."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from inference.errors import NotSuitable
from inference.gates import check_input, check_known, check_scores, check_shortcut, without_corners
from inference.marks import marks_of_pixels
from inference.partial import consecutive, rules_for_part
from inference.selection import Considered, Selected, reasons_of, select
from inference.urgency import most_urgent
from inference.volume import load_radiograph, load_volume
from models.contract import Volume
from storage.ports import ObjectStore
from storage.records import Finding, Outcome, TriageResult

if TYPE_CHECKING:
    from models.contract import FindingSpec, ModelCard, Prediction, Radiograph, TriageModel
    from storage.records import InstanceRecord, JobId

_LOAD: Mapping[str, Callable[[Selected, ObjectStore], Volume | Radiograph]] = {
    "volume": load_volume,
    "radiograph": load_radiograph,
}
ITEMS_AT_ONCE: Final = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What a run needs: the card's id and the study's instances up to the job's revision."""

    job: JobId
    model_id: str
    instances: tuple[InstanceRecord, ...]
    provisional: bool = False
    """Whether the study is still arriving: of its slices, those without a hole between them are looked at."""
    items_at_once: int = ITEMS_AT_ONCE
    """Slices or images that go through the network together; fewer need less memory."""


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
    selected: Selected | None = None
    try:
        selected = _select(request, card, objects)
        times["selected"] = clock()
        image = _LOAD[card.input_rules.kind](selected, objects)
        times["decoded"] = clock()
        check_input(image, card.input_rules)
        selected = replace(selected, marks=(*selected.marks, *marks_of_pixels(image, card.input_rules)))
        times["gated"] = clock()
        prediction = model.predict(image)
        times["predicted"] = clock()
        check_known(card, prediction)
        check_scores(prediction)
        if selected.burned_in and not isinstance(image, Volume):
            check_shortcut(prediction, model.predict(without_corners(image)))
    except NotSuitable as error:
        ranking = error.ranking or _turned_down(selected, error)
        return TriageResult(
            outcome=Outcome.NOT_SUITABLE,
            reason=error.reason,
            detail=error.detail,
            series_reasons=reasons_of(ranking),
            provenance=_provenance(card, request.instances, runtime) | _told(ranking, selected),
            times=times,
        )
    result = judge(card, prediction, selected.series_instance_uid, raises=may_raise(card, request.instances))
    return replace(
        result,
        series_instance_uid=selected.series_instance_uid,
        series_reasons=selected.series_reasons,
        inputs=tuple(instance.sop_instance_uid for instance in selected.instances),
        provenance=_provenance(card, selected.instances, runtime)
        | {"batches": list(prediction.batches)}
        | _told(selected.ranking, selected, prediction),
        times=times,
    )


def _select(request: RunRequest, card: ModelCard, objects: ObjectStore) -> Selected:
    if not request.provisional or card.progressive is None:
        return select(request.instances, card.input_rules, objects)
    part = consecutive(request.instances, card.input_rules)
    return select(part, rules_for_part(card.input_rules, card.progressive), objects)


def _turned_down(selected: Selected | None, error: NotSuitable) -> tuple[Considered, ...]:
    """Give the ranking after a gate turned down the series that was selected."""
    if selected is None:
        return ()
    first, *others = selected.ranking
    return (replace(first, code=error.reason, detail=error.detail), *others)


def _told(
    ranking: tuple[Considered, ...], selected: Selected | None, prediction: Prediction | None = None
) -> dict[str, object]:
    """Give what provenance keeps of the choice: every series with its reason and weights, and the input's marks."""
    told: dict[str, object] = {"selection": [considered.as_json() for considered in ranking]}
    if selected is not None:
        told["marks"] = list(selected.marks)
    if prediction is not None and prediction.distance is not None:
        told["ood_distance"] = round(prediction.distance, 3)
    return told


def judge(card: ModelCard, prediction: Prediction, series_instance_uid: str, *, raises: bool) -> TriageResult:
    """Hold each score against its operating point."""
    findings = tuple(_finding(spec, prediction, series_instance_uid) for spec in card.findings)
    urgency = most_urgent(findings)
    return TriageResult(
        outcome=Outcome.NOT_FLAGGED if urgency is None else Outcome.FLAGGED,
        findings=findings,
        urgency=urgency,
        raises=raises,
    )


def may_raise(card: ModelCard, instances: Sequence[InstanceRecord]) -> bool:
    """Tell whether a result may move the list: a phantom model moves only studies drawn by its own generator."""
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

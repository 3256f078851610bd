"""Time to flag: the stages of each result, their spread over days, and what of the error budget is used."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Response

from api.answers import as_json
from api.context import ApiContext, Context
from api.errors import ParameterRejected
from api.uids import StudyPath
from api.words import Text
from inference.waterfall import (
    BUCKETS_S,
    BUDGET_DAYS,
    FLAG_TARGETS_S,
    STAGES,
    budget,
    spread,
    stamps_of,
    to_flag,
    waterfall,
)
from storage.catalog import readers, results, showings, studies, timings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from inference.waterfall import Budget
    from storage.catalog.timings import Open, Timed

router = APIRouter(prefix="/api", tags=["triage"])

Days = Annotated[float, Query(gt=0, le=BUDGET_DAYS)]
Model = Annotated[str | None, Query(max_length=100)]

STAGE_NAMES: Final[Mapping[str, Text]] = {
    "received_first": Text(vi="ảnh đầu tiên", en="first image"),
    "received_last": Text(vi="ảnh cuối cùng", en="last image"),
    "complete": Text(vi="đã đủ ảnh", en="complete"),
    "claimed": Text(vi="máy bắt đầu", en="claimed by a worker"),
    "selected": Text(vi="đã chọn chuỗi ảnh", en="series selected"),
    "decoded": Text(vi="đã giải mã", en="decoded"),
    "gated": Text(vi="đã kiểm tra ảnh vào", en="input checked"),
    "predicted": Text(vi="mô hình đã trả lời", en="model answered"),
    "committed": Text(vi="đã ghi kết quả", en="result committed"),
    "shown": Text(vi="đã lên danh sách", en="shown on a list"),
    "opened": Text(vi="đã mở", en="opened"),
    "acknowledged": Text(vi="người đọc đã phản hồi", en="acknowledged by a reader"),
}


@router.api_route("/studies/{study}/times", methods=["GET", "HEAD"])
def times_of(context: Context, study: StudyPath) -> Response:
    """Return the way of each result of a study in stages, newest result first; its stages add up to the whole."""
    with context.archive.database.read() as tx:
        studies.get(tx, study)
        found = results.of_studies(tx, [study]).get(study, ())
        ids = [record.id for record in found]
        shown, acknowledged = showings.times_of(tx, ids), readers.acknowledged_at(tx, ids)
        opened = readers.opened_at(tx, study)
    told = [
        {
            "result_id": record.id,
            "model_id": record.model_id,
            "revision": record.revision,
            "outcome": record.result.outcome,
            "provisional": record.provisional,
            **_stages(
                stamps_of(
                    record.result.times,
                    shown=shown.get(record.id),
                    opened=opened,
                    acknowledged=acknowledged.get(record.id),
                )
            ),
            "to_flag_s": _seconds(to_flag(record.result.times)),
        }
        for record in found
    ]
    return as_json({"study_instance_uid": study, "results": told})


@router.api_route("/triage/times", methods=["GET", "HEAD"])
def times(context: Context, days: Days = 1, model: Model = None) -> Response:
    """Return how long each stage of each model took over the last days, and its error budget over 28 days."""
    names = [card.id for card in context.cards]
    if model is not None and model not in names:
        raise ParameterRejected("model: no model of this id is installed")
    now = context.clock()
    since = now - timedelta(days=days)
    with context.archive.database.read() as tx:
        found = timings.ended_since(tx, since, limit=timings.MOST + 1)
    runs = found[: timings.MOST]
    budgets = budgets_of(context)
    return as_json(
        {
            "since": since,
            "runs": len(runs),
            "complete": len(found) == len(runs),
            "buckets_s": BUCKETS_S,
            "models": [
                {
                    "model_id": name,
                    **spreads_of([run for run in runs if run.model_id == name]),
                    "budget": _budget(budgets[name]),
                }
                for name in names
                if model in {None, name}
            ],
        }
    )


def budgets_of(context: ApiContext) -> dict[str, Budget]:
    """Return the error budget of each installed model."""
    now = context.clock()
    with context.archive.database.read() as tx:
        ended = timings.ended_since(tx, now - timedelta(days=BUDGET_DAYS))
        still_open = timings.open_jobs(tx)
    by_model: defaultdict[str, tuple[list[Timed], list[Open]]] = defaultdict(lambda: ([], []))
    for run in ended:
        by_model[run.model_id][0].append(run)
    for job in still_open:
        by_model[job.model_id][1].append(job)
    return {
        card.id: budget(
            *by_model[card.id],
            target_s=context.flag_targets.get(card.id, FLAG_TARGETS_S[card.input_rules.kind]),
            now=now,
        )
        for card in context.cards
    }


def spreads_of(runs: Sequence[Timed]) -> dict[str, Any]:
    """Return the spread of each stage, and of the time from the last image to the list."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    for run in runs:
        for stage in waterfall(stamps_of(run.times, shown=run.shown_at))[1:]:
            took[stage.name].append(stage.took.total_seconds())
    flags = [span.total_seconds() for run in runs if (span := to_flag(run.times)) is not None]
    return {
        "stages": [
            {"stage": name, "text": _named(name), **asdict(told)}
            for name in STAGES
            if (told := spread(took[name])) is not None
        ],
        "to_flag": _or_none(flags),
    }


def _or_none(seconds: Iterable[float]) -> dict[str, Any] | None:
    told = spread(seconds)
    return None if told is None else asdict(told)


def _stages(stamps: Mapping[str, datetime]) -> dict[str, Any]:
    stages = waterfall(stamps)
    return {
        "stages": [
            {"stage": stage.name, "text": _named(stage.name), "at": stage.at, "took_s": stage.took.total_seconds()}
            for stage in stages
        ],
        "total_s": (stages[-1].at - stages[0].at).total_seconds() if stages else None,
    }


def _named(stage: str) -> dict[str, str]:
    return STAGE_NAMES.get(stage, Text.alike(stage)).both()


def _budget(found: Budget) -> dict[str, Any]:
    return {**asdict(found), "days": BUDGET_DAYS, "kept": found.kept, "used": found.used}


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()

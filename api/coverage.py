"""How many studies each model looked at, and why it did not look at the others: a partition, counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response

from api import words
from api.answers import as_json
from api.context import ApiContext, Context
from storage.catalog import coverage
from storage.records import Coverage, Outcome

if TYPE_CHECKING:
    from datetime import datetime

    from storage.catalog.coverage import Tally

router = APIRouter(prefix="/api/triage", tags=["triage"])

Days = Annotated[float, Query(gt=0, le=366)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """The studies of a time, and of each installed model how many of them stand where."""

    since: datetime
    studies: int
    complete: bool
    """Whether these are all studies of that time."""
    models: dict[str, Tally]


@router.api_route("/coverage", methods=["GET", "HEAD"])
def coverage_of(context: Context, days: Days = 28) -> Response:
    """Return for each installed model how many studies of the last days are in each state; the states add up."""
    counted = count(context, days=days)
    return as_json(
        {
            "since": counted.since,
            "studies": counted.studies,
            "complete": counted.complete,
            "models": [_told(context, name, tally) for name, tally in counted.models.items()],
        }
    )


def count(context: ApiContext, *, days: float, most: int = coverage.MOST) -> Counted:
    """Count the pairs of the studies of the last days, the newest of them, with every installed model."""
    since = context.clock() - timedelta(days=days)
    names = [card.id for card in context.cards]
    with context.archive.database.read() as tx:
        found = coverage.window(tx, since=since, limit=most + 1)
        looked_at = found[:most]
        counted = coverage.tally(coverage.pairs(tx, looked_at, names))
    return Counted(
        since=since,
        studies=len(looked_at),
        complete=len(found) == len(looked_at),
        models={name: counted.get(name, coverage.Tally()) for name in names},
    )


def _told(context: ApiContext, name: str, tally: Tally) -> dict[str, Any]:
    card = context.card(name)
    eligible = sum(tally.states.values()) - tally.states[Coverage.NO_MODEL_APPLIES] - tally.states[Coverage.OPTED_OUT]
    analysed = tally.states[Coverage.ANALYSED]
    return {
        "model_id": name,
        "title": card.title if card else name,
        "states": {str(state): tally.states[state] for state in Coverage},
        "outcomes": {str(outcome): tally.outcomes[outcome] for outcome in Outcome},
        "marks": {mark: tally.marks[mark] for mark in coverage.MARKS},
        "reasons": [
            {"code": code, "text": _reason(code), "studies": number} for code, number in tally.reasons.most_common()
        ],
        "analysed_share": analysed / eligible if eligible else None,
        "flagged_share": tally.outcomes[Outcome.FLAGGED] / analysed if analysed else None,
    }


def _reason(code: str) -> dict[str, str]:
    return words.REASONS.get(code, words.Text.alike(code)).both()

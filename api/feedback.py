"""What readers say of a finding, in one call."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import StringConstraints

from api.actor import Actor
from api.answers import as_json
from api.context import ApiContext, Context
from api.document import refused
from inference import feedback
from storage.catalog import feedback as rows
from storage.catalog import results
from storage.records import ReaderVerdict, ResultId

router = APIRouter(prefix="/api/results", tags=["feedback"])

ResultPath = Annotated[ResultId, Path(pattern=r"^[0-9a-f]{32}$")]


class Word(Actor):
    """What a reader says of a finding; None takes the earlier word back."""

    finding: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")]
    verdict: ReaderVerdict | None


@router.put("/{result}/feedback", responses=refused(409))
def say(context: Context, result: ResultPath, word: Word) -> Response:
    """Keep a reader's word on a finding; return what counts now, and everything that was said."""
    with context.archive.database.write() as tx:
        feedback.say(tx, result, word.finding, word.verdict, by=word.by, now=context.clock())
    return _said(context, result)


@router.api_route("/{result}/feedback", methods=["GET", "HEAD"])
def said(context: Context, result: ResultPath) -> Response:
    """Return the latest word of each reader on each finding, and everything that was said."""
    return _said(context, result)


def _said(context: ApiContext, result: ResultId) -> Response:
    with context.archive.database.read() as tx:
        results.get(tx, result)
        current, history = rows.current(tx, [result]).get(result, ()), rows.history(tx, result)
    return as_json({"result_id": result, "feedback": current, "history": history})

"""A reader's word on a finding: agreed, not agreed, not relevant, or missed by the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from inference.errors import VerdictRefused
from storage.catalog import audit, changes, feedback, results
from storage.records import ReaderVerdict

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import ResultId

SAID_OF: Final[Mapping[bool, frozenset[ReaderVerdict]]] = {
    True: frozenset({ReaderVerdict.AGREE, ReaderVerdict.DISAGREE, ReaderVerdict.NOT_RELEVANT}),
    False: frozenset({ReaderVerdict.AGREE, ReaderVerdict.MISSED, ReaderVerdict.NOT_RELEVANT}),
}
"""Whether the model says that it is there -> what a reader may say to that."""


def say(
    tx: Transaction, result: ResultId, finding: str, verdict: ReaderVerdict | None, *, by: str, now: datetime
) -> None:
    """Keep a reader's word on a finding of a result; None takes the earlier one back.  It moves nothing on the list.

    Raises
    ------
    CatalogueUnknown
        There is no such result.
    VerdictRefused
        The result has no such finding, or this cannot be said of it.
    """
    uid, record = results.get(tx, result)
    judged = {each.code: each.positive for each in record.result.findings}
    if finding not in judged:
        raise VerdictRefused(f"this result says nothing of {finding}: expected {', '.join(judged) or 'no finding'}")
    if verdict is not None and verdict not in SAID_OF[judged[finding]]:
        expected = ", ".join(sorted(SAID_OF[judged[finding]]))
        raise VerdictRefused(f"{verdict} cannot be said of this finding: expected {expected}")
    if _is_said(tx, result, finding, verdict, by):
        return
    feedback.add(tx, result, finding, verdict, actor=by, now=now)
    detail = {"result": result, "finding": finding, "verdict": verdict}
    audit.append(tx, actor=by, action="feedback-given", subject=uid, at=now, detail=detail)
    changes.append(tx, "feedback-given", at=now, study=uid, revision=record.revision, detail={**detail, "by": by})


def _is_said(tx: Transaction, result: ResultId, finding: str, verdict: ReaderVerdict | None, by: str) -> bool:
    said = feedback.current(tx, [result]).get(result, ())
    last = next((each.verdict for each in said if (each.finding, each.by) == (finding, by)), None)
    return last == verdict

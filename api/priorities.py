"""A study's priority, set by a person or read off the clinical order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter, Response

from api.actor import Actor
from api.answers import as_json
from api.context import Context
from api.entries import as_entry
from api.uids import StudyPath
from inference import priority
from storage.catalog import audit, studies, worklist
from storage.records import OrderPriority

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import StudyRecord, StudyUid

router = APIRouter(prefix="/api/studies", tags=["priority"])


class PriorityChange(Actor):
    """Whose priority is set, to what, and by whom; None takes it back."""

    kind: Literal["manual", "order"]
    priority: OrderPriority | None


@router.put("/{study}/priority")
def set_priority(context: Context, study: StudyPath, change: PriorityChange) -> Response:
    """Set a priority, move the study to where it now belongs, and note who did it; return its entry."""
    now = context.clock()
    with context.archive.database.write() as tx:
        before = studies.get(tx, study)
        _set(tx, study, change)
        _note(tx, before, change, now)
        moved = priority.refresh(tx, study, now=now, cause=change.kind, by=change.by)
        if not moved:  # a STAT may pass others without being due sooner, and readers want to hear of the rest
            priority.note_move(tx, before, now=now, cause=change.kind, by=change.by)
        entry = worklist.entry(tx, study)
    return as_json(as_entry(entry, context))


def _set(tx: Transaction, study: StudyUid, change: PriorityChange) -> None:
    if change.kind == "manual":
        studies.set_manual_priority(tx, study, change.priority, by=change.by)
    else:
        studies.set_order_priority(tx, study, change.priority)


def _note(tx: Transaction, before: StudyRecord, change: PriorityChange, now: datetime) -> None:
    was = before.manual_priority if change.kind == "manual" else before.order_priority
    detail = {"kind": change.kind, "from": was, "to": change.priority}
    audit.append(tx, actor=change.by, action="set-priority", subject=before.study_instance_uid, at=now, detail=detail)

"""A study's priority, set by a person or read off the clinical order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, StringConstraints

from api.answers import as_json
from api.context import Context
from api.entries import as_entry
from api.uids import StudyPath
from inference import priority
from storage.catalog import audit, changes, studies, worklist
from storage.records import OrderPriority

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction
    from storage.records import StudyRecord, StudyUid

router = APIRouter(prefix="/api/studies", tags=["priority"])


class PriorityChange(BaseModel):
    """Whose priority is set, to what, and by whom; None takes it back."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["manual", "order"]
    priority: OrderPriority | None
    by: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")
    ]


@router.put("/{study}/priority")
def set_priority(context: Context, study: StudyPath, change: PriorityChange) -> Response:
    """Set a priority, move the study to where it now belongs, and note who did it; return its entry."""
    now = context.clock()
    with context.archive.database.write() as tx:
        before = studies.get(tx, study)
        _set(tx, study, change)
        priority.refresh(tx, study, now=now, cause=change.kind)
        _note(tx, before, change, now)
        entry = worklist.entry(tx, study)
    return as_json(as_entry(entry, context))


def _set(tx: Transaction, study: StudyUid, change: PriorityChange) -> None:
    if change.kind == "manual":
        studies.set_manual_priority(tx, study, change.priority, by=change.by)
    else:
        studies.set_order_priority(tx, study, change.priority)


def _note(tx: Transaction, before: StudyRecord, change: PriorityChange, now: datetime) -> None:
    """Write the audit line; where the due time stayed, which appends nothing, tell the readers all the same."""
    uid = before.study_instance_uid
    was = before.manual_priority if change.kind == "manual" else before.order_priority
    detail = {"kind": change.kind, "from": was, "to": change.priority}
    audit.append(tx, actor=change.by, action="set-priority", subject=uid, at=now, detail=detail)
    if before.due_at is None or studies.get(tx, uid).due_at == before.due_at:
        cause = {"cause": change.kind, "moved_s": 0.0, "ai": before.ai_urgency}
        changes.append(tx, "priority-changed", at=now, study=uid, revision=before.revision, detail=cause)

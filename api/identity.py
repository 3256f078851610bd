"""Studies whose instances name more than one patient: which they are, and a person's word that one is reconciled.

The patients' IDs are not told here: without sign-in, `roi conflicts show` on the archive's own machine tells them.
"""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answers import as_json
from api.context import Context
from api.document import refused
from api.entries import as_entry
from api.quarantine import Decided
from api.uids import StudyPath
from storage.catalog import identity, worklist

router = APIRouter(prefix="/api/identity-conflicts", tags=["identity"])


@router.api_route("", methods=["GET", "HEAD"])
def list_studies(context: Context) -> Response:
    """Return up to a thousand studies that wait to be reconciled."""
    with context.archive.database.read() as tx:
        return as_json({"studies": identity.flagged(tx)})


@router.post("/{study}/clear", responses=refused(409))
def clear(context: Context, study: StudyPath, told: Decided) -> Response:
    """Note that a study is reconciled, and who says so; return its entry."""
    with context.archive.database.write() as tx:
        identity.clear(tx, study, actor=told.by, reason=told.reason, now=context.clock())
        entry = worklist.entry(tx, study)
    return as_json(as_entry(entry, context))

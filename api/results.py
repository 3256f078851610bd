"""What models found in a study."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answers import as_json
from api.context import Context
from api.entries import as_results
from api.uids import StudyPath
from storage.catalog import worklist

router = APIRouter(prefix="/api", tags=["results"])


@router.api_route("/studies/{study}/results", methods=["GET", "HEAD"])
def results_of(context: Context, study: StudyPath) -> Response:
    """Return every result of a study, newest first, superseded ones included and marked."""
    with context.archive.database.read() as tx:
        entry = worklist.entry(tx, study)
    told = as_results(entry, context)
    return as_json({"study_instance_uid": study, "revision": entry.study.revision, "results": told})

"""What models found in a study."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answers import as_json
from api.context import Context
from api.entries import as_results
from api.uids import StudyPath
from storage.catalog import results, studies

router = APIRouter(prefix="/api", tags=["results"])


@router.api_route("/studies/{study}/results", methods=["GET", "HEAD"])
def results_of(context: Context, study: StudyPath) -> Response:
    """Return every result of a study, newest first, superseded ones included and marked."""
    with context.archive.database.read() as tx:
        kept = studies.get(tx, study)
        found = results.of_studies(tx, [study]).get(study, ())
    return as_json({"study_instance_uid": study, "revision": kept.revision, "results": as_results(found, context)})

"""A result made again at a person's wish: asked for here, done by a worker, looked up until it has ended."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, StringConstraints

from api.answers import as_json
from api.context import Context
from storage.catalog import audit, reruns, results
from storage.errors import CatalogueUnknown
from storage.records import ResultId

if TYPE_CHECKING:
    from storage.catalog.reruns import Rerun

router = APIRouter(prefix="/api", tags=["results"])

_Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


class RerunWish(BaseModel):
    """Who wants it."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")
    ]


@router.post("/results/{result}/rerun", status_code=202)
def ask(context: Context, result: _Id, wish: RerunWish) -> Response:
    """Have a result made again from its provenance; one that waits for that already is not asked for twice."""
    now = context.clock()
    with context.archive.database.write() as tx:
        if results.find(tx, ResultId(result)) is None:
            raise CatalogueUnknown(f"no result {result}")
        rerun = reruns.ask(tx, ResultId(result), by=wish.by, now=now)
        audit.append(tx, actor=wish.by, action="asked-rerun", subject=result, at=now, detail={"rerun": rerun.id})
    where = {"Location": f"{context.public_base_url}/api/reruns/{rerun.id}"}
    return as_json(_told(rerun), status=202, headers=where)


@router.api_route("/reruns/{rerun}", methods=["GET", "HEAD"])
def look_up(context: Context, rerun: _Id) -> Response:
    """Return a rerun: `answer` is None until it has ended, then the comparison, or why there is none."""
    with context.archive.database.read() as tx:
        found = reruns.get(tx, rerun)
    if found is None:
        raise CatalogueUnknown(f"no rerun {rerun}")
    return as_json(_told(found))


def _told(rerun: Rerun) -> dict[str, Any]:
    state = "WAITING" if rerun.began_at is None else "RUNNING" if rerun.ended_at is None else "ENDED"
    return {**asdict(rerun), "state": state}

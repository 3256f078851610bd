"""Whether the process lives, and whether each of its adapters answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Response

from api.answers import as_json
from api.context import ApiContext, Context
from api.problems import RETRY_AFTER_S
from inference.errors import InferenceError
from storage.catalog import landings
from storage.errors import StorageError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/health", tags=["health"])
_NOT_READY: Final[dict[str, Any]] = {"description": "An adapter does not answer", "content": {"application/json": {}}}


@router.api_route("/live", methods=["GET", "HEAD"])
def live() -> Response:
    """Tell that the process answers; nothing else is asked."""
    return as_json({"status": "alive"})


@router.api_route("/ready", methods=["GET", "HEAD"], responses={503: _NOT_READY})
def ready(context: Context) -> Response:
    """Ask every adapter; 503 names those that do not answer, read-only says that nothing more is taken in.

    An archive without room still answers 200: a balancer must not keep readers away from what is kept.
    """
    checks = {name: _check(name, ping) for name, ping in context.pings.items()}
    told = {"checks": checks, **_landing(context)}
    if {name for name, word in checks.items() if word != "ok"} == {"room"}:
        return as_json({"status": "read-only", **told})
    if all(word == "ok" for word in checks.values()):
        return as_json({"status": "ready", **told})
    return as_json({"status": "not ready", **told}, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})


def _landing(context: ApiContext) -> dict[str, object]:
    """Return what waits in landing zones for the object store, by host; nothing where nothing waits."""
    try:
        with context.archive.database.read() as tx:
            backlogs = landings.backlogs(tx)
    except Unavailable:  # said by the check of the catalogue
        return {}
    rows = [
        {
            "host": each.place.host,
            "objects": each.objects,
            "bytes": each.size_bytes,
            "oldest_s": round(max(0.0, (context.clock() - each.oldest).total_seconds())),
            "attempts": each.attempts,
        }
        for each in backlogs
    ]
    return {"landing": rows} if rows else {}


def _check(name: str, ping: Callable[[], None]) -> str:
    try:
        ping()
    except (StorageError, InferenceError) as error:
        fields = {"action": "adapter-unready", "reason": f"{name}: {error}"}
        logger.warning("adapter does not answer", extra=fields)
        return str(type(error).__doc__).splitlines()[0]
    return "ok"

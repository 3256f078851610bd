"""Whether the process lives, and whether each of its adapters answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from api.answers import as_json
from api.context import Context
from api.problems import RETRY_AFTER_S
from inference.errors import InferenceError
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/health", tags=["health"])


@router.api_route("/live", methods=["GET", "HEAD"])
def live() -> Response:
    """Tell that the process answers; nothing else is asked."""
    return as_json({"status": "alive"})


@router.api_route("/ready", methods=["GET", "HEAD"])
def ready(context: Context) -> Response:
    """Ask every adapter; 503 names those that do not answer, read-only says that nothing more is taken in.

    An archive without room still answers 200: a balancer must not keep readers away from what is kept.
    """
    checks = {name: _check(name, ping) for name, ping in context.pings.items()}
    if {name for name, word in checks.items() if word != "ok"} == {"room"}:
        return as_json({"status": "read-only", "checks": checks})
    if all(word == "ok" for word in checks.values()):
        return as_json({"status": "ready", "checks": checks})
    return as_json({"status": "not ready", "checks": checks}, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})


def _check(name: str, ping: Callable[[], None]) -> str:
    try:
        ping()
    except (StorageError, InferenceError) as error:
        fields = {"action": "adapter-unready", "reason": f"{name}: {error}"}
        logger.warning("adapter does not answer", extra=fields)
        return str(type(error).__doc__).splitlines()[0]
    return "ok"

"""The page where targets are set, with what they promise beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from api.context import ApiContext, Context
from api.page import local, rendered, server_of
from api.page_texts.targets import PAGE
from api.targets import targets_of

if TYPE_CHECKING:
    from api.words import Language

router = APIRouter(tags=["page"])


@router.api_route("/vi/targets", methods=["GET", "HEAD"], response_class=HTMLResponse)
def targets_page_vi(context: Context) -> Response:
    """Show the targets in Vietnamese."""
    return _render(context, "vi")


@router.api_route("/en/targets", methods=["GET", "HEAD"], response_class=HTMLResponse)
def targets_page_en(context: Context) -> Response:
    """Show the targets in English."""
    return _render(context, "en")


def _render(context: ApiContext, language: Language) -> Response:
    told = targets_of(context)
    bounds = {(each["ahead"], each["behind"]): each["minutes"] for each in told["guarantees"]}
    rows = [_row(each, language) for each in told["targets"]]
    server = server_of(context)
    return rendered("targets.html", language, PAGE, rows=rows, bounds=bounds, server=server)


def _row(target: dict[str, Any], language: Language) -> dict[str, Any]:
    return {
        "name": target["class"],
        "text": target["text"][language],
        "minutes": target["minutes"],
        "default": target["default_minutes"],
        "set_by": target["set_by"] or "",
        "set_at": local(target["set_at"]) if target["set_at"] else "",
    }

"""What the routes tell of themselves: media types and statuses, for the OpenAPI document and Retrieve Capabilities."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

Responses = dict[int | str, dict[str, Any]]

_PROBLEM: Final = {"application/problem+json": {"schema": {"type": "object"}}}
_ALWAYS: Final = (400, 405, 413, 414, 421, 500, 503)
_NAMES: Final[Mapping[int, str]] = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable"}


def answers(*media_types: str, problems: tuple[int, ...] = (), also: Mapping[int, str] | None = None) -> Responses:
    """Return the responses of a route: 200 in `media_types`, statuses without a body, and problems.

    A multipart's ``type`` stays in its name: ``multipart/related; type="application/dicom"``.
    """
    given: Responses = {200: {"description": "OK", "content": {name: {} for name in media_types}}}
    given |= {status: {"description": meaning} for status, meaning in (also or {}).items()}
    refused: Responses = {
        status: {"description": _name(status), "content": _PROBLEM} for status in (*_ALWAYS, *problems)
    }
    return {**given, **refused}


def _name(status: int) -> str:
    return _NAMES.get(status) or HTTPStatus(status).phrase

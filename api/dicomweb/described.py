"""What the routes tell of themselves: media types and statuses, for the OpenAPI document and Retrieve Capabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.document import refused

Responses = dict[int | str, dict[str, Any]]


def answers(*media_types: str, problems: tuple[int, ...] = (), also: Mapping[int, str] | None = None) -> Responses:
    """Return the responses of a route: 200 in `media_types`, statuses without a body, and problems of its own.

    A multipart's ``type`` stays in its name: ``multipart/related; type="application/dicom"``.
    """
    given: Responses = {200: {"description": "OK", "content": {name: {} for name in media_types}}}
    given |= {status: {"description": meaning} for status, meaning in (also or {}).items()}
    return {**given, **refused(*problems)}

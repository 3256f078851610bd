"""JSON answers, and the tag by which a client asks whether one has changed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson
from fastapi import Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping


def as_json(
    content: object,
    *,
    status: int = 200,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return `content` as JSON; dataclasses, enums and times (ISO 8601, UTC) are known."""
    return Response(
        orjson.dumps(content),
        status_code=status,
        media_type=media_type,
        headers=None if headers is None else dict(headers),
    )


def tag_of(*parts: object) -> str:
    """Return a weak ETag of what `parts` say."""
    return f'W/"{hashlib.blake2b(orjson.dumps(parts), digest_size=12).hexdigest()}"'


def unchanged(request: Request, tag: str) -> Response | None:
    """Return 304 where the client already holds what `tag` names (RFC 9110 13.1.2)."""
    held = {part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")}
    if tag.removeprefix("W/") not in held and "*" not in held:
        return None
    return Response(status_code=304, headers={"ETag": tag})

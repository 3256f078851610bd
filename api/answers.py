"""JSON answers, and the tag by which a client asks whether one has changed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import orjson
from fastapi import Request, Response

from api.crossorigin import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.context import ApiContext

_READING: Final = frozenset({"GET", "HEAD"})


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
    return Response(status_code=304, headers={"ETag": tag, **location(request)})


def location(request: Request) -> dict[str, str]:
    """Return the Content-Location of what a resource of DICOMweb is given as (PS3.18 8.4.3); of other pages none."""
    scope = request.scope
    if scope["method"] not in _READING or not str(scope.get("path", "")).startswith(f"{ROOT}/"):
        return {}
    context: ApiContext = request.app.state.context
    path, query = bytes(scope["raw_path"]).partition(b"?")[0], bytes(scope["query_string"])
    return {"Content-Location": context.public_base_url + (path + b"?" * bool(query) + query).decode("latin-1")}

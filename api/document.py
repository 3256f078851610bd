"""The OpenAPI document: what FastAPI reads off the routes, and what holds for every one of them."""

from __future__ import annotations

import warnings
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi

if TYPE_CHECKING:
    from fastapi import FastAPI

_SCHEMA: Final = {
    "type": "object",
    "description": "What was wrong (RFC 9457); never with data of a patient.",
    "required": ["title", "status", "detail", "request_id"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
_PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_ALWAYS: Final = (400, 405, 408, 413, 414, 421, 431, 500, 503)
_CHANGING: Final = (403,)
"""A page of another site may not change anything."""

_NAMED: Final = (404,)
"""What a path names may not be there."""

_NAMES: Final = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable"}
_VALIDATION: Final = ("HTTPValidationError", "ValidationError")
"""FastAPI's own 422, which is never answered: malformed parameters and bodies are 400."""

_READING: Final = frozenset({"get", "head"})


def refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route answers beside those of every route."""
    return {status: {"description": _name(status), "content": _PROBLEM} for status in statuses}


class Document:
    """Makes an application's document when it is first asked for."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._made: dict[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        """Return the document."""
        if self._made is None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Duplicate Operation ID")  # set right below
                made = get_openapi(title=self._app.title, version=self._app.version, routes=self._app.routes)
            made["paths"] = {
                path: {name: _operation(path, name, told) for name, told in methods.items()}
                for path, methods in made["paths"].items()
            }
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            for name in _VALIDATION:
                schemas.pop(name, None)
            schemas["Problem"] = _SCHEMA
            self._made = made
        return self._made


def _operation(path: str, method: str, told: dict[str, Any]) -> dict[str, Any]:
    """Return an operation with an id of its own, and with the problems that any request may meet."""
    statuses = _ALWAYS + (_NAMED if "{" in path else ()) + (() if method in _READING else _CHANGING)
    problems = {str(status): answer for status, answer in refused(*statuses).items()}
    own = {status: answer for status, answer in told["responses"].items() if status != "422"}
    answers = {**problems, **own}
    if method == "head":
        answers = {status: {**answer, "content": {}} for status, answer in answers.items()}
    suffix = "_head" if method == "head" else ""
    return {**told, "operationId": f"{told['operationId']}{suffix}", "responses": dict(sorted(answers.items()))}


def _name(status: int) -> str:
    return _NAMES.get(status) or HTTPStatus(status).phrase

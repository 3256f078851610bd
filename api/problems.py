"""Error classes as problem+json (RFC 9457), as data: what a client hears, without patient data or a trace."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from api import errors as ours
from imaging.errors import DecodeRefused, DecoderLost, DecodersBusy, DecoderUnready
from inference.errors import (
    CalculatorBusy,
    CalculatorLost,
    DispatcherUnavailable,
    EnablingRefused,
    InquiryRejected,
    NothingToExpect,
    RemovalRefused,
    TargetsRefused,
    VerdictRefused,
)
from pacs_gateway.errors import HeaderRejected
from storage import errors as storage
from storage.search import MatchRejected
from storage.workitems.errors import SubscriptionRefused, WorkitemGone, WorkitemInvalid, WorkitemTooLong

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A status and whether the error's own sentence may be told."""

    status: HTTPStatus
    tell: bool = True


PROBLEMS: Final[Mapping[type[Exception], Problem]] = {
    ours.ParameterRejected: Problem(status=HTTPStatus.BAD_REQUEST),
    ours.BodyRejected: Problem(status=HTTPStatus.BAD_REQUEST),
    ours.SearchTooBroad: Problem(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    ours.BodyTooLarge: Problem(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    ours.BodyLate: Problem(status=HTTPStatus.REQUEST_TIMEOUT),
    ours.TargetTooLong: Problem(status=HTTPStatus.REQUEST_URI_TOO_LONG),
    ours.HeadTooLong: Problem(status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    ours.MediaTypeUnsupported: Problem(status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    ours.NotAcceptable: Problem(status=HTTPStatus.NOT_ACCEPTABLE),
    ours.ChannelsBusy: Problem(status=HTTPStatus.SERVICE_UNAVAILABLE),
    ours.HostUnclear: Problem(status=HTTPStatus.BAD_REQUEST),
    ours.HostRefused: Problem(status=HTTPStatus.MISDIRECTED_REQUEST),
    ours.OriginRefused: Problem(status=HTTPStatus.FORBIDDEN),
    ours.SendersBusy: Problem(status=HTTPStatus.SERVICE_UNAVAILABLE),
    ours.DataSetUnreadable: Problem(status=HTTPStatus.NOT_ACCEPTABLE),
    DecodeRefused: Problem(status=HTTPStatus.NOT_ACCEPTABLE),
    DecoderLost: Problem(status=HTTPStatus.NOT_ACCEPTABLE),
    DecodersBusy: Problem(status=HTTPStatus.SERVICE_UNAVAILABLE),
    DecoderUnready: Problem(status=HTTPStatus.SERVICE_UNAVAILABLE),
    MatchRejected: Problem(status=HTTPStatus.BAD_REQUEST),
    HeaderRejected: Problem(status=HTTPStatus.BAD_REQUEST),
    storage.CatalogueGone: Problem(status=HTTPStatus.GONE),
    WorkitemInvalid: Problem(status=HTTPStatus.BAD_REQUEST),
    WorkitemTooLong: Problem(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    WorkitemGone: Problem(status=HTTPStatus.GONE),
    SubscriptionRefused: Problem(status=HTTPStatus.FORBIDDEN),
    TargetsRefused: Problem(status=HTTPStatus.CONFLICT),
    VerdictRefused: Problem(status=HTTPStatus.CONFLICT),
    storage.CatalogueUnknown: Problem(status=HTTPStatus.NOT_FOUND),
    storage.Rejected: Problem(status=HTTPStatus.CONFLICT),
    EnablingRefused: Problem(status=HTTPStatus.CONFLICT),
    RemovalRefused: Problem(status=HTTPStatus.CONFLICT),
    storage.Unavailable: Problem(status=HTTPStatus.SERVICE_UNAVAILABLE, tell=False),
    DispatcherUnavailable: Problem(status=HTTPStatus.SERVICE_UNAVAILABLE, tell=False),
    InquiryRejected: Problem(status=HTTPStatus.BAD_REQUEST),
    NothingToExpect: Problem(status=HTTPStatus.CONFLICT),
    CalculatorBusy: Problem(status=HTTPStatus.SERVICE_UNAVAILABLE),
    CalculatorLost: Problem(status=HTTPStatus.SERVICE_UNAVAILABLE),
    storage.Damaged: Problem(status=HTTPStatus.INTERNAL_SERVER_ERROR, tell=False),
    storage.StorageError: Problem(status=HTTPStatus.INTERNAL_SERVER_ERROR, tell=False),
    ours.ApiError: Problem(status=HTTPStatus.INTERNAL_SERVER_ERROR, tell=False),
}
"""The nearest class along an error's ancestry wins.  Where the sentence is not told, the class's own is."""

_TITLES: Final = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Content Too Large",
    HTTPStatus.REQUEST_URI_TOO_LONG: "URI Too Long",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "Range Not Satisfiable",
}


def problem_of(error: Exception) -> Problem | None:
    """Return what is told of an error, None of one that nobody foresaw."""
    return next((PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS), None)


def respond(
    status: int, detail: str, request_id: str, headers: Mapping[str, str] | None = None, **members: object
) -> Response:
    """Return a problem+json answer; a 503 says when to come again."""
    known = HTTPStatus(status)
    body = {
        "title": _TITLES.get(known, known.phrase),
        "status": status,
        "detail": detail,
        "request_id": request_id,
        **members,
    }
    retry = {"Retry-After": str(RETRY_AFTER_S)} if known is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Response(
        orjson.dumps(body),
        status_code=status,
        media_type="application/problem+json",
        headers={**(headers or {}), **retry},
    )


def request_id_of(request: Request) -> str:
    """Return the id under which this request is logged."""
    return str(request.scope.get("roi_request_id", ""))


def of_error(error: Exception, problem: Problem, request_id: str) -> Response:
    """Return the answer to an error of ours; one that is not the client's fault is logged."""
    detail = str(error) if problem.tell else str(type(error).__doc__).splitlines()[0]
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        fields = {"action": "request-failed", "request": request_id, "error": type(error).__name__}
        logger.error("request failed", extra={**fields, "reason": str(error)})
    return respond(problem.status, detail, request_id)


def register(app: FastAPI) -> None:
    """Make every error that the routes raise a problem+json answer."""
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    for kind in PROBLEMS:
        app.add_exception_handler(kind, _of_ours)


async def _of_ours(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem is None:
        raise error
    return of_error(error, problem, request_id_of(request))


async def _of_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    cause = error.__cause__
    if isinstance(cause, ours.RequestRejected):  # FastAPI wraps what reading a body raises
        return await _of_ours(request, cause)
    detail = _SENTENCES.get(error.status_code, "The request cannot be served.")
    if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        return respond(error.status_code, detail, request_id_of(request), headers=error.headers)
    allowed = {"Allow": ", ".join(methods_of(request))}
    if request.method == "OPTIONS":
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=allowed)
    return respond(error.status_code, detail, request_id_of(request), headers=allowed)


_METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def methods_of(request: Request) -> list[str]:
    """Return every method that the resource of a request knows: several routes may share its path."""
    asked = [{**request.scope, "method": method} for method in _METHODS]
    routes = request.app.routes
    known = [scope["method"] for scope in asked if any(route.matches(scope)[0] is Match.FULL for route in routes)]
    return [*known, "OPTIONS"]


_SENTENCES: Final = {
    400: "The body is not what this resource takes.",
    404: "There is no such resource.",
    405: "This resource does not know the method; Allow lists those it knows.",
}


async def _of_validation(request: Request, error: Exception) -> Response:
    """Name the fields that are wrong; what was sent in them is never repeated."""
    if not isinstance(error, RequestValidationError):
        raise error
    fields = sorted({".".join(str(part) for part in wrong["loc"]) for wrong in error.errors()})
    detail = f"Malformed or missing: {', '.join(fields)}."
    return respond(HTTPStatus.BAD_REQUEST, detail, request_id_of(request))

"""UPS-RS: workitems are made, found, claimed, ended and watched (PS3.18 Chapter 11, PS3.4 Annex CC).

Triage jobs are among them, for everybody to see: only this server changes those.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from anyio import from_thread
from fastapi import APIRouter, FastAPI, Query, Request, Response

from api import problems
from api.context import ApiContext, Context
from api.crossorigin import ROOT
from api.dicomweb import media, qido
from api.dicomweb.channels import Channels
from api.dicomweb.described import Responses, answers
from api.dicomweb.forms import FORMS, give_at_once
from api.dicomweb.native import as_xml
from api.dicomweb.titles import TitlePath, title_of
from api.dicomweb.workitem_bodies import TAKEN, Body, read_data_set
from api.dicomweb.workitem_models import as_answer, as_model
from api.errors import BodyRejected, ParameterRejected
from api.uids import WorkitemPath
from pacs_gateway.header import is_uid
from storage.catalog import studies
from storage.catalog import workitems as catalogue
from storage.search import Match
from storage.workitems import datasets, states, worklist
from storage.workitems.errors import WorkitemRefused
from storage.workitems.keys import MATCHED
from storage.workitems.records import FILTERED_WORKLIST_UID, WORKLIST_UID, JobStep, WorkitemUid
from storage.workitems.states import WorkitemState

if TYPE_CHECKING:
    from starlette.types import ExceptionHandler

    from api.dicomweb.model import DataSet
    from storage.database import Transaction
    from storage.records import InstanceRecord


router = APIRouter(prefix=ROOT, tags=["dicomweb"], default_response_class=Response)

Answer = TypeVar("Answer")

MAX_RESULTS: Final = 100
NOBODY: Final = "ANONYMOUS"
"""The Requesting AE of a request to cancel that names none."""

_METHODS: Final = ["GET", "HEAD"]
_ONE: Final = (*FORMS, media.DICOM_XML)
_CREATED_MODIFIED: Final = "The Workitem was created with modifications."
_UPDATED_MODIFIED: Final = "The Workitem was updated with modifications."
_NO_LOCK: Final = "Deletion Lock not granted."
_STATUSES: Final[Mapping[str, int]] = {
    states.TRANSACTION_MISSING: 400,
    states.TRANSACTION_INCORRECT: 400,
    states.NOT_UPDATABLE: 400,
}
"""The status of a refusal, by the standard's sentence for it; of any other it is 409 (PS3.18 11.6.3.1, 11.7.3.1)."""

_UID_NAMES: Final = frozenset({"workitem", "affectedsopinstanceuid"})
_TRANSACTION_NAMES: Final = frozenset({"transaction", "transaction-uid", "transactionuid"})
_CONTENT: Final[dict[str, Any]] = {name: {} for name in TAKEN}
_BODY: Final = {"requestBody": {"content": _CONTENT, "required": True}}
_BODY_OR_NONE: Final = {"requestBody": {"content": _CONTENT}}


def _done(status: int, meaning: str, *refused: int) -> Responses:
    """Return the responses of a route that answers without a body."""
    described = answers(problems=refused, also={status: meaning})
    return described if status == 200 else {code: told for code, told in described.items() if code != 200}


_CHANGED: Final = _done(200, "Changed, or final already", 403, 404, 409, 410, 415)
_ASKED: Final = _done(202, "Canceled, or its performer was told", 403, 404, 409, 410, 415)


# ---------------------------------------------------------------------------------------------------- one workitem
@router.post("/workitems", status_code=201, responses=_done(201, "Created", 403, 409, 415), openapi_extra=_BODY)
def create_workitem(context: Context, request: Request, content: Body) -> Response:
    """Create a workitem, under the UID of the query string or one of ours."""
    context.archive.room.check()
    model = read_data_set(request, content)
    uid = _uid_for(request, model)
    modified = _write(context, request, lambda tx: worklist.create(tx, uid, model, now=context.clock()))
    url = _url(context, uid)
    response = Response(status_code=201, headers={"Location": url, "Content-Location": url})
    return _warned(context, response, [_CREATED_MODIFIED] if modified else [])


@router.api_route("/workitems/{workitem}", methods=_METHODS, responses=answers(*_ONE, problems=(404, 406, 410)))
def retrieve_workitem(context: Context, request: Request, workitem: WorkitemPath) -> Response:
    """Retrieve a workitem, without its Transaction UID."""
    offer = media.choose(request, _ONE).offer
    with context.archive.database.read() as tx:
        found = catalogue.find(tx, workitem)
        instances = _input_of(tx, found) if isinstance(found, JobStep) else []
    model = as_model(found, context.dicomweb_url, instances)
    is_bare = offer == media.DICOM_XML
    answer = Response(as_xml(model), media_type=offer) if is_bare else give_at_once(request, offer, [model])
    answer.headers["Content-Location"] = _url(context, found.uid)
    return answer


@router.post("/workitems/{workitem}", responses=_done(200, "Updated", 403, 404, 409, 410, 415), openapi_extra=_BODY)
def update_workitem(context: Context, request: Request, workitem: WorkitemPath, content: Body) -> Response:
    """Set attributes of a workitem; one that is claimed by whoever holds its Transaction UID."""
    model = read_data_set(request, content)
    transaction = _transaction_for(request, model)
    modified = _write(
        context,
        request,
        lambda tx: worklist.update(tx, workitem, model, transaction=transaction, now=context.clock()),
    )
    return _warned(context, Response(status_code=200), [_UPDATED_MODIFIED] if modified else [])


@router.put("/workitems/{workitem}/state", responses=_CHANGED, openapi_extra=_BODY)
def change_workitem_state(context: Context, request: Request, workitem: WorkitemPath, content: Body) -> Response:
    """Claim a workitem, or end one that was claimed with this Transaction UID."""
    return _change_state(context, request, workitem, content)


@router.put("/workitems/{workitem}/state/{requester}", responses=_CHANGED, openapi_extra=_BODY)
def change_workitem_state_as(
    context: Context, request: Request, workitem: WorkitemPath, content: Body, requester: TitlePath
) -> Response:
    """Claim or end a workitem, saying who does."""
    title_of(requester)
    return _change_state(context, request, workitem, content)


@router.post("/workitems/{workitem}/cancelrequest", status_code=202, responses=_ASKED, openapi_extra=_BODY_OR_NONE)
def request_cancellation(context: Context, request: Request, workitem: WorkitemPath, content: Body) -> Response:
    """Ask for a workitem to be canceled that somebody else performs, or nobody yet."""
    return _request_cancel(context, request, workitem, content, NOBODY)


@router.post(
    "/workitems/{workitem}/cancelrequest/{requester}",
    status_code=202,
    responses=_ASKED,
    openapi_extra=_BODY_OR_NONE,
)
def request_cancellation_as(
    context: Context, request: Request, workitem: WorkitemPath, content: Body, requester: TitlePath
) -> Response:
    """Ask for a workitem to be canceled, saying who asks."""
    return _request_cancel(context, request, workitem, content, title_of(requester))


def _change_state(context: ApiContext, request: Request, workitem: WorkitemUid, content: bytes) -> Response:
    model = read_data_set(request, content)
    asked, transaction = _asked_state(model), _given_uid(datasets.first(model, "TransactionUID"))
    warning = _write(
        context,
        request,
        lambda tx: worklist.change_state(tx, workitem, asked, transaction=transaction, now=context.clock()),
    )
    return _warned(context, Response(status_code=200), [warning] if warning else [])


def _request_cancel(
    context: ApiContext, request: Request, workitem: WorkitemUid, content: bytes, requester: str
) -> Response:
    model = read_data_set(request, content) if content else {}
    warning = _write(
        context,
        request,
        lambda tx: worklist.request_cancel(tx, workitem, model, requester=requester, now=context.clock()),
    )
    return _warned(context, Response(status_code=202), [warning] if warning else [])


# ------------------------------------------------------------------------------------------------------------ search
@router.api_route("/workitems", methods=_METHODS, responses=answers(*FORMS, problems=(406,), also={204: "No match"}))
def search_workitems(context: Context, request: Request) -> Response:
    """Search for workitems, those of others and our triage jobs."""
    offer = media.choose(request, FORMS).offer
    query = qido.read_query(request.query_params.multi_items(), MATCHED, {}, most=MAX_RESULTS)
    with context.archive.database.read() as tx:
        found = catalogue.search(tx, query.matches, limit=query.limit, offset=query.offset)
        rest = _rest(tx, query, len(found))
    if not found:
        return _warned(context, Response(status_code=204), query.warnings)
    wanted = query.included | {match.keyword for match in query.matches}
    models = [as_answer(as_model(each, context.dicomweb_url), wanted) for each in found]
    return _warned(context, give_at_once(request, offer, models), [*query.warnings, *rest])


def _rest(tx: Transaction, query: qido.Query, found: int) -> list[str]:
    """Say how many matches our own maximum cut off."""
    if found < MAX_RESULTS or query.limit < MAX_RESULTS:
        return []
    rest = catalogue.count_matches(tx, query.matches) - query.offset - found
    return [f"There are {rest} additional results that can be requested"] if rest > 0 else []


# ----------------------------------------------------------------------------------------------------- subscriptions
@router.post(
    "/workitems/{workitem}/subscribers/{aet}", status_code=201, responses=_done(201, "Subscribed", 403, 404, 410)
)
def subscribe(
    context: Context,
    request: Request,
    workitem: WorkitemPath,
    aet: TitlePath,
    *,
    deletionlock: Annotated[bool, Query()] = False,
    named: Annotated[list[str] | None, Query(alias="filter")] = None,
) -> Response:
    """Subscribe an AE title to a workitem, to all, or to all that match a filter; the events come by its channel."""
    title = title_of(aet)
    if workitem == FILTERED_WORKLIST_UID and not named:
        raise ParameterRejected("a filtered subscription needs a filter")
    matches, warnings = _filter(named or [])
    now = context.clock()
    if workitem in {WORKLIST_UID, FILTERED_WORKLIST_UID}:
        asked = matches if workitem == FILTERED_WORKLIST_UID else ()
        _write(
            context,
            request,
            lambda tx: worklist.subscribe_to_worklist(tx, workitem, title, asked, deletion_lock=deletionlock, now=now),
        )
    elif not _write(
        context,
        request,
        lambda tx: worklist.subscribe(tx, workitem, title, deletion_lock=deletionlock, now=now),
    ):
        warnings = (*warnings, _NO_LOCK)
    response = Response(status_code=201, headers={"Content-Location": _channel_url(context, title)})
    return _warned(context, response, warnings)


@router.delete("/workitems/{workitem}/subscribers/{aet}", responses=_done(200, "Unsubscribed", 403, 404))
def unsubscribe(context: Context, request: Request, workitem: WorkitemPath, aet: TitlePath) -> Response:
    """End a subscription; that to all workitems ends every one of the AE title's."""
    title = title_of(aet)
    _write(context, request, lambda tx: worklist.unsubscribe(tx, workitem, title))
    return Response(status_code=200)


@router.post("/workitems/{workitem}/subscribers/{aet}/suspend", responses=_done(200, "Suspended", 403, 404))
def suspend_subscription(context: Context, request: Request, workitem: WorkitemPath, aet: TitlePath) -> Response:
    """Subscribe an AE title to no further workitems; those that it hears of already stay."""
    title = title_of(aet)
    _write(context, request, lambda tx: worklist.suspend(tx, workitem, title))
    return Response(status_code=200)


def _channel_url(context: ApiContext, aet: str) -> str:
    """Return the address of an AE title's channel: of the configured public base, never of a request's Host."""
    scheme, _, rest = context.dicomweb_url.partition("://")
    quoted = "".join(letter if letter.isalnum() or letter in "-._~" else f"%{ord(letter):02X}" for letter in aet)
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}/subscribers/{quoted}"


def _filter(named: Iterable[str]) -> tuple[tuple[Match, ...], tuple[str, ...]]:
    """Return the keys of a filter, ``attribute=value`` with commas between (PS3.18 11.10.1.2)."""
    pairs = [pair.partition("=") for text in named for pair in text.split(",") if pair.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ParameterRejected("filter is no list of attribute=value")
    query = qido.read_query([(name.strip(), value) for name, _, value in pairs], MATCHED, {})
    return query.matches, query.warnings


# ------------------------------------------------------------------------------------------------- reading a request
def _uid_for(request: Request, model: DataSet) -> WorkitemUid:
    """Return the UID of a new workitem: the query string's, else the data set's, else one of ours (PS3.5 B.2)."""
    named = _named(request, _UID_NAMES)
    inner = datasets.first(model, "SOPInstanceUID")
    if named and inner and named != inner:
        raise ParameterRejected("the query string and the body name different workitems")
    uid = _given_uid(named or inner) or f"2.25.{uuid.uuid4().int}"
    return WorkitemUid(uid)


def _transaction_for(request: Request, model: DataSet) -> str | None:
    """Return the Transaction UID of an update: the query string's, else the body's as DIMSE has it (PS3.4 CC.2.6.2)."""
    named, inner = _named(request, _TRANSACTION_NAMES), datasets.first(model, "TransactionUID")
    if named and inner and named != inner:
        raise ParameterRejected("the query string and the body name different transactions")
    return _given_uid(named or inner)


def _named(request: Request, names: frozenset[str]) -> str | None:
    """Return a UID of the query string: under one of these names, or alone, as the standard writes it."""
    items = request.query_params.multi_items()
    found = [value for name, value in items if name.lower() in names] + [name for name, value in items if not value]
    if len(found) > 1:
        raise ParameterRejected("the query string names more than one UID")
    return found[0] if found else None


def _given_uid(text: str | None) -> str | None:
    if text is not None and not is_uid(text):
        raise ParameterRejected("a UID is digits and dots, 64 characters at most")
    return text


def _asked_state(model: DataSet) -> WorkitemState:
    try:
        return WorkitemState(datasets.first(model, "ProcedureStepState") or "")
    except ValueError:
        raise BodyRejected("ProcedureStepState is missing, or none of the four states") from None


def _input_of(tx: Transaction, step: JobStep) -> list[InstanceRecord]:
    """Return the instances of the revision that a job is about."""
    found = studies.instances_of(tx, step.job.study_instance_uid)
    return [instance for instance in found if instance.revision <= step.job.revision]


# ------------------------------------------------------------------------------------------------------- the answer
def _write(context: ApiContext, request: Request, work: Callable[[Transaction], Answer]) -> Answer:
    """Do what is asked in one transaction, events included; then let this process's channels look."""
    with context.archive.database.write() as tx:
        answer = work(tx)
    channels: Channels = request.app.state.channels
    from_thread.run_sync(channels.ring)
    return answer


def _url(context: ApiContext, workitem: WorkitemUid) -> str:
    return f"{context.dicomweb_url}/workitems/{workitem}"


def _warned(context: ApiContext, response: Response, warnings: Iterable[str]) -> Response:
    for warning in warnings:
        response.headers.append("Warning", _warning(context, warning))
    return response


def _warning(context: ApiContext, text: str) -> str:
    return f"299 {context.dicomweb_url}: {text}"


def register(app: FastAPI, context: ApiContext) -> None:
    """Give an application its channels, and let refusals carry the standard's sentence as a Warning."""
    app.state.channels = Channels(context)

    async def refused(request: Request, error: Exception) -> Response:
        if not isinstance(error, WorkitemRefused):
            raise error
        headers: Mapping[str, str] = {"Warning": _warning(context, error.warning)}
        status = _STATUSES.get(error.warning, 409)
        return problems.respond(status, str(error), problems.request_id_of(request), headers=headers)

    handler: ExceptionHandler = refused
    app.add_exception_handler(WorkitemRefused, handler)

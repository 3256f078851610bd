"""The installed models, and what the site says of each: status, stops, permits, opt-outs, retraction (A24).

Every step wants a named person and a reason; both go into the audit.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from api.answers import as_json
from api.context import ApiContext, Context
from api.document import refused
from api.entries import as_result
from api.quarantine import Decided
from inference import deployment, monitoring
from storage.catalog import cases, incidents, opt_outs, permits, results
from storage.catalog.deployments import Mode, Status
from storage.catalog.permits import Ground, Permit
from storage.catalog.stops import EVERY
from storage.errors import CatalogueUnknown, Rejected
from storage.records import ResultId

if TYPE_CHECKING:
    from models.contract import ModelCard
    from storage.catalog.incidents import Incident
    from storage.database import Transaction

router = APIRouter(prefix="/api", tags=["models"])

_MOST_ID = 2**63 - 1
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

ModelPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
ResultPath = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
RowId = Annotated[int, Path(ge=1, le=_MOST_ID)]
_Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64, pattern=r"^[^\x00-\x1f]*$")]
_Line = StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")
_Words = StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*$")


class StatusChange(Decided):
    """What a model may do from now on; `mode` says on which ground where it is enabled."""

    status: Status
    mode: Mode | None = None


class PermitTold(Decided):
    """A circulation number, or a signed statement; `reason` says what it is for."""

    kind: Ground
    number: _Text = ""
    statement_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    signed_by: _Text = ""
    signed_on: date
    expires_on: date | None = None


class Wish(Decided):
    """Whose images no model may look at; an empty issuer means whoever issued the Patient ID."""

    patient_id: Annotated[str, _Line]
    issuer_of_patient_id: _Text = ""


class _Said(TypedDict):
    """Whose word it is."""

    by: str
    why: str
    now: datetime


# ------------------------------------------------------------------------------------------------------------ models
@router.api_route("/models", methods=["GET", "HEAD"])
def models(context: Context) -> Response:
    """Return the cards of the installed models, each with what the site says of it."""
    with context.archive.database.read() as tx:
        return as_json({"models": [_told(tx, card, context) for card in context.cards]})


@router.api_route("/models/{model}", methods=["GET", "HEAD"])
def one_model(context: Context, model: ModelPath) -> Response:
    """Return one model's card with what the site says of it."""
    card = _card(context, model)
    with context.archive.database.read() as tx:
        return as_json(_told(tx, card, context))


@router.api_route("/models/{model}/report", methods=["GET", "HEAD"])
def model_report(context: Context, model: ModelPath, weeks: Annotated[int, Query(ge=1, le=104)] = 8) -> Response:
    """Return what a model did week by week on each scanner, and whether its scores or its input drifted."""
    card, now = _card(context, model), context.clock()
    since = now - max(timedelta(weeks=weeks), monitoring.WINDOW + monitoring.BASE)
    with context.archive.database.read() as tx:
        seen = cases.of_model(tx, card.digest, since=since)
        verdicts = cases.verdicts(tx, card.digest)
    return as_json(monitoring.report(card, seen, verdicts, now=now, weeks=weeks))


@router.put("/models/{model}/status", responses=refused(409))
def set_status(context: Context, model: ModelPath, told: StatusChange) -> Response:
    """Enable a model, take it back to the shadow, or retire it; return it."""
    card = _card(context, model)
    said = _Said(by=told.by, why=told.reason, now=context.clock())
    with context.archive.database.write() as tx:
        if told.status is Status.ENABLED:
            if told.mode is None:
                raise Rejected("a model is enabled in a mode: clinical, research or phantom")
            deployment.enable(tx, card, told.mode, **said)
        elif told.status is Status.SHADOW:
            deployment.shadow(tx, card, **said)
        else:
            deployment.retire(tx, card, **said)
        return as_json(_told(tx, card, context))


@router.post("/all-models/stop")
def stop_all(context: Context, told: Decided) -> Response:
    """Stop every model at once, those that are installed later too; reading goes on."""
    return _stopped(context, EVERY, told)


@router.post("/all-models/start")
def start_all(context: Context, told: Decided) -> Response:
    """Take back the stop of every model; one that was stopped by itself stays so."""
    return _started(context, EVERY, told)


@router.post("/models/{model}/stop")
def stop(context: Context, model: ModelPath, told: Decided) -> Response:
    """Stop a model at once: no new job, and what waits or runs ends as opted out."""
    return _stopped(context, _card(context, model).id, told)


@router.post("/models/{model}/start")
def start(context: Context, model: ModelPath, told: Decided) -> Response:
    """Let a stopped model go on, with what comes from now."""
    return _started(context, _card(context, model).id, told)


@router.post("/models/{model}/permits", responses=refused(409))
def record_permit(context: Context, model: ModelPath, told: PermitTold) -> Response:
    """Record the ground on which a model may move the list; return the model."""
    card = _card(context, model)
    permit = Permit(
        model_digest=card.digest,
        kind=told.kind,
        number=told.number,
        statement_sha256=told.statement_sha256,
        signed_by=told.signed_by,
        signed_on=told.signed_on,
        expires_on=told.expires_on,
        recorded_at=context.clock(),
        recorded_by=told.by,
    )
    with context.archive.database.write() as tx:
        permits.record(tx, permit)
        return as_json(_told(tx, card, context))


def _stopped(context: ApiContext, model_id: str, told: Decided) -> Response:
    with context.archive.database.write() as tx:
        met = deployment.stop(tx, model_id, by=told.by, why=told.reason, now=context.clock())
    return as_json({"stopped": model_id, "studies": met})


def _started(context: ApiContext, model_id: str, told: Decided) -> Response:
    with context.archive.database.write() as tx:
        was = deployment.start(tx, model_id, by=told.by, why=told.reason, now=context.clock())
    return as_json({"started": model_id, "was_stopped": was})


def _card(context: ApiContext, model: str) -> ModelCard:
    card = context.card(model)
    if card is None:
        raise CatalogueUnknown("no such model is installed")
    return card


def _told(tx: Transaction, card: ModelCard, context: ApiContext) -> dict[str, Any]:
    """Return a card with the site's word beside it."""
    said = {field.name: getattr(card, field.name) for field in fields(card)}
    return {**said, "site": deployment.standing(tx, card, now=context.clock())}


# ----------------------------------------------------------------------------------------------------------- results
@router.post("/results/{result}/retract")
def retract(context: Context, result: ResultPath, told: Decided) -> Response:
    """Take back what a model said; a raise that rested on it falls away.  Said twice, it is done once."""
    with context.archive.database.write() as tx:
        deployment.retract(tx, ResultId(result), by=told.by, why=told.reason, now=context.clock())
        record = results.one(tx, ResultId(result))
    return as_json(as_result(record, context))


# ---------------------------------------------------------------------------------------------------------- opt-outs
@router.api_route("/opt-outs", methods=["GET", "HEAD"])
def list_opt_outs(
    context: Context,
    after: Annotated[int, Query(ge=0, le=_MOST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Return the persons whose images no model may look at, oldest wish first."""
    with context.archive.database.read() as tx:
        return as_json({"opt_outs": opt_outs.every(tx, after=after, limit=limit)})


@router.post("/opt-outs")
def declare_opt_out(context: Context, told: Wish) -> Response:
    """Ask no model about a person any more; what waits for an answer ends as opted out."""
    with context.archive.database.write() as tx:
        wish, met = deployment.opt_out(
            tx, told.patient_id, issuer=told.issuer_of_patient_id, by=told.by, why=told.reason, now=context.clock()
        )
    return as_json({"opt_out": wish, "studies": met})


@router.post("/opt-outs/{row_id}/end")
def end_opt_out(context: Context, row_id: RowId, told: Decided) -> Response:
    """Take a person's wish back, for what comes from now."""
    with context.archive.database.write() as tx:
        opt_outs.end(tx, row_id, by=told.by, why=told.reason, now=context.clock())
        wish = opt_outs.one(tx, row_id)
    return as_json(wish)


# ---------------------------------------------------------------------------------------------------------- incidents
class IncidentTold(BaseModel):
    """What went wrong with which model, or with which of its results; no patient data."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
    result: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    what: Annotated[str, _Words]
    by: Annotated[str, _Line]
    known_at: AwareDatetime | None = None


class Done(BaseModel):
    """Which duty was done, and by whom."""

    model_config = ConfigDict(extra="forbid")

    duty: Literal["first notice", "notice", "full report"]
    by: Annotated[str, _Line]


@router.api_route("/incidents", methods=["GET", "HEAD"])
def list_incidents(context: Context) -> Response:
    """Return all incidents, the last known first, with what is due when and what is overdue."""
    with context.archive.database.read() as tx:
        found = incidents.every(tx)
    return as_json({"incidents": [_of_incident(incident, context) for incident in found]})


@router.post("/incidents", responses=refused(404, 409))
def record_incident(context: Context, told: IncidentTold) -> Response:
    """Record an incident, freeze the result that it is about, and tell the three due dates."""
    now = context.clock()
    known_at = told.known_at or now
    if not _EARLIEST <= known_at <= now:
        raise Rejected("known_at lies in the future, or in another century")
    result = None if told.result is None else ResultId(told.result)
    with context.archive.database.write() as tx:
        incident = deployment.record_incident(
            tx, told.model, context.cards, result=result, what=told.what, known_at=known_at, by=told.by, now=now
        )
    return as_json(_of_incident(incident, context))


@router.post("/incidents/{incident}/done")
def note_done(context: Context, incident: ResultPath, told: Done) -> Response:
    """Note that a duty was done; said twice, the first time counts."""
    with context.archive.database.write() as tx:
        noted = incidents.note_done(tx, incident, told.duty, by=told.by, now=context.clock())
    return as_json(_of_incident(noted, context))


def _of_incident(incident: Incident, context: ApiContext) -> dict[str, Any]:
    said = {field.name: getattr(incident, field.name) for field in fields(incident) if field.name != "done"}
    return {**said, "duties": incident.duties(now=context.clock())}

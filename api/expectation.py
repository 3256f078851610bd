"""What a model's flags would do here: the calculator of `roi triage simulate`, over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import as_json
from api.context import ApiContext, Context
from api.document import refused
from inference import targets
from inference.errors import InquiryRejected
from inference.inquiry import Inquiry, finding_of, site_of, told
from inference.site import HOURS_A_WEEK
from storage.catalog import flow
from storage.local_time import LOCAL_TIME

if TYPE_CHECKING:
    from datetime import datetime

    from models.contract import FindingSpec, ModelCard
    from storage.catalog.flow import Ready

router = APIRouter(prefix="/api/triage", tags=["triage"])

Share = Annotated[float, Field(ge=0, le=1)]
Mean = Annotated[float, Field(ge=0, le=10_000)]
_NO_ANSWER = refused(409)


class Question(BaseModel):
    """What is asked; what is left out is told by the model's card, and by the archive's own arrivals."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Annotated[str, Field(min_length=1, max_length=100)]
    prevalence: Share
    finding: Annotated[str | None, Field(max_length=100)] = None
    readers: Annotated[int, Field(ge=1, le=100)] = 1
    reading_min: Annotated[float, Field(ge=0.1, le=600)] = 10.0
    ai_min: Annotated[float, Field(ge=0, le=600)] = 0.5
    days: Annotated[int, Field(ge=1, le=3660)] = 56
    traffic: Annotated[float | None, Field(gt=0, le=1)] = None
    eligible: Share | None = None
    sensitivity: Share | None = None
    specificity: Share | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class WeeklyQuestion(Question):
    """The same, of a week that is given hour by hour."""

    hourly: Annotated[tuple[Mean, ...] | None, Field(min_length=HOURS_A_WEEK, max_length=HOURS_A_WEEK)] = None
    """Mean arrivals in each hour of a week, from Monday 00:00 on."""


@router.api_route("/expectation", methods=["GET", "HEAD"], responses=_NO_ANSWER)
def expectation(context: Context, question: Annotated[Question, Query()]) -> Response:
    """Return what flags would do here: how many are right, who gains minutes, and who loses them."""
    return as_json(answer_of(context, Inquiry(**question.model_dump())))


@router.post("/expectation", responses=_NO_ANSWER)
def expectation_of_a_week(context: Context, question: WeeklyQuestion) -> Response:
    """Return the same of a site that says of itself when its studies arrive."""
    return as_json(answer_of(context, Inquiry(**question.model_dump())))


def answer_of(context: ApiContext, inquiry: Inquiry) -> dict[str, Any]:
    """Return the answer to an inquiry, worked out in the calculator's own process.

    Raises
    ------
    InquiryRejected
        No such model is installed, or it cannot be asked this.
    NothingToExpect, CalculatorBusy, CalculatorLost
        There is no answer, none now, or none within the limits.
    """
    card = context.card(inquiry.model)
    if card is None:
        raise InquiryRejected("no model of this id is installed")
    finding = finding_of(card, inquiry.finding)

    def arrivals(since: datetime) -> list[Ready]:
        with context.archive.database.read() as tx:
            return flow.ready_since(tx, since)

    with context.archive.database.read() as tx:
        set_here = targets.current(tx)
    site = site_of(inquiry, card, targets=set_here, arrivals=arrivals, now=context.clock(), zone=LOCAL_TIME)
    sensitivity, specificity = told(inquiry, finding)
    found = context.calculator.expect(site, sensitivity=sensitivity, specificity=specificity, seed=inquiry.seed)
    return {
        **_named(card, finding),
        "site": asdict(site),
        "sensitivity": sensitivity,
        "specificity": specificity,
        **asdict(found),
        "steady": None
        if found.steady is None
        else {**asdict(found.steady), "gained": found.steady.gained, "lost": found.steady.lost},
    }


def _named(card: ModelCard, finding: FindingSpec) -> dict[str, Any]:
    return {
        "model": {"id": card.id, "version": card.version, "digest": card.digest},
        "label": {"vi": card.label_vi, "en": card.label_en},
        "finding": {"code": finding.code, "name": {"vi": finding.name_vi, "en": finding.name_en}},
    }

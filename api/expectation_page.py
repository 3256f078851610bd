"""The calculator as a page: a form that needs no script, and the answer with its losers, in both languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from api.context import ApiContext, Context
from api.expectation import answer_of
from api.page import preferred, rendered, server_of
from api.page_texts.expectation import FIELDS, PAGE, PARTS_OF_THE_ILL, WHO_WAITS, WRONG
from inference.errors import CalculatorBusy, CalculatorLost, InquiryRejected, NothingToExpect
from inference.inquiry import Inquiry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.words import Language
    from models.contract import ModelCard

router = APIRouter(tags=["page"])

_MODEL: Final = "model"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Field:
    """A number of the form: its limits, what it is divided by to be what the inquiry takes, and its first value."""

    group: str
    least: float
    most: float
    divisor: float = 1.0
    first: str = ""
    needed: bool = False
    step: str = "any"


_FORM: Final[Mapping[str, _Field]] = {
    "prevalence": _Field(group="model_group", least=0, most=100, divisor=100, first="5", needed=True),
    "readers": _Field(group="room_group", least=1, most=100, first="1", needed=True, step="1"),
    "reading_min": _Field(group="room_group", least=0.1, most=600, first="10", needed=True),
    "traffic": _Field(group="room_group", least=1, most=98, divisor=100),
    "eligible": _Field(group="room_group", least=0, most=100, divisor=100),
    "ai_min": _Field(group="card_group", least=0, most=600, first="0.5", needed=True),
    "sensitivity": _Field(group="card_group", least=0, most=100, divisor=100),
    "specificity": _Field(group="card_group", least=0, most=100, divisor=100),
}
_GROUPS: Final = ("model_group", "room_group", "card_group")


class _Wrong(ValueError):
    """A number of the form is none, or out of its range: the field's name."""


@router.api_route("/triage", methods=["GET", "HEAD"], response_class=HTMLResponse)
def expectation_page(context: Context, request: Request) -> Response:
    """Show the calculator in the browser's language, else in Vietnamese."""
    return _render(context, request, preferred(request.headers.get("accept-language", "")))


@router.api_route("/vi/triage", methods=["GET", "HEAD"], response_class=HTMLResponse)
def expectation_page_vi(context: Context, request: Request) -> Response:
    """Show the calculator in Vietnamese."""
    return _render(context, request, "vi")


@router.api_route("/en/triage", methods=["GET", "HEAD"], response_class=HTMLResponse)
def expectation_page_en(context: Context, request: Request) -> Response:
    """Show the calculator in English."""
    return _render(context, request, "en")


def _render(context: ApiContext, request: Request, language: Language) -> Response:
    sent = request.query_params
    values = {name: sent.get(name, "" if sent else field.first)[:20] for name, field in _FORM.items()}
    chosen = sent.get(_MODEL, "")
    answer, wrong = _answer(context, chosen, values, language) if sent else (None, "")
    return rendered(
        "expectation.html",
        language,
        PAGE,
        query=urlencode({name: value for name, value in {_MODEL: chosen[:200], **values}.items() if value})
        if sent
        else "",
        options=[
            {"value": value, "name": name, "chosen": value == chosen}
            for value, name in _options(context.cards, language).items()
        ],
        groups=[
            {
                "name": PAGE[group][language],
                "fields": [_shown(name, values[name], language) for name in _FORM if _FORM[name].group == group],
                "has_model": group == "model_group",
            }
            for group in _GROUPS
        ],
        answer=answer,
        wrong=wrong,
        server=server_of(context),
    )


# ------------------------------------------------------------------------------------------------------ the form
def _options(cards: tuple[ModelCard, ...], language: Language) -> dict[str, str]:
    """Return what may be chosen: each finding of each model, by the name of its value."""
    return {
        f"{card.id}/{finding.code}": f"{finding.name_vi if language == 'vi' else finding.name_en} · {card.title}"
        for card in cards
        for finding in card.findings
    }


def _shown(name: str, value: str, language: Language) -> dict[str, Any]:
    field, (label, hint) = _FORM[name], FIELDS[name]
    return {
        "name": name,
        "label": label[language],
        "hint": hint[language],
        "value": value,
        "least": f"{field.least:g}",
        "most": f"{field.most:g}",
        "step": field.step,
        "needed": field.needed,
    }


def _inquiry(chosen: str, values: Mapping[str, str]) -> Inquiry:
    """Return what the form asks; `_Wrong` names the first field that is no number in its range."""
    numbers: dict[str, Any] = {}
    for name, field in _FORM.items():
        text = values[name].strip().replace(",", ".")
        if not text and not field.needed:
            continue
        try:
            number = float(text)
        except ValueError:
            raise _Wrong(name) from None
        if not field.least <= number <= field.most:
            raise _Wrong(name)
        numbers[name] = number / field.divisor
    if numbers["readers"] % 1:
        raise _Wrong("readers")
    model, _, finding = chosen.partition("/")
    return Inquiry(model=model, finding=finding or None, **{**numbers, "readers": int(numbers["readers"])})


# ---------------------------------------------------------------------------------------------------- the answer
def _answer(
    context: ApiContext, chosen: str, values: Mapping[str, str], language: Language
) -> tuple[dict[str, Any] | None, str]:
    """Return what is shown of the answer, or why there is none."""
    if chosen not in _options(context.cards, language):
        return None, WRONG["model"][language]
    try:
        found = answer_of(context, _inquiry(chosen, values))
    except _Wrong as error:
        return None, _wrong_number(str(error), language)
    except (InquiryRejected, NothingToExpect, CalculatorBusy, CalculatorLost) as error:
        return None, WRONG[_REASONS.get(type(error)) or error.reason][language]  # type: ignore[union-attr]
    return _told(found, language), ""


_REASONS: Final = {InquiryRejected: "too_many", CalculatorBusy: "busy", CalculatorLost: "lost"}
"""Error class -> key of `WRONG`; one that is not here says its own."""


def _wrong_number(name: str, language: Language) -> str:
    field = _FORM[name]
    limits = PAGE["range"][language].format(least=f"{field.least:g}", most=f"{field.most:g}")
    return WRONG["number"][language].format(name=FIELDS[name][0][language], range=limits)


def _told(found: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """Return the answer in words."""

    def number(value: float, places: int = 1) -> str:
        text = f"{round(value, places) + 0:.{places}f}"  # + 0: no minus before a zero
        return text.replace(".", ",") if language == "vi" else text

    def percent(value: float) -> str:
        return f"{number(100 * value)} %"

    site, steady = found["site"], found["steady"]
    flags = found["flags_a_week"]
    shares = PAGE["shares" if flags else "never"][language].format(
        ppv=percent(found["ppv"]),
        npv=percent(found["npv"]),
        flags=number(flags),
        false=number(found["false_flags_a_week"]),
        missed=number(found["missed_a_week"]),
    )
    load = PAGE["load"][language].format(
        studies=number(found["studies_a_week"], 0),
        readers=site["readers"],
        minutes=number(site["reading_min"]),
        traffic=percent(found["traffic"]),
        head=number(site["head_start_min"], 0),
    )
    theory = PAGE["steady"][language]
    return {
        "label": found["label"][language],
        "finding": found["finding"]["name"][language],
        "shares": shares,
        "load": load,
        "lines": [
            {
                "who": WHO_WAITS[line["group"]][language],
                "part": line["group"] in PARTS_OF_THE_ILL,
                "share": percent(line["share"]),
                "by_arrival": f"{number(line['fifo_mean'])} ({number(line['fifo_p95'], 0)})",
                "by_due": f"{number(line['mean'])} ({number(line['p95'], 0)})",
                "longest": number(line["longest"], 0),
                **_change(line, number, language),
            }
            for line in found["lines"]
        ],
        "steady": theory.format(gained=number(steady["gained"]), lost=number(steady["lost"])) if steady else "",
    }


def _change(line: Mapping[str, Any], number: Any, language: Language) -> dict[str, str]:  # noqa: ANN401 - a formatter
    """Say in words whether a group waits longer: never by a sign or a colour alone."""
    change = round(line["change"], 1)
    kind = "same" if not change else "sooner" if change < 0 else "later"
    low, high = (number(end) for end in line["change_interval"])
    return {
        "kind": kind,
        "change": PAGE[kind][language].format(minutes=number(abs(change))),
        "interval": PAGE["interval"][language].format(low=low, high=high),
    }

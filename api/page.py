"""The worklist as a page: rendered here, readable without a script, in Vietnamese and English."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from api import words
from api.context import ApiContext, Context
from api.dicomweb import media
from api.entries import Entry
from api.page_texts.every import EVERY_PAGE
from api.page_texts.worklist import PAGE
from api.words import Language, Text
from api.worklist import page_of, page_tag
from storage import names
from storage.local_time import LOCAL_TIME
from storage.records import OrderPriority, Waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

router = APIRouter(tags=["page"])

PER_PAGE: Final = 50

_TURNS: Final = dict.fromkeys(
    (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\N{REPLACEMENT CHARACTER}"
)
"""Characters that turn the direction of what follows: in a name they would show another one (R-28)."""


def _straight(value: object) -> object:
    """Show a turn as a character that cannot be shown; letters themselves know their direction."""
    return value.translate(_TURNS) if isinstance(value, str) else value


@cache
def _environment() -> Environment:
    """Return what renders; a process that only programs ask goes without."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    return Environment(
        loader=FileSystemLoader(Path(str(files("web"))) / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_straight,
        trim_blocks=True,
        lstrip_blocks=True,
    )


Lang = Annotated[Language | None, Query()]
Page = Annotated[int, Query(ge=1, le=10_000)]
Of = Annotated[Literal[Waiting.WAITING, Waiting.REPORTED], Query(alias="list")]


@router.api_route("/", methods=["GET", "HEAD"], response_class=HTMLResponse)
def worklist_page(
    context: Context, request: Request, lang: Lang = None, page: Page = 1, of: Of = Waiting.WAITING
) -> Response:
    """Show the worklist in the language asked for, else the browser's, else Vietnamese."""
    return _render(context, request, lang or preferred(request.headers.get("accept-language", "")), page, of)


@router.api_route("/vi", methods=["GET", "HEAD"], response_class=HTMLResponse)
def worklist_page_vi(context: Context, request: Request, page: Page = 1, of: Of = Waiting.WAITING) -> Response:
    """Show the worklist in Vietnamese."""
    return _render(context, request, "vi", page, of)


@router.api_route("/en", methods=["GET", "HEAD"], response_class=HTMLResponse)
def worklist_page_en(context: Context, request: Request, page: Page = 1, of: Of = Waiting.WAITING) -> Response:
    """Show the worklist in English."""
    return _render(context, request, "en", page, of)


def preferred(accept_language: str) -> Language:
    """Return English where a browser prefers it to Vietnamese."""
    weights = {"vi": 0.0, "en": 0.0}
    for part in accept_language.split(","):
        tag, _, weight = part.strip().partition(";q=")
        language = tag.partition("-")[0].lower()
        if language in weights:
            weights[language] = max(weights[language], media.weight(weight or "1"))
    return "en" if weights["en"] > weights["vi"] else "vi"


def rendered(template: str, language: Language, said: Mapping[str, Text], **shown: object) -> Response:
    """Return a page in a language: what it says beside what every page does."""
    html = (
        _environment()
        .get_template(template)
        .render(
            language=language,
            other="en" if language == "vi" else "vi",
            text={name: words_of[language] for name, words_of in (*EVERY_PAGE.items(), *said.items())},
            **shown,
        )
    )
    return HTMLResponse(html, headers={"Content-Language": language, "Vary": "Accept-Language"})


def _render(context: ApiContext, request: Request, language: Language, page: int, of: Waiting) -> Response:
    listed = page_of(context, limit=PER_PAGE, offset=(page - 1) * PER_PAGE, of=of)
    now = context.clock()
    total, reported = listed["total"], listed["reported"]
    rate = listed["flag_rate"]["text"]
    answer = rendered(
        "worklist.html",
        language,
        PAGE,
        of=of,
        waiting=listed["waiting"],
        reported=reported,
        flag_rate=rate[language] if rate else "",
        rows=[_row(entry, now, language) for entry in listed["entries"]],
        labels=_labels(listed["entries"], language),
        total=total,
        page=page,
        last_page=max(1, -(-total // PER_PAGE)),
        offset=listed["offset"],
        per_page=PER_PAGE,
        tag=page_tag(listed),
        as_of=local(now),
        server=server_of(context),
    )
    context.showing.after(answer, request, context, listed["entries"])
    return answer


def server_of(context: ApiContext) -> str:
    """Return what the page calls the program."""
    return f"{context.server_name} {context.server_version}".strip()


# ------------------------------------------------------------------------------------------------------ one row
def _row(entry: Entry, now: datetime, language: Language) -> dict[str, Any]:
    """Return what the template shows of an entry, in words."""
    patient, study = entry["patient"], entry["study"]
    return {
        "place": entry["place"],
        "uid": entry["study_instance_uid"],
        "urgency": entry["urgency"],
        "urgency_text": words.URGENCIES[entry["urgency"]][language],
        "wait": _wait(entry, now, language),
        "name": names.shown(patient["patient_name"]) or PAGE["no_name"][language],
        "age": _age(patient["patient_birth_date"], now, language),
        "sex": _SEXES.get(patient["patient_sex"] or "", PAGE["sex_unknown"])[language],
        "patient_id": patient["patient_id"] or PAGE["no_id"][language],
        "conflict": words.IDENTITY_CONFLICT[language] if entry["identity_conflict"] else "",
        "description": study["study_description"] or PAGE["no_description"][language],
        "modalities": ", ".join(study["modalities"]),
        "accession": study["accession_number"] or "",
        "received": local(entry["received_last"]),
        "state": words.STATES[entry["state"]][language],
        "viewer": entry["viewer"] or "",
        "revision": entry["revision"],
        "counts": PAGE["counts"][language].format(series=entry["series_count"], images=entry["instance_count"]),
        "coverage": [_coverage(line, entry, language) for line in entry["coverage"]],
        "order": _priority(entry["priority"]["order"], language),
        "manual": _priority(entry["priority"]["manual"], language),
        "manual_by": entry["priority"]["manual_by"] or "",
        "reason": entry["place_reason"][language],
        "opened_by": entry["opened"]["by"] if entry["opened"] else "",
        "reported": _reported(entry),
        "alert": entry["alert"],
    }


def _reported(entry: Entry) -> dict[str, Any] | None:
    """Return who read it and when, where it does not wait."""
    told = entry["reported"]
    return {"by": told["by"], "at": local(told["at"])} if told and not told["again"] else None


def _priority(priority: OrderPriority | None, language: Language) -> str:
    return words.PRIORITIES[priority][language] if priority else ""


def _coverage(line: Entry, entry: Entry, language: Language) -> dict[str, Any]:
    """Return a model's state with what it found in the revision shown; older results stand apart, marked."""
    found = [finding for finding in entry["findings"] if finding["model_id"] == line["model_id"]]
    current = [finding for finding in found if finding["superseded_by"] is None and finding["retracted"] is None]
    positive = [finding for finding in current if finding["positive"]]
    analysed = line["coverage"] == "analysed"
    return {
        "kind": line["coverage"].replace(" ", "-"),
        "text": line["text"][language],
        "title": line["title"],
        "reason": line["reason_text"][language] if line["reason_text"] else "",
        "code": line["reason"] or "",
        "outdated": PAGE["outdated"][language].format(revision=line["revision"]) if line["outdated"] else "",
        "retracted": words.RETRACTED[language] if line["retracted"] else "",
        "findings": [_finding(finding, language) for finding in positive],
        "nothing": words.NO_FINDING[language] if analysed and current and not positive else "",
        "scores": [_finding(finding, language) for finding in current if not finding["positive"]],
        "label": line["label"][language] if line["label"] and (line["outcome"] or line["provisional"]) else "",
        "superseded": sum(1 for finding in found if finding["superseded_by"] is not None and finding["positive"]),
    }


def _finding(finding: Entry, language: Language) -> dict[str, Any]:
    return {
        "name": finding["name"][language],
        "score": decimal(finding["score"], language),
        "threshold": decimal(finding["threshold"], language),
        "model": f"{finding['model_id']} {finding['model_version']}",
        "urgency": finding["urgency"],
        "shadow": words.SHADOW[language] if finding["shadow"] else "",
        "provisional": _provisional(finding["provisional"], language),
        "label": finding["label"][language],
        "code": finding["code"],
        "result": finding["result_id"],
        "said": _said(finding, language),
    }


def _provisional(slices: int | None, language: Language) -> str:
    return words.PROVISIONAL[language].format(slices=slices) if slices else ""


_BUTTONS: Final = {True: ("agree", "disagree"), False: ("missed",)}
"""Whether the model says that it is there -> what readers may say of it on the page."""


def _said(finding: Entry, language: Language) -> list[dict[str, Any]]:
    """Return a button for each verdict, with who said so."""
    return [
        {
            "verdict": verdict,
            "text": PAGE[verdict][language],
            "by": [each["by"] for each in finding["feedback"] if each["verdict"] == verdict],
        }
        for verdict in _BUTTONS[finding["positive"]]
    ]


def _labels(entries: list[Entry], language: Language) -> list[str]:
    """Return what must stand above the list: the label of every model that it shows something of."""
    shown = [
        part["label"][language]
        for entry in entries
        for part in (*entry["coverage"], *entry["findings"])
        if part["label"]
    ]
    return sorted(set(shown))


# -------------------------------------------------------------------------------------------------- words and times
_SEXES: Final = {"M": PAGE["male"], "F": PAGE["female"], "O": PAGE["sex_other"]}


def _wait(entry: Entry, now: datetime, language: Language) -> dict[str, Any]:
    """Return how long the study has waited against its target, and how much of a bar of 100 that fills."""
    since = entry["ready_at"] or entry["received_first"]
    waited = max(timedelta(0), now - since)
    target = entry["due_at"] - entry["ready_at"] if entry["due_at"] and entry["ready_at"] else None
    late = bool(target is not None and waited > target)
    return {
        "text": _minutes(waited, language),
        "target": _minutes(target, language) if target is not None else "",
        "share": min(100, round(100 * waited / target)) if target else 0,
        "late": late,
        "late_text": PAGE["late"][language] if late else "",
        "ready": entry["ready_at"] is not None,
    }


def _minutes(span: timedelta, language: Language) -> str:
    hours, minutes = divmod(int(span.total_seconds() // 60), 60)
    if not hours:
        return f"{minutes} {PAGE['min'][language]}"
    unit = "days_hours" if hours >= 24 else "hours_minutes" if minutes else "hours"
    days = hours // 24
    return PAGE[unit][language].format(days=days, hours=hours - 24 * days, minutes=minutes)


def decimal(number: float, language: Language) -> str:
    """Return a number with two decimals, as it is written in a language."""
    text = f"{number:.2f}"
    return text.replace(".", ",") if language == "vi" else text


def local(time: datetime) -> str:
    """Return a moment as a clock in Viet Nam shows it."""
    return time.astimezone(LOCAL_TIME).strftime("%d/%m/%Y %H:%M")


def _age(birth_date: str | None, now: datetime, language: Language) -> str:
    """Return an age: in days for newborns, in months below 72, else in years."""
    try:
        born = datetime.strptime(birth_date or "", "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return PAGE["age_unknown"][language]
    today = now.astimezone(LOCAL_TIME).date()
    if born > today:
        return PAGE["age_unknown"][language]
    months = _months(born, today)
    if months < 1:
        return PAGE["age_days"][language].format(count=(today - born).days)
    unit, count = ("age_months", months) if months < 72 else ("age_years", months // 12)
    return PAGE[unit][language].format(count=count)


def _months(born: date, today: date) -> int:
    return (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)

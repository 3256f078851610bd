"""The models as a page: where each stands at this site, on whose word, and how it did here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from api.context import ApiContext, Context
from api.page import decimal, local, rendered, server_of
from api.page_texts.models import MODES, PAGE, STATUSES
from inference import deployment
from storage.catalog.deployments import Mode
from storage.catalog.permits import Ground

if TYPE_CHECKING:
    from api.words import Language
    from inference.deployment import Standing
    from models.contract import ModelCard
    from storage.catalog.local_checks import LocalCheck
    from storage.catalog.permits import Permit

router = APIRouter(tags=["page"])


@router.api_route("/vi/models", methods=["GET", "HEAD"], response_class=HTMLResponse)
def models_page_vi(context: Context) -> Response:
    """Show the models in Vietnamese."""
    return _render(context, "vi")


@router.api_route("/en/models", methods=["GET", "HEAD"], response_class=HTMLResponse)
def models_page_en(context: Context) -> Response:
    """Show the models in English."""
    return _render(context, "en")


def _render(context: ApiContext, language: Language) -> Response:
    now = context.clock()
    with context.archive.database.read() as tx:
        found = [(card, deployment.standing(tx, card, now=now)) for card in context.cards]
    rows = [_row(card, stands, language) for card, stands in found]
    return rendered("models.html", language, PAGE, rows=rows, as_of=local(now), server=server_of(context))


def _row(card: ModelCard, stands: Standing, language: Language) -> dict[str, Any]:
    kept, stop = stands.deployment, stands.stop
    mode = f" ({MODES[kept.mode][language]})" if kept.mode else ""
    return {
        "title": card.title,
        "id": card.id,
        "version": card.version,
        "digest": card.digest[:12],
        "ages": _ages(card, language),
        "label": card.label_vi if language == "vi" else card.label_en,
        "status": f"{STATUSES[kept.status][language]}{mode}",
        "moves": PAGE["moves" if stands.moves and not stop else "moves_not"][language],
        "stopped": PAGE["stopped"][language].format(by=stop.by, why=stop.why) if stop else "",
        "by": kept.by,
        "since": local(kept.since),
        "why": PAGE["at_first"][language] if kept.by == deployment.INTRODUCER else kept.why,
        "grounds": list(_grounds(stands, language)),
        "thresholds": list(_thresholds(card, stands, language)),
        "check": list(_check(stands.check, language)),
    }


def _ages(card: ModelCard, language: Language) -> str:
    """Say from which age on a model is for, where its card does."""
    years = card.input_rules.min_age_years
    return PAGE["ages"][language].format(years=years) if years else ""


def _grounds(stands: Standing, language: Language) -> Iterable[str]:
    if stands.deployment.mode is Mode.PHANTOM:
        yield PAGE["phantoms"][language]
    elif not stands.permits:
        yield PAGE["none"][language]
    for permit in stands.permits:
        yield _ground(permit, language)


def _ground(permit: Permit, language: Language) -> str:
    if permit.kind is Ground.CIRCULATION:
        return PAGE["circulation"][language].format(number=permit.number)
    return PAGE["research"][language].format(by=permit.signed_by, until=f"{permit.expires_on:%d/%m/%Y}")


def _thresholds(card: ModelCard, stands: Standing, language: Language) -> Iterable[str]:
    for spec in card.findings:
        own = stands.operating_points.get(spec.code)
        threshold = spec.operating_point.threshold if own is None else own.threshold
        name = spec.name_vi if language == "vi" else spec.name_en
        said = PAGE["card_point" if own is None else "site_point"][language]
        yield said.format(finding=name, threshold=decimal(threshold, language))


def _check(check: LocalCheck | None, language: Language) -> Iterable[str]:
    if check is None:
        yield PAGE["none"][language]
        return
    passed = PAGE["passed" if check.passed else "not_passed"][language]
    yield PAGE["checked"][language].format(at=local(check.checked_at), by=check.checked_by, passed=passed)
    for code, figures in check.figures["findings"].items():
        shares = {name: _share(figures[name], language) for name in ("sensitivity", "specificity", "ppv")}
        yield f"{code}: " + PAGE["rates"][language].format(labelled=figures["labelled"], **shares)


def _share(share: Mapping[str, float] | None, language: Language) -> str:
    if share is None:
        return PAGE["none"][language]
    value, low, high = (decimal(share[name], language) for name in ("value", "low", "high"))
    return f"{value} ({low}–{high})"

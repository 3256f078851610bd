"""What the site's word makes of a model: whether it may move the list here, and at which thresholds.

A card says what a model is, a person says what it may do.  Until somebody enables it, a model runs as a shadow; the
phantom models are enabled from the start, for what their own generator drew and nothing else: the UID root on the card
stays above everything that a site can say (`triage.may_raise`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from inference import priority
from inference.errors import EnablingRefused, RemovalRefused
from inference.urgency import most_urgent
from storage.catalog import (
    deployments,
    incidents,
    jobs,
    local_checks,
    opt_outs,
    permits,
    reports,
    results,
    stops,
    studies,
)
from storage.catalog import operating_points as points
from storage.catalog.deployments import Deployment, Mode, ModelRef, Status
from storage.catalog.refusals import Refusal
from storage.catalog.stops import EVERY, Stop
from storage.errors import CatalogueUnknown
from storage.local_time import LOCAL_TIME
from storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    from models.contract import ModelCard
    from storage.catalog.incidents import Incident
    from storage.catalog.local_checks import LocalCheck
    from storage.catalog.operating_points import SitePoint
    from storage.catalog.opt_outs import OptOut
    from storage.catalog.permits import Permit
    from storage.database import Transaction
    from storage.records import Finding, ResultId, ResultRecord, StudyUid, TriageResult

INTRODUCER: Final = "Rọi"
"""Who speaks where nobody has spoken yet."""
SITE: Final = "site"
"""The name of an operating point that the site chose."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Everything the site says of a model, for a person."""

    deployment: Deployment
    stop: Stop | None
    permits: tuple[Permit, ...]
    check: LocalCheck | None
    operating_points: Mapping[str, SitePoint]
    moves: bool
    """Whether a flag raised now would move the list."""


# ------------------------------------------------------------------------------------------------------ its standing
def introduce(tx: Transaction, cards: Sequence[ModelCard], *, now: datetime) -> None:
    """Enter the models that were not met before, where their cards put them."""
    for card in cards:
        deployments.introduce(tx, at_first(card, now=now))


def at_first(card: ModelCard, *, now: datetime) -> Deployment:
    """Return where a model stands that nobody has spoken of: a shadow, but for the phantom models."""
    phantoms = card.raises_only_uid_root is not None
    return Deployment(
        model=ref(card),
        status=Status.ENABLED if phantoms else Status.SHADOW,
        mode=Mode.PHANTOM if phantoms else None,
        check_id=None,
        since=now,
        by=INTRODUCER,
        why="moves only what its own generator drew" if phantoms else "new here",
    )


def standing(tx: Transaction, card: ModelCard, *, now: datetime) -> Standing:
    """Return everything the site says of a model."""
    kept = deployments.of(tx, card.digest) or at_first(card, now=now)
    return Standing(
        deployment=kept,
        stop=stops.of(tx, card.id),
        permits=tuple(permits.of(tx, card.digest)),
        check=local_checks.newest(tx, card.digest),
        operating_points=points.in_force(tx, card.digest),
        moves=_moves(tx, kept, now=now),
    )


def ref(card: ModelCard) -> ModelRef:
    """Return what names a card's model in the catalogue."""
    return ModelRef(id=card.id, version=card.version, digest=card.digest)


def today(now: datetime) -> date:
    """Return the day in Viet Nam."""
    return now.astimezone(LOCAL_TIME).date()


def _moves(tx: Transaction, kept: Deployment, *, now: datetime) -> bool:
    """Tell whether a model's flags move the list: enabled, on a ground that still holds."""
    if kept.status is not Status.ENABLED or kept.mode is None:
        return False
    return kept.mode is Mode.PHANTOM or permits.holding(tx, kept.model.digest, kept.mode, today=today(now)) is not None


# ------------------------------------------------------------------------------------------------------ its results
def judged_here(tx: Transaction, card: ModelCard, result: TriageResult, *, now: datetime) -> TriageResult:
    """Return a result as it counts at this site: at its own thresholds, and as a shadow unless the model is enabled.

    Which word of the site's held, and which operating point, stands in the result's provenance for ever.
    """
    kept = deployments.of(tx, card.digest) or at_first(card, now=now)
    own = points.in_force(tx, card.digest)
    judged = _at_site_points(result, own)
    used = {code: point.id for code, point in own.items() if any(each.code == code for each in result.findings)}
    word: dict[str, Any] = {"status": kept.status, "mode": kept.mode}
    if used:
        word["operating_points"] = used
    return replace(
        judged,
        raises=judged.raises and _moves(tx, kept, now=now),
        provenance={**judged.provenance, "site": word},
    )


def _at_site_points(result: TriageResult, own: Mapping[str, SitePoint]) -> TriageResult:
    """Hold each score against the site's threshold where it has one."""
    if not any(finding.code in own for finding in result.findings):
        return result
    findings = tuple(_at_site_point(finding, own.get(finding.code)) for finding in result.findings)
    urgency = most_urgent(findings)
    outcome = Outcome.NOT_FLAGGED if urgency is None else Outcome.FLAGGED
    return replace(result, findings=findings, urgency=urgency, outcome=outcome)


def _at_site_point(finding: Finding, point: SitePoint | None) -> Finding:
    if point is None:
        return finding
    positive = finding.score >= point.threshold
    return replace(finding, threshold=point.threshold, operating_point=SITE, positive=positive)


# -------------------------------------------------------------------------------------------------- a person's steps
def enable(tx: Transaction, card: ModelCard, mode: Mode, *, by: str, why: str, now: datetime) -> Deployment:
    """Let a model move the list, on a person's word.

    Raises
    ------
    EnablingRefused
        No ground for this mode is recorded, or it is over; no local check was passed; or the model's card allows it
        phantoms only.
    StepRefused
        The model is retired.
    """
    phantoms = card.raises_only_uid_root is not None
    if phantoms != (mode is Mode.PHANTOM):
        raise EnablingRefused(
            f"{card.id} was made for computer-drawn phantoms and moves nothing else: no setting changes that"
            if phantoms
            else f"{card.id} is no phantom model: say clinical or research"
        )
    check = local_checks.newest(tx, card.digest)
    if not phantoms:
        _require(tx, card, mode, check, now)
    before = _met(tx, card, now)
    check_id = check.id if check else None
    return deployments.step(tx, before, Status.ENABLED, by=by, why=why, now=now, mode=mode, check_id=check_id)


def _require(tx: Transaction, card: ModelCard, mode: Mode, check: LocalCheck | None, now: datetime) -> None:
    ground = permits.GROUNDS[mode]
    if permits.holding(tx, card.digest, mode, today=today(now)) is None:
        wanted = {
            permits.Ground.CIRCULATION: "a recorded circulation number (số lưu hành)",
            permits.Ground.RESEARCH: "a signed research statement that has not expired",
        }
        raise EnablingRefused(f"{card.id} has no ground for {mode} mode: it needs {wanted[ground]}; roi models permit")
    if check is None:
        raise EnablingRefused(f"{card.id} was not checked on studies of this site: roi models check")
    if not check.passed:
        raise EnablingRefused(f"{card.id} did not pass its last local check: {'; '.join(check.figures['refused'])}")


def shadow(tx: Transaction, card: ModelCard, *, by: str, why: str, now: datetime) -> Deployment:
    """Take a model back to the shadow: it runs and moves nothing; flags that it raised stay."""
    return deployments.step(tx, _met(tx, card, now), Status.SHADOW, by=by, why=why, now=now)


def retire(tx: Transaction, card: ModelCard, *, by: str, why: str, now: datetime) -> Deployment:
    """Take a model out of use: it gets no job, and what waits for it ends."""
    retired = deployments.step(tx, _met(tx, card, now), Status.RETIRED, by=by, why=why, now=now)
    _settle(tx, jobs.opt_out(tx, reason=Refusal.RETIRED, digest=card.digest, now=now), now)
    return retired


def remove(tx: Transaction, card: ModelCard, *, by: str, why: str, now: datetime) -> None:
    """Note that an imported model is taken away: it is retired, should it come back; what it said stays.

    Raises
    ------
    RemovalRefused
        It was not imported, it is enabled, or jobs wait for it.
    """
    if card.origin != "imported":
        raise RemovalRefused(
            f"{card.id} was not imported: it goes with what brought it; roi models retire ends its use"
        )
    before = _met(tx, card, now)
    if before.status is Status.ENABLED:
        raise RemovalRefused(f"{card.id} is enabled: roi models shadow, or roi models retire, first")
    waiting = jobs.count_open(tx, card.digest)
    if waiting:
        raise RemovalRefused(f"{card.id} has jobs that wait or run ({waiting}): roi models retire ends them")
    if before.status is not Status.RETIRED:
        deployments.step(tx, before, Status.RETIRED, by=by, why=why, now=now)
    deployments.note_removed(tx, ref(card), by=by, why=why, now=now, made_of=_made_of(card))


def _made_of(card: ModelCard) -> dict[str, str]:
    """Return what tells, once the card is gone, which files the model was."""
    source = card.source
    told = {} if source is None else {"recipe": source.recipe, "file_sha256": source.file_sha256}
    return {"weights_sha256": card.weights_sha256, **told}


def stop(tx: Transaction, model_id: str, *, by: str, why: str, now: datetime) -> int:
    """Stop a model, or `EVERY`, at once; return how many studies it was taken from.  Reading goes on."""
    stops.add(tx, Stop(model_id=model_id, at=now, by=by, why=why))
    named = None if model_id == EVERY else model_id
    met = jobs.opt_out(tx, reason=Refusal.STOPPED, model=named, now=now)
    _settle(tx, met, now)
    return len(met)


def start(tx: Transaction, model_id: str, *, by: str, why: str, now: datetime) -> bool:
    """Let a stopped model go on with what comes from now; what it was taken from stays as it is."""
    return stops.lift(tx, model_id, by=by, why=why, now=now)


def opt_out(tx: Transaction, patient_id: str, *, issuer: str, by: str, why: str, now: datetime) -> tuple[OptOut, int]:
    """Ask no model about a person any more; return the wish, and how many studies had jobs that ended with it."""
    wish = opt_outs.declare(tx, patient_id, issuer=issuer, by=by, why=why, now=now)
    met = jobs.opt_out(tx, reason=Refusal.PERSON, among=opt_outs.studies_of(tx, wish), now=now)
    _settle(tx, met, now)
    return wish, len(met)


def retract(tx: Transaction, result: ResultId, *, by: str, why: str, now: datetime) -> StudyUid:
    """Take back what a model said of a study; a raise that rested on it falls away, and its report is told anew."""
    study, news = results.retract(tx, result, by=by, why=why, now=now)
    if news:
        reports.tell_again(tx, [result])
    if news and studies.exists(tx, study):
        priority.refresh(tx, study, now=now, cause="result retracted", by=by)
    return study


def record_incident(
    tx: Transaction,
    model: str,
    installed: Iterable[ModelCard],
    *,
    result: ResultId | None,
    what: str,
    known_at: datetime,
    by: str,
    now: datetime,
) -> Incident:
    """Enter an incident with a model, also one that is no longer installed, and freeze the result that it is about.

    Raises
    ------
    CatalogueUnknown
        There is no such result, or the site never met a model of that id.
    """
    about = None if result is None else results.one(tx, result)
    met = next((ref(card) for card in installed if card.id == model), None) or deployments.last_met(tx, model)
    if met is None:
        raise CatalogueUnknown(f"no model {model} is installed, nor was one here before")
    return incidents.record(
        tx,
        model_id=met.id if about is None else about.model_id,
        model_digest=met.digest if about is None else about.model_digest,
        result_id=result,
        what=what,
        frozen={} if about is None else _frozen(about),
        known_at=known_at,
        by=by,
        now=now,
    )


def _frozen(record: ResultRecord) -> dict[str, Any]:
    """Return what has to be known of a result for ever: what was looked at by its digest, and what was said of it."""
    return {
        "revision": record.revision,
        "version": record.model_version,
        "created_at": record.created_at.isoformat(),
        "outcome": record.result.outcome,
        "reason": record.result.reason,
        "raises": record.result.raises,
        "findings": [asdict(finding) for finding in record.result.findings],
        "provenance": dict(record.result.provenance),
    }


def _met(tx: Transaction, card: ModelCard, now: datetime) -> Deployment:
    """Return where a model stands, entered if it was not met yet."""
    introduce(tx, [card], now=now)
    return deployments.of(tx, card.digest) or at_first(card, now=now)


def _settle(tx: Transaction, met: Sequence[StudyUid], now: datetime) -> None:
    for uid in met:
        studies.settle(tx, uid, now=now)

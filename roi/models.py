"""What the site says of its models, from the command line: `roi models status`, `enable`, `stop` and the others."""

from __future__ import annotations

import hashlib
import sys
from contextlib import closing, contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Table

from inference import deployment
from models import imported, registry
from models.importers.leftovers import working_in
from roi.compose import open_database
from roi.errors import SettingWrong
from roi.model_check import print_check
from storage.archive import utc_now
from storage.catalog import incidents, opt_outs, permits
from storage.catalog.deployments import Mode
from storage.catalog.permits import Ground, Permit
from storage.catalog.stops import EVERY
from storage.local_time import LOCAL_TIME
from storage.records import ResultId

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.deployment import Standing
    from roi.settings import Settings
    from storage.catalog.incidents import Incident
    from storage.database import Transaction


def status(settings: Settings, *, as_json: bool) -> None:
    """Print where each installed model stands, on whose word."""
    with _reading(settings) as tx:
        found = [
            (card, deployment.standing(tx, card, now=utc_now())) for card in registry.cards(settings.models_folder)
        ]
    if as_json:
        told = [{"id": card.id, "digest": card.digest, **_plain(stands)} for card, stands in found]
        sys.stdout.buffer.write(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
        return
    table = Table("model", "version", "digest", "status", "moves the list", "by", "since", "why")
    for card, stands in found:
        kept = stands.deployment
        going = f"{kept.status}, STOPPED" if stands.stop else str(kept.status)
        row = (f"{going} ({kept.mode})" if kept.mode else going, "yes" if stands.moves else "no", kept.by)
        table.add_row(card.id, card.version, card.digest[:12], *row, f"{kept.since:%Y-%m-%d %H:%M}", kept.why)
    Console().print(table)


def enable(settings: Settings, model: str, *, mode: str, by: str, why: str) -> None:
    """Let a model move the list: show its last local check, then take the person's word."""
    _check(by, why)
    card = registry.card(model, settings.models_folder)
    with _reading(settings) as tx:
        stands = deployment.standing(tx, card, now=utc_now())
    if stands.check is not None:
        print_check(stands.check)
    with _writing(settings) as tx:
        deployment.enable(tx, card, _mode(mode), by=by, why=why, now=utc_now())
    sys.stdout.write(f"{card.id} {card.version} is enabled, {mode}, by {by}\n")


def shadow(settings: Settings, model: str, *, by: str, why: str) -> None:
    """Take a model back to the shadow."""
    _check(by, why)
    card = registry.card(model, settings.models_folder)
    with _writing(settings) as tx:
        deployment.shadow(tx, card, by=by, why=why, now=utc_now())
    sys.stdout.write(f"{card.id} {card.version} is a shadow: it runs and moves nothing\n")


def retire(settings: Settings, model: str, *, by: str, why: str) -> None:
    """Take a model out of use."""
    _check(by, why)
    card = registry.card(model, settings.models_folder)
    with _writing(settings) as tx:
        deployment.retire(tx, card, by=by, why=why, now=utc_now())
    sys.stdout.write(f"{card.id} {card.version} is retired: it gets no job\n")


def remove(settings: Settings, model: str, *, by: str, why: str) -> None:
    """Take an imported model away; asked again where that was killed, it takes away what is left."""
    _check(by, why)
    card, folder = registry.card(model, settings.models_folder), settings.models_folder
    with _writing(settings) as tx:
        deployment.remove(tx, card, by=by, why=why, now=utc_now())
    with working_in(folder):
        imported.withdraw(folder, card.id)
    sys.stdout.write(
        f"{card.id} {card.version} is removed; its results stay. API and workers know it until their next start.\n"
    )


def stop(settings: Settings, model: str | None, *, by: str, why: str) -> None:
    """Stop a model, or all, at once."""
    _check(by, why)
    named = EVERY if model is None else registry.card(model, settings.models_folder).id
    with _writing(settings) as tx:
        met = deployment.stop(tx, named, by=by, why=why, now=utc_now())
    sys.stdout.write(f"{_named(named)} stopped; taken from {met} studies, which are read without\n")


def start(settings: Settings, model: str | None, *, by: str, why: str) -> None:
    """Let a model, or all, go on."""
    _check(by, why)
    named = EVERY if model is None else registry.card(model, settings.models_folder).id
    with _writing(settings) as tx:
        was = deployment.start(tx, named, by=by, why=why, now=utc_now())
    if not was:
        raise SettingWrong(f"{_named(named)} not stopped")
    sys.stdout.write(f"{_named(named)} started, with what comes from now\n")


def retract(settings: Settings, result: str, *, by: str, why: str) -> None:
    """Take a result back."""
    _check(by, why)
    with _writing(settings) as tx:
        study = deployment.retract(tx, ResultId(result), by=by, why=why, now=utc_now())
    sys.stdout.write(f"result {result} is retracted, of study {study}\n")


def permit(
    settings: Settings,
    model: str,
    *,
    number: str | None,
    statement: Path | None,
    signed_by: str,
    signed_on: str,
    expires_on: str | None,
    by: str,
) -> None:
    """Record a model's circulation number, or the signed statement that stands in for one."""
    _check(by, signed_on)
    if (number is None) == (statement is None):
        raise SettingWrong("say either --circulation-number or --statement FILE")
    card = registry.card(model, settings.models_folder)
    made = Permit(
        model_digest=card.digest,
        kind=Ground.CIRCULATION if statement is None else Ground.RESEARCH,
        number=number or "",
        statement_sha256=None if statement is None else hashlib.sha256(statement.read_bytes()).hexdigest(),
        signed_by=signed_by,
        signed_on=_day(signed_on),
        expires_on=None if expires_on is None else _day(expires_on),
        recorded_at=utc_now(),
        recorded_by=by,
    )
    with _writing(settings) as tx:
        permits.record(tx, made)
    sys.stdout.write(f"recorded for {card.id} {card.version}: {made.kind}\n")


# ---------------------------------------------------------------------------------------------------------- opt-outs
def declare_opt_out(settings: Settings, patient_id: str, *, issuer: str, by: str, why: str) -> None:
    """Ask no model about a person any more."""
    _check(by, why)
    with _writing(settings) as tx:
        wish, met = deployment.opt_out(tx, patient_id, issuer=issuer, by=by, why=why, now=utc_now())
    sys.stdout.write(f"opt-out {wish.id} stands; {met} studies had jobs that ended with it\n")


def end_opt_out(settings: Settings, row_id: int, *, by: str, why: str) -> None:
    """Take a person's wish back."""
    _check(by, why)
    with _writing(settings) as tx:
        if not opt_outs.end(tx, row_id, by=by, why=why, now=utc_now()):
            raise SettingWrong(f"opt-out {row_id} does not stand")
    sys.stdout.write(f"opt-out {row_id} stands no longer, for what comes from now\n")


def list_opt_outs(settings: Settings) -> None:
    """Print whose images no model may look at."""
    table = Table("opt-out", "Patient ID", "issuer", "since", "declared by", "why")
    with _reading(settings) as tx:
        for wish in opt_outs.every(tx):
            since = f"{wish.since:%Y-%m-%d %H:%M}"
            table.add_row(str(wish.id), wish.patient_id, wish.issuer_of_patient_id, since, wish.by, wish.why)
    Console().print(table)


# ---------------------------------------------------------------------------------------------------------- incidents
def record_incident(
    settings: Settings, model: str, *, result: str | None, what: str, known_at: str | None, by: str
) -> None:
    """Record an incident, and print by when whom has to be told."""
    _check(by, what)
    cards, now = registry.cards(settings.models_folder), utc_now()
    about = None if result is None else ResultId(result)
    known = now if known_at is None else _moment(known_at)
    if known > now:
        raise SettingWrong("--known-at lies in the future")
    with _writing(settings) as tx:
        made = deployment.record_incident(tx, model, cards, result=about, what=what, known_at=known, by=by, now=now)
    sys.stdout.write(f"incident {made.id} of {made.model_id}\n")
    _tell_duties(made, now)


def note_incident(settings: Settings, incident: str, *, done: str, by: str) -> None:
    """Note that a duty of an incident was done."""
    _check(by, done)
    with _writing(settings) as tx:
        incidents.note_done(tx, incident, done, by=by, now=utc_now())
    sys.stdout.write(f"{done} of incident {incident} is done, says {by}\n")


def list_incidents(settings: Settings) -> None:
    """Print all incidents with what is due when."""
    with _reading(settings) as tx:
        found = incidents.every(tx)
    for each in found:
        sys.stdout.write(f"incident {each.id} of {each.model_id}, known {_local(each.known_at)}: {each.what}\n")
        _tell_duties(each, utc_now())


def _tell_duties(incident: Incident, now: datetime) -> None:
    for duty in incident.duties(now=now):
        done = "" if duty.done_at is None else f", done {_local(duty.done_at)} by {duty.done_by}"
        late = ", OVERDUE" if duty.overdue else ""
        sys.stdout.write(f"  {duty.name}: {_local(duty.due_at)}{done}{late}\n")


# ------------------------------------------------------------------------------------------------------------- words
def _local(at: datetime) -> str:
    return f"{at.astimezone(LOCAL_TIME):%Y-%m-%d %H:%M} (+07)"


def _moment(text: str) -> datetime:
    try:
        told = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingWrong(f"{text!r} is no moment: write it as 2026-03-01T08:00") from error
    return told if told.tzinfo else told.replace(tzinfo=LOCAL_TIME)


@contextmanager
def _writing(settings: Settings) -> Iterator[Transaction]:
    with closing(open_database(settings)) as database, database.write() as tx:
        yield tx


@contextmanager
def _reading(settings: Settings) -> Iterator[Transaction]:
    with closing(open_database(settings)) as database, database.read() as tx:
        yield tx


def _check(by: str, why: str) -> None:
    if not by.strip() or not why.strip():
        raise SettingWrong("--by and --why say who decides and why; neither may be empty")


def _mode(mode: str) -> Mode:
    try:
        return Mode(mode)
    except ValueError as error:
        raise SettingWrong(f"--mode is one of {', '.join(Mode)}") from error


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise SettingWrong(f"{text!r} is no day: write it as 2026-03-01") from error


def _named(model_id: str) -> str:
    return "every model is" if model_id == EVERY else f"{model_id} is"


def _plain(stands: Standing) -> dict[str, object]:
    return {name: getattr(stands, name) for name in type(stands).__slots__}

"""A result reproduced, from the command line: `roi rerun`."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Table

from inference import rerun as again
from inference.rerun import Agreement
from models import registry, runtime
from roi.compose import open_archive
from storage.records import ResultId

if TYPE_CHECKING:
    from inference.rerun import Comparison, Subject
    from roi.settings import Settings


def rerun(settings: Settings, result: str, *, compare: bool, as_json: bool) -> None:
    """Reproduce a result and say how near it came; exit code 1 where it is another."""
    by_digest = {card.digest: card for card in registry.cards(settings.models_folder)}
    with closing(open_archive(settings)) as archive:
        with archive.database.read() as tx:
            subject = again.find(tx, ResultId(result), by_digest.get)
            archive.check_readable(tx, subject.instances)
        device = registry.device()
        runtime.use_threads(subject.threads)
        facts = {"device": device, "threads": subject.threads, **runtime.versions()}
        found = again.run(
            subject, registry.load(subject.card, device, settings.models_folder), archive.objects, runtime=facts
        )
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(asdict(found)) + b"\n")
    else:
        _print(subject, found, every=compare)
    if found.agreement is Agreement.DIFFERS:
        sys.exit(1)


def _print(subject: Subject, found: Comparison, *, every: bool) -> None:
    console = Console()
    card = subject.card
    console.print(f"{card.id} {card.version} on {len(subject.instances)} images: {found.agreement}")
    if found.agreement is not Agreement.EQUAL:
        console.print(f"largest difference of a score {found.largest:.3g}, the card's bound is {found.bound:g}")
    conditions = ", ".join(f"{name} {then} then, {now} now" for name, (then, now) in found.conditions.items())
    console.print(f"other conditions: {conditions}" if conditions else "same build, threads and batches")
    if every:
        console.print(_table(found))
    console.print(card.label_en)


def _table(found: Comparison) -> Table:
    table = Table("", "then", "now")
    table.add_row("outcome", *found.outcome)
    table.add_row("reason", *(reason or "" for reason in found.reason))
    for code, scores in found.scores.items():
        table.add_row(code, *("" if score is None else repr(score) for score in scores))
    return table

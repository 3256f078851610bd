"""How a model does at this site, from the command line: `roi models report`."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Table

from inference import monitoring
from models import registry
from roi.compose import open_database
from storage.archive import utc_now
from storage.catalog import cases

if TYPE_CHECKING:
    from inference.local_check import Share
    from inference.monitoring import Drift, Report
    from roi.settings import Settings


def report(settings: Settings, model: str, *, weeks: int, as_json: bool) -> None:
    """Print what a model did week by week on each scanner, and what drifted; exit code 1 where anything did."""
    card, now = registry.card(model, settings.models_folder), utc_now()
    since = now - max(timedelta(weeks=weeks), monitoring.WINDOW + monitoring.BASE)
    with closing(open_database(settings)) as database, database.read() as tx:
        seen = cases.of_model(tx, card.digest, since=since)
        found = monitoring.report(card, seen, cases.verdicts(tx, card.digest), now=now, weeks=weeks)
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    else:
        _print(found)
    if any(each.alarm for each in found.drift):
        sys.exit(1)


def _print(found: Report) -> None:
    table = Table("week of", "scanner", "asked", "analysed", "flagged", "PPV, of flags judged")
    for week in found.weeks:
        worth = "\n".join(f"{code} {_share(share)}" for code, share in week.ppv.items() if share)
        scanner = f"{week.manufacturer} {week.station}".strip() or "not said"
        told = (str(week.asked), _share(week.analysed), _share(week.flagged), worth or "no verdict")
        table.add_row(f"{week.begins:%Y-%m-%d}", scanner, *told)
    console = Console()
    console.print(table)
    for each in found.drift:
        console.print(f"{each.signal}: {_drift(each)}", soft_wrap=True)


def _drift(found: Drift) -> str:
    if found.psi is None or found.limit is None:
        return f"{found.cases} cases, {found.base_cases} in the base: too few to say"
    word = "DRIFT" if found.alarm else "steady"
    return f"{word}, PSI {found.psi:.2f} (limit {found.limit:.2f}; {found.cases} cases, {found.base_cases} in the base)"


def _share(share: Share | None) -> str:
    return "-" if share is None else f"{share.value:.2f}\n({share.low:.2f} to {share.high:.2f})"

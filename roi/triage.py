"""What a model's flags would do at this site, from the command line: `roi triage simulate`."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Table

from api.page_texts.expectation import PARTS_OF_THE_ILL, WHO_WAITS
from inference import targets
from inference.expectation import expect
from inference.inquiry import Inquiry, finding_of, site_of, told
from inference.site import Expectation, Site
from models import registry
from roi.compose import open_database
from storage.archive import utc_now
from storage.catalog import flow

if TYPE_CHECKING:
    from datetime import datetime

    from inference.targets import Targets
    from models.contract import FindingSpec, ModelCard
    from roi.settings import Settings
    from storage.catalog.flow import Ready


def simulate(settings: Settings, inquiry: Inquiry, *, as_json: bool) -> None:
    """Print what the flags of one finding of a model would do here."""
    card = registry.card(inquiry.model, settings.models_folder)
    finding = finding_of(card, inquiry.finding)
    now = utc_now()
    site = site_of(
        inquiry,
        card,
        targets=targets_here(settings),
        arrivals=partial(ready_since, settings),
        now=now,
        zone=now.astimezone().tzinfo or UTC,
    )
    sensitivity, specificity = told(inquiry, finding)
    found = expect(site, sensitivity=sensitivity, specificity=specificity, seed=inquiry.seed)
    if as_json:
        sys.stdout.write(
            orjson.dumps({"site": asdict(site), **asdict(found)}, option=orjson.OPT_INDENT_2).decode() + "\n"
        )
    else:
        _print(card, finding, site, found)


def targets_here(settings: Settings) -> Targets:
    """Return the targets of this site."""
    with closing(open_database(settings)) as database, database.read() as tx:
        return targets.current(tx)


def ready_since(settings: Settings, since: datetime) -> list[Ready]:
    """Return what became ready for reading in this archive since a moment."""
    with closing(open_database(settings)) as database, database.read() as tx:
        return flow.ready_since(tx, since)


def _print(card: ModelCard, finding: FindingSpec, site: Site, found: Expectation) -> None:
    console = Console()
    console.print(f"{finding.name_en} / {finding.name_vi}: {card.id} {card.version}. {card.label_en}")
    console.print(
        f"{found.studies_a_week:.0f} studies a week, {site.readers} reader(s), {site.reading_min:g} min a study: "
        f"{100 * found.traffic:.0f} % of their time. Flagged studies are due {site.head_start_min:.0f} min earlier: "
        "nobody is overtaken by a study that became ready later by more than that."
    )
    right, false, missed = 100 * found.ppv, found.false_flags_a_week, found.missed_a_week
    console.print(
        f"Of its flags {right:.0f} % are right (PPV): {found.flags_a_week:.1f} a week, {false:.1f} of them false; "
        f"{missed:.1f} ill a week without a flag."
    )
    console.print(
        f"Trong số cảnh báo, {right:.0f} % là đúng (PPV): mỗi tuần {false:.1f} cảnh báo nhầm, "
        f"{missed:.1f} ca bệnh không được cảnh báo."
    )
    console.print(_table(found))
    if found.steady is not None:
        console.print(
            "In theory, were the load steady and flags always first: "
            f"{found.steady.gained:.1f} min gained by the ill, {found.steady.lost:.1f} min lost by others."
        )


def _table(found: Expectation) -> Table:
    """Lay out who gains and who loses; means, with the 95th percentile in brackets."""
    table = Table(title="Minutes until reading begins / Số phút chờ đọc: mean (p95)", title_justify="left")
    table.add_column("who waits / ai chờ", no_wrap=True)
    for column in ("share", "by arrival", "by due date", "change"):
        table.add_column(column, justify="right", no_wrap=True)
    for line in found.lines:
        low, high = line.change_interval
        table.add_row(
            _name(line.group),
            f"{100 * line.share:.1f} %",
            f"{line.fifo_mean:.1f} ({line.fifo_p95:.0f})",
            f"{line.mean:.1f} ({line.p95:.0f})",
            f"{line.change:+.1f}\n{low:+.1f} to {high:+.1f}",
        )
    return table


def _name(group: str) -> str:
    name, indent = WHO_WAITS[group], "  " if group in PARTS_OF_THE_ILL else ""
    return f"{indent}{name.en}\n{indent}{name.vi}"

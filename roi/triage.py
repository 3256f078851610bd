"""What a model's flags would do at this site, from the command line: `roi triage simulate`."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import orjson
from rich.console import Console
from rich.table import Table

from inference.expectation import HOURS_A_WEEK, Expectation, Site, expect, hourly_means
from inference.priority import AI_TARGETS, TARGETS
from models import registry
from roi.compose import open_database
from roi.errors import SettingWrong
from storage.archive import utc_now
from storage.catalog import flow
from storage.records import OrderPriority

if TYPE_CHECKING:
    from models.contract import FindingSpec, ModelCard
    from roi.settings import Settings

_NAMES: Final = {
    "all": ("all", "tất cả"),
    "ill": ("with the finding", "có tổn thương"),
    "ill and flagged": ("  found by the model", "  được mô hình phát hiện"),
    "ill and missed": ("  missed by the model", "  bị mô hình bỏ sót"),
    "flagged by mistake": ("flagged by mistake", "cảnh báo nhầm"),
    "all others": ("all others", "các ca còn lại"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the person at the command line said; `sensitivity` and `specificity` None for those of the card."""

    model: str
    finding: str | None
    prevalence: float
    readers: int
    reading_min: float
    days: int
    traffic: float | None
    eligible: float | None
    sensitivity: float | None
    specificity: float | None
    seed: int


def simulate(settings: Settings, asked: Asked, *, as_json: bool) -> None:
    """Print what the flags of one finding of a model would do here."""
    card = registry.card(asked.model, settings.models_folder)
    finding = _finding(card, asked.finding)
    site = _site(settings, card, finding, asked)
    point = finding.operating_point
    sensitivity = point.sensitivity if asked.sensitivity is None else asked.sensitivity
    specificity = point.specificity if asked.specificity is None else asked.specificity
    if sensitivity is None or specificity is None:
        raise SettingWrong(f"nobody measured {card.id}; say what you expect with --sensitivity and --specificity")
    found = expect(site, sensitivity=sensitivity, specificity=specificity, seed=asked.seed)
    if as_json:
        sys.stdout.write(
            orjson.dumps({"site": asdict(site), **asdict(found)}, option=orjson.OPT_INDENT_2).decode() + "\n"
        )
    else:
        _print(card, finding, site, found)


def _finding(card: ModelCard, code: str | None) -> FindingSpec:
    codes = [finding.code for finding in card.findings]
    if code is not None and code not in codes:
        raise SettingWrong(f"{card.id} does not look for {code}: expected one of {', '.join(codes)}")
    return card.findings[codes.index(code) if code else 0]


def _site(settings: Settings, card: ModelCard, finding: FindingSpec, asked: Asked) -> Site:
    target = AI_TARGETS.get(finding.urgency, TARGETS[OrderPriority.ROUTINE])
    head_start_min = (TARGETS[OrderPriority.ROUTINE] - target).total_seconds() / 60
    hourly, eligible = _given(asked) if asked.traffic is not None else _seen(settings, card, asked.days)
    return Site(
        readers=asked.readers,
        reading_min=asked.reading_min,
        hourly=hourly,
        eligible=eligible if asked.eligible is None else asked.eligible,
        prevalence=asked.prevalence,
        head_start_min=head_start_min,
    )


def _given(asked: Asked) -> tuple[tuple[float, ...], float]:
    """Give a steady load, of which the model looks at everything."""
    hourly = (asked.traffic or 0.0) * asked.readers * 60 / asked.reading_min
    return (hourly,) * HOURS_A_WEEK, 1.0


def _seen(settings: Settings, card: ModelCard, days: int) -> tuple[tuple[float, ...], float]:
    """Give the archive's own arrivals, and the share of them that is of a modality that the model looks at."""
    until = utc_now()
    since = until - timedelta(days=days)
    with closing(open_database(settings)) as database, database.read() as tx:
        ready = flow.ready_since(tx, since)
    if not ready:
        raise SettingWrong(f"no study became ready in the last {days} days: say --traffic, or more --days")
    looked_at = sum(not set(card.input_rules.modalities).isdisjoint(study.modalities.split("\\")) for study in ready)
    zone = datetime.now().astimezone().tzinfo
    began = max(since, ready[0].at)  # a young archive has fewer weeks than were asked for
    weeks = max((until - began).total_seconds(), 7 * 24 * 3600.0)
    hourly = hourly_means(ready, since=until - timedelta(seconds=weeks), until=until, zone=zone or until.tzinfo)  # type: ignore[arg-type]
    return hourly, looked_at / len(ready)


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
            "\n".join(_NAMES[line.group]),
            f"{100 * line.share:.1f} %",
            f"{line.fifo_mean:.1f} ({line.fifo_p95:.0f})",
            f"{line.mean:.1f} ({line.p95:.0f})",
            f"{line.change:+.1f}\n{low:+.1f} to {high:+.1f}",
        )
    return table

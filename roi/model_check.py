"""A model held against a site's own labelled studies, from the command line: `roi models check` and `threshold`."""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from contextlib import closing
from dataclasses import asdict
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
from rich.console import Console
from rich.table import Table

from inference import local_check
from inference.errors import InquiryRejected, NothingToExpect
from inference.expectation import expect
from inference.inquiry import Inquiry, site_of
from inference.local_check import Wanted
from models import registry
from roi.compose import open_database
from roi.errors import SettingWrong
from roi.triage import ready_since, targets_here
from storage.archive import utc_now
from storage.catalog import cases, local_checks
from storage.catalog import operating_points as points

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inference.local_check import Rule
    from models.contract import FindingSpec, ModelCard
    from roi.settings import Settings
    from storage.catalog.local_checks import LocalCheck

COLUMNS: Final = ("study", "finding", "truth")
_TRUTHS: Final = {"1": True, "0": False, "yes": True, "no": False, "true": True, "false": False}

Truths = dict[str, dict[str, bool]]


def check(
    settings: Settings,
    model: str,
    *,
    labels: Path,
    by: str,
    wanted: Wanted,
    readers: int,
    minutes: float,
    as_json: bool,
) -> None:
    """Check a model on labelled studies, keep and print what was found; exit code 1 where it is refused."""
    if not by.strip():
        raise SettingWrong("--by says who checks it; it may not be empty")
    card = registry.card(model, settings.models_folder)
    truths = read_labels(labels, card)
    with closing(open_database(settings)) as database, database.read() as tx:
        found = local_check.check(
            card,
            cases.of_model(tx, card.digest),
            truths,
            cases.verdicts(tx, card.digest),
            points.in_force(tx, card.digest),
            wanted=wanted,
        )
    for spec in local_check.moving(card):
        figures = found["findings"][spec.code]
        figures["minutes"] = _minutes(settings, card, spec, figures, readers=readers, minutes=minutes)
    with closing(open_database(settings)) as database, database.write() as tx:
        kept = local_checks.add(tx, card.digest, found, passed=not found["refused"], by=by, now=utc_now())
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(kept, option=orjson.OPT_INDENT_2) + b"\n")
    else:
        print_check(kept)
    if not kept.passed:
        sys.exit(1)


def choose_threshold(
    settings: Settings, model: str, *, finding: str, labels: Path, rule: str, target: float, half_width: float, by: str
) -> None:
    """Choose this site's threshold for a finding on its labelled scores, and put it in force."""
    if rule not in {"sensitivity", "specificity"}:
        raise SettingWrong("--rule is sensitivity or specificity")
    card = registry.card(model, settings.models_folder)
    truths = read_labels(labels, card)
    if finding not in {spec.code for spec in card.findings}:
        raise SettingWrong(f"{card.id} does not look for {finding}")
    with closing(open_database(settings)) as database, database.write() as tx:
        known = local_check.labelled(cases.of_model(tx, card.digest), truths.get(finding, {}), finding, 0.0)
        threshold, figures = local_check.choose_point(known, cast("Rule", rule), target, half_width=half_width)
        point = points.choose(tx, card.digest, finding, threshold, figures=figures, by=by, now=utc_now())
    told = ", ".join(f"{name} {_share(figures[name])}" for name in ("sensitivity", "specificity"))
    sys.stdout.write(f"operating point {point.id}: {finding} at {threshold:.4f}; {told}; the card stays as it is\n")


def end_threshold(settings: Settings, model: str, *, finding: str, by: str, why: str) -> None:
    """Go back to the card's own threshold."""
    card = registry.card(model, settings.models_folder)
    with closing(open_database(settings)) as database, database.write() as tx:
        if not points.end(tx, card.digest, finding, by=by, why=why, now=utc_now()):
            raise SettingWrong(f"this site has no threshold of its own for {finding} of {card.id}")
    sys.stdout.write(f"{card.id} judges {finding} at its card's own threshold again\n")


def read_labels(path: Path, card: ModelCard) -> Truths:
    """Read who has what: a CSV file with the columns study, finding and truth.

    Raises
    ------
    SettingWrong
        A line does not say what it must; the message has its number.
    """
    codes = {spec.code for spec in card.findings}
    truths: Truths = defaultdict(dict)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines)
        if not set(COLUMNS) <= set(rows.fieldnames or ()):
            raise SettingWrong(f"{path.name} has no columns {', '.join(COLUMNS)}")
        for row in rows:
            study, finding, truth = ((row[name] or "").strip() for name in COLUMNS)
            if finding not in codes:
                raise SettingWrong(f"{path.name}, line {rows.line_num}: {card.id} looks for {', '.join(sorted(codes))}")
            if truth.lower() not in _TRUTHS:
                raise SettingWrong(f"{path.name}, line {rows.line_num}: a truth is one of {', '.join(_TRUTHS)}")
            if truths[finding].setdefault(study, _TRUTHS[truth.lower()]) is not _TRUTHS[truth.lower()]:
                raise SettingWrong(f"{path.name}, line {rows.line_num}: this study was labelled otherwise above")
    return truths


def _minutes(
    settings: Settings, card: ModelCard, spec: FindingSpec, figures: Mapping[str, Any], *, readers: int, minutes: float
) -> dict[str, Any]:
    """Return what flags of this sensitivity and specificity would do to those who wait here, or why nobody knows."""
    found, spared = figures["sensitivity"], figures["specificity"]
    if not found or not spared:
        return {"unknown": "sensitivity or specificity is not known"}
    inquiry = Inquiry(
        model=card.id,
        finding=spec.code,
        prevalence=figures["positives"] / figures["labelled"],
        readers=readers,
        reading_min=minutes,
    )
    now = utc_now()
    try:
        site = site_of(
            inquiry,
            card,
            targets=targets_here(settings),
            arrivals=partial(ready_since, settings),
            now=now,
            zone=now.astimezone().tzinfo or UTC,
        )
        expected = expect(site, sensitivity=found["value"], specificity=spared["value"])
    except (InquiryRejected, NothingToExpect) as error:
        return {"unknown": str(error)}
    return {"traffic": expected.traffic, "lines": [asdict(line) for line in expected.lines]}


# -------------------------------------------------------------------------------------------------------------- table
def print_check(check: LocalCheck) -> None:
    """Print what a check found, and why it was refused, if it was."""
    console = Console()
    say = partial(console.print, soft_wrap=True)
    answered = check.figures["share_analysed"]
    say(f"Checked {check.checked_at:%Y-%m-%d %H:%M} UTC by {check.checked_by}; analysed {_share(answered)}")
    for code, figures in check.figures["findings"].items():
        console.print(_table(code, figures))
        error = "unknown" if figures["ece"] is None else f"{figures['ece']:.3f}"
        say(
            f"  PPV {_share(figures['ppv'])}, with {figures['verdicts']} verdicts of readers; calibration error {error}"
        )
        minutes = figures.get("minutes", {})
        for line in minutes.get("lines", ()):
            console.print(
                f"  {line['group']}: {line['change']:+.1f} min, {100 * line['share']:.1f} % of those who wait"
            )
        if "unknown" in minutes:
            say(f"  minutes not known: {minutes['unknown']}")
    for why in check.figures["refused"]:
        say(f"REFUSED: {why}")
    say("passed" if check.passed else "not passed: the model stays as it is")


def _table(code: str, figures: Mapping[str, Any]) -> Table:
    table = Table(title=f"{code} at {figures['threshold']:.4f}", title_justify="left")
    for column in ("who", "cases", "with it", "sensitivity", "specificity"):
        table.add_column(column)
    for each in ({"group": "all", "value": "of them", **figures}, *figures["subgroups"]):
        who = f"{each['group']} {each['value'] or 'not said'}"
        rates = (_share(each[name]).replace(" (", "\n(") for name in ("sensitivity", "specificity"))
        table.add_row(who, str(each["labelled"]), str(each["positives"]), *rates)
    return table


def _share(share: Mapping[str, Any] | None) -> str:
    return "unknown" if share is None else f"{share['value']:.2f} ({share['low']:.2f} to {share['high']:.2f})"

"""The ingest table on the screen, as JSON, and on the documentation page."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from benchmarks.workloads import Figures, Workload

BEGIN = "<!-- table: made by python -m benchmarks.ingest --docs -->"
END = "<!-- end of the table -->"
QUERIES = ("<!-- queries: made by python -m benchmarks.query --docs -->", "<!-- end of the queries -->")
"""The marks of the other table on the page."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One row group, measured."""

    workload: Workload
    figures: Mapping[str, Figures]
    """By the contestant's key."""
    absent: Mapping[str, str]
    """Contestants that could not run here, and why."""
    seconds: float
    """What measuring it took."""

    def verdicts(self) -> list[tuple[str, str, float | None, bool | None]]:
        """Return each goal as what is compared, bound, value, met; None where it was not measured."""
        found = []
        for goal in self.workload.goals:
            value = goal.value(self.figures)
            what = goal.figure if goal.theirs is None else f"{goal.figure}, {goal.ours} / {goal.theirs}"
            found.append((what, goal.bound, value, None if value is None else goal.met(value)))
        return found


def machine() -> dict[str, object]:
    """Return what the figures depend on besides the code."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit.stdout.strip() or "unknown",
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def as_json(outcomes: Sequence[Outcome], where: Mapping[str, object]) -> dict[str, object]:
    """Return everything, for a file."""
    return {
        "machine": dict(where),
        "rows": [
            {
                "name": outcome.workload.name,
                "title": outcome.workload.title,
                "client": outcome.workload.client,
                "figures": {key: asdict(figures) for key, figures in outcome.figures.items()},
                "goals": [
                    dict(zip(("what", "bound", "value", "met"), verdict, strict=True)) for verdict in outcome.verdicts()
                ],
                "absent": dict(outcome.absent),
                "seconds": round(outcome.seconds, 1),
            }
            for outcome in outcomes
        ],
    }


_HEADS = ("server", "inst/s", "range", "MB/s", "CPU ms", "peak MB", "largest", "p50 ms", "p99 ms", "others")


def _cells(figures: Figures) -> tuple[str, ...]:
    low, high = figures.instances_per_s_range
    latency = ["-" if value is None else f"{value:.2f}" for value in (figures.store_ms_p50, figures.store_ms_p99)]
    return (
        figures.server,
        _short(figures.instances_per_s),
        f"{_short(low)}-{_short(high)}",
        f"{figures.mb_per_s:.0f}",
        f"{figures.cpu_ms:.2f}",
        _megabytes(figures.peak_mb),
        _megabytes(figures.peak_process_mb),
        *latency,
        "-" if figures.others is None else f"{figures.others:.0%}",
    )


def _short(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}"


def _megabytes(value: float) -> str:
    return f"{value:.0f}" if value else "-"


def on_screen(outcome: Outcome) -> Table:
    """Lay one row group out, its goals below."""
    shown = Table(title=f"{outcome.workload.title} ({outcome.workload.client})", title_justify="left")
    for head in _HEADS:
        shown.add_column(head, justify="left" if head == "server" else "right", no_wrap=head != "server")
    for figures in outcome.figures.values():
        shown.add_row(*_cells(figures))
    lines = [f"{what}: {_value(value)}, goal {bound}: {_word(met)}" for what, bound, value, met in outcome.verdicts()]
    lines += [f"without {key}: {why}" for key, why in outcome.absent.items()]
    shown.caption = "\n".join([*lines, f"measured in {outcome.seconds:.0f} s"])
    shown.caption_justify = "left"
    return shown


def _value(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}" if value < 20 else f"{value:.0f}"


def _word(met: bool | None) -> str:
    return {None: "-", True: "met", False: "NOT MET"}[met]


def on_page(outcomes: Sequence[Outcome], where: Mapping[str, object]) -> str:
    """Return the table as Markdown."""
    everybody = [figures for outcome in outcomes for figures in outcome.figures.values()]
    rounds = min((figures.rounds for figures in everybody), default=0)
    others = max((figures.others for figures in everybody if figures.others is not None), default=0.0)
    measured = (
        f"Measured on {where['date']} at {where['commit']}: {where['processor']}, {where['cores']} cores, "
        f"Linux {where['kernel']}, Python {where['python']}; medians of {rounds} alternating rounds; "
        f"others used at most {others:.0%} of the machine."
    )
    lines = [measured, "", "| workload | compared | goal | measured | |", "| --- | --- | --- | --- | --- |"]
    for outcome in outcomes:
        for what, bound, value, met in outcome.verdicts():
            lines.append(f"| {outcome.workload.title} | {what} | {bound} | {_value(value)} | {_word(met)} |")
    for outcome in outcomes:
        lines += ["", f"**{outcome.workload.title}** ({outcome.workload.client})", ""]
        lines += ["| " + " | ".join(_HEADS) + " |", "| --- |" + " ---: |" * (len(_HEADS) - 1)]
        lines += ["| " + " | ".join(_cells(figures)) + " |" for figures in outcome.figures.values()]
        lines += ["", *(f"Without {key}: {why}." for key, why in outcome.absent.items())]
    promises = {each.server: each.promise for each in everybody}
    lines += ["", "Before Success:", "", *(f"- {name}: {what}" for name, what in promises.items())]
    return "\n".join(lines)


def write_page(page: Path, table: str, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Put a table between its two marks on the page.

    Raises
    ------
    ValueError
        The page has not each mark once.
    """
    text = page.read_text(encoding="utf-8")
    begin, end = marks
    if (text.count(begin), text.count(end)) != (1, 1):
        raise ValueError(f"{page} must have the line {begin} and the line {end} once each")
    before, rest = text.split(begin)
    page.write_text(f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")

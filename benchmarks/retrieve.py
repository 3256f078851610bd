"""The retrieval table: ours beside Orthanc, in the same run.

Rounds alternate between the contestants.  In each, a contestant takes the corpora in, is ended, and is asked by clients
that cost next to nothing once it runs anew: what comes first meets a server that has nothing in its memory.  Every
answer is held against what was sent, else there is no figure.

    python -m benchmarks.retrieve --orthanc-chroot FOLDER --work FOLDER --json result.json
    python -m benchmarks.retrieve --small
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import retrieving
from benchmarks.corpora import make_corpus, make_multiframe
from benchmarks.holders import Holder, holders
from benchmarks.orthanc import installed_orthanc, make_chroot
from benchmarks.peers import MissingError
from benchmarks.report import machine, write_page
from benchmarks.retrieving import Held, Measured
from benchmarks.sender import SendError
from tests.servers import minio
from tests.servers.process import ServerError

MARKS = ("<!-- table: made by python -m benchmarks.retrieve --docs -->", "<!-- end of the retrieval table -->")
_PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
_FRAMES = 172
_FRAMES_SMALL = 4


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A bound on a figure of ours, or on its ratio to Orthanc's in the same rounds."""

    figure: str
    ours: str = "roi"
    of_orthanc: bool = True
    at_least: float | None = None
    at_most: float | None = None

    def value(self, figures: Mapping[str, Mapping[str, float]]) -> float | None:
        """Return the figure or ratio; None where a contestant did not run."""
        own = figures.get(self.ours, {}).get(self.figure)
        if own is None or not self.of_orthanc:
            return own
        theirs = figures.get("orthanc", {}).get(self.figure)
        return own / theirs if theirs else None

    def met(self, value: float) -> bool:
        """Tell whether the value is within the bounds."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    @property
    def what(self) -> str:
        """What is bounded, to be read."""
        ratio = f", {self.ours} / orthanc" if self.of_orthanc else f", {self.ours}"
        bound = f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"
        return f"{self.figure}{ratio} {bound}"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One row group of the table."""

    title: str
    ask: Callable[[Held], Measured]
    goals: Sequence[Goal] = ()
    has_floor: bool = False
    """Whether something can be asked that knows nothing of studies but their files."""


_STUDY_GOALS = (
    Goal(figure="MB/s", at_least=1.8),
    Goal(figure="CPU ms/MB", at_most=0.5),
    Goal(figure="peak MB", at_most=0.25),
)
_FRAME_GOALS = tuple(
    Goal(figure=figure, ours=ours, of_orthanc=False, at_most=most)
    for ours in ("roi", "roi-s3")
    for figure, most in (("ms p95", 15.0), ("read/frame", 1.1))
)
TASKS = (
    Task(
        title="series metadata of 600 slices, as a browser asks (gzip)",
        ask=partial(retrieving.metadata, encoding="gzip"),
        goals=(Goal(figure="first ms", at_most=1 / 20), Goal(figure="again ms", at_most=1 / 5)),
    ),
    Task(
        title="series metadata of 600 slices, uncompressed",
        ask=partial(retrieving.metadata, encoding="identity"),
    ),
    Task(title="first frame of slices of a 600-slice CT", ask=retrieving.frames_of_series, goals=_FRAME_GOALS),
    Task(title="first frame of a 90 MB multi-frame", ask=retrieving.frame_of_multiframe, goals=_FRAME_GOALS),
    Task(
        title="WADO-RS study of 320 MB, 1 client",
        ask=partial(retrieving.study, clients=1),
        goals=_STUDY_GOALS,
        has_floor=True,
    ),
    Task(
        title="WADO-RS study of 320 MB, 4 clients",
        ask=partial(retrieving.study, clients=4),
        goals=_STUDY_GOALS,
        has_floor=True,
    ),
)
"""In the order in which they are asked: what must be first comes first."""

Figures = Mapping[str, Mapping[str, float]]
"""Contestant -> figure -> value."""


def summarise(runs: Sequence[Measured]) -> dict[str, float]:
    """Return the medians over rounds; of times that were taken one by one the median and the 95th percentile."""
    together: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for name, values in run.items():
            together[name] += values
    found: dict[str, float] = {}
    for name, values in together.items():
        if name == "ms":
            ordered = sorted(values)
            found["ms p50"] = statistics.median(ordered)
            found["ms p95"] = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
        else:
            found[name] = max(values) if name == "peak MB" else statistics.median(values)
    return found


def measure(contestants: Mapping[str, Holder], kept: Path, work: Path, *, rounds: int, small: bool) -> list[Figures]:
    """Run every task `rounds` times on everybody, in turn; return the figures of each task."""
    series = make_corpus("series", kept, small=small)
    multiframe = make_multiframe(kept, frames=_FRAMES_SMALL if small else _FRAMES)
    runs: list[dict[str, list[Measured]]] = [defaultdict(list) for _ in TASKS]
    keys = list(contestants)
    for turn in range(rounds):
        for key in [*keys[turn % len(keys) :], *keys[: turn % len(keys)]]:
            holder = contestants[key]
            folder = holder.peer.workplace(work) / "server"
            try:
                holder.fill(folder, [series, multiframe])
                with holder.held(folder, series, multiframe) as held:
                    for task, found in zip(TASKS, runs, strict=True):
                        if task.has_floor or not holder.is_bare:
                            found[key].append(task.ask(held))
                    if turn == 0 and not holder.is_bare:
                        retrieving.check_study(held)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return [{key: summarise(found) for key, found in each.items()} for each in runs]


# ------------------------------------------------------------------------------------------------------- printing
def verdicts(task: Task, figures: Figures) -> list[tuple[str, str, str]]:
    """Return each goal as what is bounded, the value, and whether it is met."""
    told = []
    for goal in task.goals:
        value = goal.value(figures)
        word = "-" if value is None else "met" if goal.met(value) else "NOT MET"
        told.append((goal.what, "not measured" if value is None else f"{value:.3g}", word))
    return told


def on_screen(task: Task, figures: Figures, names: Mapping[str, str]) -> Table:
    """Lay one row group out, its goals below."""
    heads = sorted({name for each in figures.values() for name in each}, key=_column)
    shown = Table("server", *heads, title=task.title, title_justify="left")
    for key, each in figures.items():
        shown.add_row(names[key], *(f"{each[name]:.4g}" if name in each else "-" for name in heads))
    shown.caption = "\n".join(f"{what}: {value}, {word}" for what, value, word in verdicts(task, figures))
    shown.caption_justify = "left"
    return shown


def on_page(found: Sequence[Figures], names: Mapping[str, str], where: Mapping[str, object], rounds: int) -> str:
    """Return the table as Markdown."""
    measured = (
        f"Measured on {where['date']} at {where['commit']}: {where['processor']}, {where['cores']} cores, "
        f"Linux {where['kernel']}, Python {where['python']}; medians of {rounds} alternating rounds."
    )
    lines = [measured, "", "| workload | goal | measured | |", "| --- | --- | --- | --- |"]
    for task, figures in zip(TASKS, found, strict=True):
        lines += [f"| {task.title} | {what} | {value} | {word} |" for what, value, word in verdicts(task, figures)]
    for task, figures in zip(TASKS, found, strict=True):
        heads = sorted({name for each in figures.values() for name in each}, key=_column)
        lines += ["", f"**{task.title}**", "", f"| server | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
        for key, each in figures.items():
            cells = " | ".join(f"{each[name]:.4g}" if name in each else "-" for name in heads)
            lines.append(f"| {names[key]} | {cells} |")
    return "\n".join(lines)


_COLUMNS = ("first ms", "again ms", "KB", "ms p50", "ms p95", "read/frame", "MB/s", "CPU ms/MB", "peak MB", "others")


def _column(name: str) -> int:
    return _COLUMNS.index(name)


def _contestants(wish: argparse.Namespace) -> dict[str, Holder]:
    """Return who can take part on this machine; say why somebody cannot."""
    reasons = {"roi-s3": minio.available()}
    if wish.orthanc_chroot is None and not installed_orthanc():
        reasons["orthanc"] = "Orthanc is not installed, and no --orthanc-chroot is given"
    found = {}
    for key, make in holders(wish.orthanc_chroot).items():
        if reasons.get(key):
            print(f"without {key}: {reasons[key]}")
        else:
            found[key] = make()
    return found


def main() -> None:
    """Measure, print, and write what was wished for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few instances, one round: shows that it runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--orthanc-chroot", type=Path, help="folder with Orthanc 1.12, made if missing (root only)")
    parser.add_argument("--work", type=Path, help="keep corpora here for the next run")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--docs", action="store_true", help="also write the table into docs/benchmarks.md")
    wish = parser.parse_args()
    if wish.orthanc_chroot:
        make_chroot(wish.orthanc_chroot)
    if wish.work:
        wish.work = wish.work.resolve()
        wish.work.mkdir(parents=True, exist_ok=True)
    rounds = 1 if wish.small else wish.rounds
    where = machine()
    contestants = _contestants(wish)
    names = {key: holder.name for key, holder in contestants.items()}
    with tempfile.TemporaryDirectory(prefix="roi-retrieve-", dir=wish.work) as scratch:
        work = Path(scratch)
        try:
            found = measure(contestants, wish.work or work / "kept", work, rounds=rounds, small=wish.small)
        except (MissingError, SendError, ServerError) as error:
            sys.exit(f"no figures: {error}")
    console = Console()
    console.width = max(console.width, 120)  # a log has no width of its own
    for task, figures in zip(TASKS, found, strict=True):
        console.print(on_screen(task, figures, names))
    if wish.json:
        rows = [
            {"title": task.title, "figures": figures, "goals": verdicts(task, figures)}
            for task, figures in zip(TASKS, found, strict=True)
        ]
        wish.json.write_text(json.dumps({"machine": where, "names": names, "rows": rows}, indent=1))
    if wish.docs:
        write_page(_PAGE, on_page(found, names, where, rounds), MARKS)


if __name__ == "__main__":
    main()

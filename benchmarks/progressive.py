"""How long before its last slice a bleeding head CT is flagged, on `roi serve`, while it arrives slice by slice.

Head CT phantoms, bleeding and normal ones, come over one association each at the pace of a scanner.  Of those that the
run on the whole series flags, this counts how many were flagged, provisionally, before their last slice was answered;
and of all provisional flags, how many the whole series retracted.

    python -m benchmarks.progressive --positives 20 --normals 10 --json result.json
    python -m benchmarks.progressive --small
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import urllib3
from pydicom.dataset import Dataset
from rich.console import Console
from rich.table import Table

from models.reference.dicom import head_ct_study
from pacs_gateway import scu
from roi.demo import Address, serving

GOAL = 0.8
_HEAD_MM = 160.0
_LIMIT_S = 120.0
_POLL_S = 0.05
_SETTLED = {"analysed", "not suitable", "failed"}


@dataclass(frozen=True, kw_only=True)
class Course:
    """One study: when its slices were answered, when it was flagged, POSIX seconds; None where it was not."""

    bleeds: bool
    last_slice: float
    provisional: float | None
    slices: int | None
    """So many had come when the provisional run was made."""
    final: float
    flagged: bool
    run_s: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What came of all studies."""

    positives: int
    """Studies that the run on the whole series flags."""
    before_the_last: int
    provisional: int
    retracted: int
    gained_s: tuple[float, float]
    """From the provisional flag to the final one, p50 and p95."""
    run_s: float
    """The final runs, select to predict, p50: a machine that is too slow for the pace shows here."""

    @property
    def share(self) -> float:
        """The share of positives flagged before their last slice."""
        return self.before_the_last / self.positives if self.positives else 0.0

    @property
    def met(self) -> bool:
        """Whether the goal is met."""
        return self.positives > 0 and self.share >= GOAL


class NotJudgedError(RuntimeError):
    """A study that is not judged gives no number."""


def course(data_sets: Sequence[Dataset], address: Address, folder: Path, *, bleeds: bool, every_s: float) -> Course:
    """Send a study at a scanner's pace and return what came of it."""
    folder.mkdir()
    for number, data_set in enumerate(data_sets):
        data_set.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    answered, begun = 0.0, time.time()

    def pace(progress: scu.Progress) -> None:
        nonlocal answered
        answered = time.time()
        time.sleep(max(0.0, begun + every_s * progress.done - answered) if progress.done < progress.total else 0.0)

    report = scu.send([folder], "127.0.0.1", address.dicom_port, on_progress=pace)
    if report.not_sent:
        raise NotJudgedError(f"not taken: {report.not_sent[0].reason}")
    results = _results(str(data_sets[0].StudyInstanceUID), address)
    [final] = [each for each in results if not each["provisional"]]
    flags = [each for each in results if each["provisional"]]
    if "predicted" not in final["times"]:
        raise NotJudgedError(f"{final['outcome']} {final['reason'] or ''}")
    return Course(
        bleeds=bleeds,
        last_slice=answered,
        provisional=min((each["times"]["committed"] for each in flags), default=None),
        slices=flags[0]["provisional"] if flags else None,
        final=final["times"]["committed"],
        flagged=final["outcome"] == "FLAGGED",
        run_s=final["times"]["predicted"] - final["times"]["claimed"],
    )


def _results(study: str, address: Address) -> list[dict[str, Any]]:
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        row = _get(f"{address.http_url}/api/worklist/{study}")
        if row["ready_at"] and all(line["coverage"] in _SETTLED for line in row["coverage"]):
            found: list[dict[str, Any]] = _get(f"{address.http_url}/api/studies/{study}/results")["results"]
            return found
        time.sleep(_POLL_S)
    raise NotJudgedError(f"no result within {_LIMIT_S:g} s")


def _get(url: str) -> Any:  # noqa: ANN401 - JSON
    answer = urllib3.request("GET", url, timeout=10)
    if answer.status != 200:
        raise NotJudgedError(f"{url} answered {answer.status}")
    return json.loads(answer.data)


def figures_of(courses: Sequence[Course]) -> Figures:
    """Count."""
    positives = [each for each in courses if each.flagged]
    early = [each for each in positives if each.provisional is not None and each.provisional < each.last_slice]
    flags = [each for each in courses if each.provisional is not None]
    gained = [each.final - each.provisional for each in positives if each.provisional is not None]
    p50, p95 = np.percentile(gained, [50, 95]) if gained else (0.0, 0.0)
    return Figures(
        positives=len(positives),
        before_the_last=len(early),
        provisional=len(flags),
        retracted=sum(not each.flagged for each in flags),
        gained_s=(round(float(p50), 3), round(float(p95), 3)),
        run_s=round(float(np.median([each.run_s for each in courses])), 3),
    )


def measure(options: argparse.Namespace, address: Address, folder: Path) -> list[Course]:
    """Warm the model with one study, then send all others, one after the other."""
    step_mm = _HEAD_MM / options.slices
    kinds = [True] + [True] * options.positives + [False] * options.normals
    courses = []
    for number, bleeds in enumerate(kinds):
        drawn = head_ct_study(7000 + number, haemorrhage=bleeds, slices=options.slices, step_mm=step_mm)
        every_s = options.every_ms / 1000
        courses.append(course(drawn, address, folder / str(number), bleeds=bleeds, every_s=every_s))
    return courses[1:]


def print_figures(figures: Figures, options: argparse.Namespace) -> None:
    """Print the table and say whether the goal is met."""
    title = f"head CT of {options.slices} slices, one in {options.every_ms:g} ms"
    table = Table("what", "how many", title=title)
    table.add_row("flagged by the whole series", str(figures.positives))
    table.add_row("of these flagged before the last slice", f"{figures.before_the_last} ({figures.share:.0%})")
    table.add_row("provisional flags, on normal heads too", str(figures.provisional))
    table.add_row("of these retracted by the whole series", str(figures.retracted))
    table.add_row("gained, s, p50 and p95", " / ".join(f"{seconds:.2f}" for seconds in figures.gained_s))
    table.add_row("a run on the whole series, s, p50", f"{figures.run_s:.2f}")
    Console().print(table)
    word = "MET" if figures.met else "NOT MET"
    print(f"goal: {GOAL:.0%} of the positives flagged before their last slice: {figures.share:.0%}, {word}")


def main() -> None:
    """Run it; exit code 1 where the goal is not met, but for `--small`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positives", type=int, default=20)
    parser.add_argument("--normals", type=int, default=10)
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--every-ms", type=float, default=50.0)
    parser.add_argument("--small", action="store_true", help="shows that it runs; not for quoting")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.small:
        options.positives, options.normals, options.slices = 3, 1, 32
    with tempfile.TemporaryDirectory(prefix="roi-progressive-") as scratch, serving(Path(scratch) / "data") as address:
        courses = measure(options, address, Path(scratch))
    figures = figures_of(courses)
    print_figures(figures, options)
    if options.json:
        told = {**asdict(figures), "share": figures.share, "met": figures.met, "courses": [asdict(c) for c in courses]}
        options.json.write_text(json.dumps(told, indent=1))
    sys.exit(not (figures.met or options.small))


if __name__ == "__main__":
    main()

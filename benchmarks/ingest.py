"""The ingest table: ours beside Orthanc, DCMTK's storescp and a bare loop, in the same run.

Rounds alternate between the contestants of a row, so that a busy moment of the machine meets them all; medians are
shown, and the range of the rate.  After each run every instance must be there and a sample must have its bytes, else
the run fails without a number.  The clock runs from the first byte to the last answer; starting is not counted.

    python -m benchmarks.ingest --orthanc-chroot FOLDER --work FOLDER --json result.json
    python -m benchmarks.ingest --rows ct-4 dx-1
    python -m benchmarks.ingest --small
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.clients import CLIENTS
from benchmarks.corpora import Corpus, make_corpus, make_long
from benchmarks.field import AbsentError, Field, Place
from benchmarks.orthanc import make_chroot
from benchmarks.peers import Contestant, MissingError, Run
from benchmarks.report import Outcome, as_json, machine, on_page, on_screen, write_page
from benchmarks.sender import SendError
from benchmarks.workloads import WORKLOADS, Figures, Workload
from tests.servers.process import ServerError

_PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
_FULL_INSTANCES = 10_000_000
_FULL_INSTANCES_SMALL = 20_000
_NEW_UIDS_STUDIES = 10
_LONG_BYTES = 128 << 20
_LONG_BYTES_SMALL = 2 << 20


class Corpora:
    """The corpora of a table, each made or found when it is first asked for."""

    def __init__(self, folder: Path, *, small: bool) -> None:
        self._folder = folder
        self._small = small

    def of(self, workload: Workload, turn: int) -> Corpus:
        """Return what is sent in one round of a workload."""
        if workload.corpus == "long":
            size = _LONG_BYTES_SMALL if self._small else _LONG_BYTES
            return make_long(self._folder, number=workload.lanes, pixel_bytes=size)
        if workload.new_uids:
            seed, most = 100 + turn, _NEW_UIDS_STUDIES
            return make_corpus(workload.corpus, self._folder, small=self._small, seed=seed, most_studies=most)
        return make_corpus(workload.corpus, self._folder, small=self._small)


def measure(workload: Workload, field: Field, corpora: Corpora, rounds: int, work: Path) -> Outcome:
    """Run one workload `rounds` times on everybody who can, in turn."""
    began = time.monotonic()
    contestants, absent = _gather(workload, field)
    runs: dict[str, list[Run]] = {key: [] for key in contestants}
    for turn in range(rounds):
        corpus = corpora.of(workload, turn)
        for key in _order(list(contestants), turn):
            runs[key].append(contestants[key].run(corpus, workload.lanes, CLIENTS[workload.client], work))
    figures = {key: summarise(contestants[key], runs[key]) for key in contestants}
    return Outcome(workload=workload, figures=figures, absent=absent, seconds=time.monotonic() - began)


class Roll:
    """Who has taken part so far in a small run: everybody once, ours with each corpus and each client."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str, str]] = set()

    def shorten(self, workload: Workload) -> Workload:
        """Return the workload with those alone who have something new to show, and no goal."""
        wanted = [key for key in workload.contestants if not self._has_shown(workload, key)]
        return replace(workload, contestants=wanted, goals=())

    def _has_shown(self, workload: Workload, key: str) -> bool:
        shown = (key, workload.client, workload.corpus) if key == "roi" else (key, "", "")
        seen = shown in self._seen
        self._seen.add(shown)
        return seen


def _gather(workload: Workload, field: Field) -> tuple[Mapping[str, Contestant], Mapping[str, str]]:
    found: dict[str, Contestant] = {}
    absent: dict[str, str] = {}
    for key in workload.contestants:
        try:
            found[key] = field.contestant(key)
        except AbsentError as error:
            absent[key] = str(error)
    return found, absent


def _order(keys: Sequence[str], turn: int) -> Sequence[str]:
    first = turn % max(1, len(keys))
    return [*keys[first:], *keys[:first]]


def summarise(contestant: Contestant, runs: Sequence[Run]) -> Figures:
    """Return the medians."""
    rates = [run.instances / run.seconds for run in runs]
    others = [run.others for run in runs if run.others is not None]
    store_ms = sorted(1000 * value for run in runs for value in run.store_s)
    return Figures(
        server=contestant.name,
        promise=contestant.promise,
        rounds=len(runs),
        instances=runs[0].instances,
        instances_per_s=statistics.median(rates),
        instances_per_s_range=(min(rates), max(rates)),
        mb_per_s=statistics.median(run.size_bytes / run.seconds for run in runs) / 1e6,
        cpu_ms=statistics.median(1000 * run.cpu_s / run.instances for run in runs),
        peak_mb=max(run.peak_bytes for run in runs) / 1e6,
        peak_process_mb=max(run.peak_rss_bytes for run in runs) / 1e6,
        store_ms_p50=statistics.median(store_ms) if store_ms else None,
        store_ms_p99=store_ms[int(0.99 * (len(store_ms) - 1))] if store_ms else None,
        others=statistics.median(others) if others else None,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--small", action="store_true", help="a few instances, one round: shows that it runs")
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--orthanc-chroot", type=Path, help="folder with Orthanc 1.12, made if missing (root only)")
    parser.add_argument("--work", type=Path, help="keep corpora and filled catalogues here for the next run")
    parser.add_argument("--full-instances", type=int, help="instances in the filled catalogues [10 million]")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--docs", action="store_true", help="also write the table into docs/benchmarks.md")
    return parser.parse_args()


def _outcomes(wish: argparse.Namespace, scratch: Path) -> Iterator[Outcome]:
    if wish.orthanc_chroot:
        make_chroot(wish.orthanc_chroot)
    kept = wish.work or scratch / "kept"
    usual = _FULL_INSTANCES_SMALL if wish.small else _FULL_INSTANCES
    place = Place(kept=kept, orthanc_root=wish.orthanc_chroot, full_instances=wish.full_instances or usual)
    corpora = Corpora(kept, small=wish.small)
    with Field(place) as field:
        chosen = [workload for workload in WORKLOADS if workload.name in wish.rows]
        roll = Roll()
        for workload in [roll.shorten(workload) for workload in chosen] if wish.small else chosen:
            yield measure(workload, field, corpora, 1 if wish.small else wish.rounds, scratch)


def main() -> None:
    """Measure, print, and write what was wished for."""
    wish = _arguments()
    if wish.work:
        wish.work = wish.work.resolve()
        wish.work.mkdir(parents=True, exist_ok=True)
    console = Console()
    console.width = max(console.width, 120)  # a log has no width of its own
    where = machine()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="roi-ingest-", dir=wish.work) as scratch:
        try:
            for outcome in _outcomes(wish, Path(scratch)):
                console.print(on_screen(outcome))
                outcomes.append(outcome)
        except (MissingError, SendError, ServerError) as error:
            sys.exit(f"no figures: {error}")
    if wish.json:
        wish.json.write_text(json.dumps(as_json(outcomes, where), indent=1))
    if wish.docs:
        write_page(_PAGE, on_page(outcomes, where))


if __name__ == "__main__":
    main()

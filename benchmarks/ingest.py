"""C-STORE ingest, ours beside DCMTK's storescp and Orthanc in the same run.

Rounds alternate between the servers, so that a busy moment of the machine meets them all; medians are shown, and the
range of the rate.  After each run every instance must be there, else the run fails without a number.

    python -m benchmarks.ingest --orthanc-chroot FOLDER --json result.json
    python -m benchmarks.ingest --small
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.corpora import RECIPES, Corpus, make_corpus
from benchmarks.peers import MissingError, Orthanc, Peer, Roi, Storescp, installed_orthanc, make_chroot
from benchmarks.sampler import Sampler
from benchmarks.sender import SendError, send
from tests.servers.process import ServerError


@dataclass(frozen=True, kw_only=True)
class Run:
    """One corpus sent once to one server."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    store_s: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Medians over the rounds."""

    corpus: str
    associations: int
    server: str
    promise: str
    rounds: int
    instances: int
    instances_per_s: float
    instances_per_s_range: tuple[float, float]
    mb_per_s: float
    cpu_ms_per_instance: float
    peak_mb: float
    store_ms_p50: float
    store_ms_p99: float


def measure(peer: Peer, corpus: Corpus, associations: int, work: Path) -> Run:
    """Send the corpus to the server on an empty folder, and check that all of it is there."""
    folder = peer.workplace(work) / "server"
    os.sync()  # what the previous run left to write is not this run's burden
    try:
        with peer.running(folder) as server:
            with Sampler(server.pid) as sampler:
                seconds, store_s = send(peer.dicom_port, peer.aet, corpus.parts(associations), sampler.start)
            peer.check(folder, corpus)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Run(seconds=seconds, cpu_s=sampler.cpu_s, peak_bytes=sampler.peak_bytes, store_s=store_s)


def compare(
    peers: Sequence[Peer], corpora: Sequence[Corpus], associations: Sequence[int], rounds: int, work: Path
) -> Iterator[Figures]:
    """Run every combination `rounds` times, the servers in turn."""
    for corpus in corpora:
        for number in associations:
            runs: dict[str, list[Run]] = {peer.name: [] for peer in peers}
            for turn in range(rounds):
                first = turn % len(peers)
                for peer in (*peers[first:], *peers[:first]):
                    runs[peer.name].append(measure(peer, corpus, number, work))
            for peer in peers:
                yield _figures(peer, corpus, number, runs[peer.name])


def _figures(peer: Peer, corpus: Corpus, associations: int, runs: Sequence[Run]) -> Figures:
    count = len(corpus.instances)
    rates = sorted(count / run.seconds for run in runs)
    rate = statistics.median(rates)
    store_ms = sorted(1000 * value for run in runs for value in run.store_s)
    return Figures(
        corpus=corpus.name,
        associations=associations,
        server=peer.name,
        promise=peer.promise,
        rounds=len(runs),
        instances=count,
        instances_per_s=rate,
        instances_per_s_range=(rates[0], rates[-1]),
        mb_per_s=rate * corpus.size_bytes / count / 1e6,
        cpu_ms_per_instance=statistics.median(1000 * run.cpu_s / count for run in runs),
        peak_mb=max(run.peak_bytes for run in runs) / 1e6,
        store_ms_p50=statistics.median(store_ms),
        store_ms_p99=store_ms[int(0.99 * (len(store_ms) - 1))],
    )


def table(figures: Sequence[Figures]) -> Table:
    """Lay the figures out, each rate also as a multiple of Orthanc's in the same row group."""
    promises = {row.server: row.promise for row in figures}
    shown = Table(caption="before Success: " + " · ".join(f"{name}: {what}" for name, what in promises.items()))
    for head in ("corpus", "assoc.", "server"):
        shown.add_column(head, no_wrap=True)
    for head in ("inst/s", "range", "MB/s", "x Orthanc", "CPU ms", "peak MB", "p50 ms", "p99 ms"):
        shown.add_column(head, no_wrap=True, justify="right")
    bars = {(row.corpus, row.associations): row.instances_per_s for row in figures if row.server.startswith("orthanc")}
    for row in figures:
        bar = bars.get((row.corpus, row.associations))
        low, high = row.instances_per_s_range
        shown.add_row(
            row.corpus,
            str(row.associations),
            row.server,
            f"{row.instances_per_s:.0f}",
            f"{low:.0f}-{high:.0f}",
            f"{row.mb_per_s:.0f}",
            f"{row.instances_per_s / bar:.2f}" if bar else "-",
            f"{row.cpu_ms_per_instance:.2f}",
            f"{row.peak_mb:.0f}",
            f"{row.store_ms_p50:.2f}",
            f"{row.store_ms_p99:.2f}",
            end_section=row is figures[-1] or figures[figures.index(row) + 1].associations != row.associations,
        )
    return shown


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few instances, one round: shows that it runs")
    parser.add_argument("--servers", nargs="+", choices=("roi", "storescp", "orthanc"))
    parser.add_argument("--corpora", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--associations", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--orthanc-chroot", type=Path, help="folder with Orthanc 1.12, made if missing (root only)")
    parser.add_argument("--work", type=Path, help="keep the corpora here for the next run")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args()


def _peers(wish: argparse.Namespace) -> list[Peer]:
    has_orthanc = wish.orthanc_chroot is not None or installed_orthanc()
    names = wish.servers or ["roi", "storescp", *(["orthanc"] if has_orthanc else [])]
    if wish.orthanc_chroot and "orthanc" in names:
        make_chroot(wish.orthanc_chroot)
    makers: dict[str, Callable[[], Peer]] = {
        "roi": Roi,
        "storescp": Storescp,
        "orthanc": lambda: Orthanc(wish.orthanc_chroot),
    }
    return [makers[name]() for name in names]


def _machine() -> dict[str, object]:
    return {"cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}


def main() -> None:
    """Measure, print, and write what was wished for."""
    wish = _arguments()
    console = Console()
    console.width = max(console.width, 120)  # a log has no width of its own
    with tempfile.TemporaryDirectory(prefix="roi-ingest-") as scratch:
        work = Path(scratch)
        try:
            peers = _peers(wish)
            corpora = [make_corpus(name, wish.work or work / "corpora", small=wish.small) for name in wish.corpora]
            figures = []
            for row in compare(peers, corpora, wish.associations, 1 if wish.small else wish.rounds, work):
                console.print(f"{row.corpus} x{row.associations} {row.server}: {row.instances_per_s:.0f} instances/s")
                figures.append(row)
        except (MissingError, SendError, ServerError) as error:
            sys.exit(f"no figures: {error}")
    console.print(table(figures))
    result = {"machine": _machine(), "figures": [asdict(row) for row in figures]}
    if wish.json:
        wish.json.write_text(json.dumps(result, indent=1))
    else:
        print(json.dumps(result))


if __name__ == "__main__":
    main()

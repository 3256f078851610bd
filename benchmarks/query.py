"""The query table: QIDO-RS beside Orthanc on the same studies, and ours on a hundred times as many.

Rounds alternate between the contestants, question by question, so that a busy moment of the machine meets them all.
Before the first, each is asked every question once: what is measured is an archive at work, not one that has just been
started.  Each answer is checked; a contestant that answers something else has no figure.  Percentiles are over all
answers of all rounds.

    python -m benchmarks.query --orthanc-chroot FOLDER --work FOLDER --json result.json
    python -m benchmarks.query --parts orthanc
    python -m benchmarks.query --small
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.asking import Round, WrongAnswerError
from benchmarks.clients import send_fast
from benchmarks.listed_catalogue import ListedCatalogue, ListedPostgres, ListedSqlite
from benchmarks.listed_corpus import make_listed
from benchmarks.orthanc import OrthancAtRest, installed_orthanc, make_chroot
from benchmarks.ours import Roi, RoiApi
from benchmarks.peers import MissingError, Peer
from benchmarks.questions import KINDS, Kind
from benchmarks.report import QUERIES, machine, write_page
from benchmarks.sampler import await_rest
from benchmarks.sender import SendError
from tests.servers import postgres
from tests.servers.process import ServerError

_PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
_FEW, _MANY = 10_000, 1_000_000
_FEW_SMALL, _MANY_SMALL = 400, 2_000
_CLIENTS = (1, 8)
_TIMES = {1: 40, 8: 12}
"""Questions a client asks in a round."""

_TIMES_SMALL = {1: 4, 8: 1}

_REST_S = 10.0
"""So long both have had nothing to do before they are asked."""

_AT_LEAST = {1: 20.0, 8: 10.0}
"""How many times as fast as Orthanc, by clients."""

_AT_MOST = 2.0
"""How much longer with a hundred times as many studies."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of question from so many clients: what both contestants needed, in milliseconds."""

    part: str
    kind: str
    clients: int
    ours: tuple[float, float] | None
    """p50, p95; of the archive with many studies where ours is compared with itself."""
    theirs: tuple[float, float] | None
    why: str
    """Why the other has no figure."""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratios(self) -> tuple[float, float] | None:
        """How many times as fast as Orthanc, or how many times as long as with few studies."""
        if self.ours is None or self.theirs is None:
            return None
        pairs = zip(self.ours, self.theirs, strict=True)
        p50, p95 = (own / other if self.at_least is None else other / own for own, other in pairs)
        return p50, p95

    @property
    def met(self) -> bool | None:
        """Whether the goal is met, None where there is none or it was not measured."""
        if self.ratios is None or (self.at_least is None and self.at_most is None):
            return None
        if self.at_least is not None:
            return min(self.ratios) >= self.at_least
        return self.at_most is None or self.ratios[1] <= self.at_most

    @property
    def bound(self) -> str:
        """The goal, to be read."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "-" if self.at_most is None else f"p95 <= {self.at_most:g}"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A server under question, and how many studies it has."""

    port: int
    studies: int


def measure(part: str, kind: Kind, servers: tuple[Asked, Asked], clients: int, wish: argparse.Namespace) -> Row:
    """Ask two servers the same kind of question in turn."""
    number = (_TIMES_SMALL if wish.small else _TIMES)[clients]
    asked = [
        Round(port=server.port, questions=kind.make(server.studies), clients=clients, times=number)
        for server in servers
    ]
    times: tuple[list[float], list[float]] = ([], [])
    wrong = [_asked_once(server, kind) for server in servers]
    for turn in range(wish.rounds):
        for place in (0, 1) if turn % 2 == 0 else (1, 0):
            if wrong[place]:
                continue
            try:
                times[place].extend(asked[place].ask())
            except WrongAnswerError as error:
                wrong[place] = str(error)
    if wrong[0]:
        raise WrongAnswerError(f"ours, {kind.name}: {wrong[0]}")
    own, other = (_percentiles(each) for each in times)
    against_orthanc = part == "orthanc"
    has_goal = kind.with_goal and not wish.small
    return Row(
        part=part,
        kind=kind.name,
        clients=clients,
        ours=own,
        theirs=None if wrong[1] else other,
        why=wrong[1],
        at_least=_AT_LEAST[clients] if against_orthanc and has_goal else None,
        at_most=_AT_MOST if not against_orthanc and has_goal else None,
    )


def _asked_once(server: Asked, kind: Kind) -> str:
    """Ask every question once; return what is wrong with an answer, if anything is."""
    questions = kind.make(server.studies)
    try:
        Round(port=server.port, questions=questions, clients=1, times=len(questions)).ask()
    except WrongAnswerError as error:
        return str(error)
    return ""


def _percentiles(seconds: Sequence[float]) -> tuple[float, float] | None:
    if not seconds:
        return None
    ordered = sorted(1000 * each for each in seconds)
    return ordered[len(ordered) // 2], ordered[int(0.95 * (len(ordered) - 1))]


# ---------------------------------------------------------------------------------------------------- beside Orthanc
def beside_orthanc(wish: argparse.Namespace, scratch: Path, few: int) -> Iterator[Row]:
    """Send the same studies to both by C-STORE, and ask both."""
    if wish.orthanc_chroot is None and not installed_orthanc():
        raise MissingError("Orthanc is not installed, and no --orthanc-chroot is given")
    corpus = make_listed(wish.work or scratch, few)
    orthanc = OrthancAtRest(wish.orthanc_chroot)
    gateway = Roi()
    with ExitStack() as stack:
        peers: tuple[Roi | OrthancAtRest, ...] = (gateway, orthanc)
        pids: list[int] = []
        for peer in peers:
            folder = peer.workplace(scratch) / f"asked-{peer.aet}"
            stack.callback(shutil.rmtree, folder.parent, ignore_errors=True)  # Orthanc's lies in its own Debian
            pids += stack.enter_context(peer.running(folder))
            send_fast(peer, corpus, 4, lambda: None)
            if (held := peer.holds(folder)) != len(corpus.instances):
                raise MissingError(f"{peer.name}: {held} of {len(corpus.instances)} instances")
        catalogue = gateway.catalogue_url(scratch / f"asked-{gateway.aet}")
        api = stack.enter_context(_asked(catalogue, scratch / "asked-api"))
        await_rest(pids, rest_s=1 if wish.small else _REST_S)
        servers = (Asked(port=api.http_port, studies=few), Asked(port=orthanc.http_port, studies=few))
        for kind in (kind for kind in KINDS if kind.with_goal):
            for clients in _CLIENTS:
                yield measure("orthanc", kind, servers, clients, wish)


@contextmanager
def _asked(catalogue: str, folder: Path) -> Iterator[Peer]:
    """Run our API role on a catalogue."""
    api = RoiApi("roi", catalogue_url=lambda: catalogue)
    with api.running(folder):
        yield api


# -------------------------------------------------------------------------------------------- a hundred times as many
def with_many(
    kind_of: type[ListedCatalogue], wish: argparse.Namespace, scratch: Path, sizes: tuple[int, int]
) -> Iterator[Row]:
    """Ask ours with few and with many studies."""
    if kind_of is ListedPostgres and (reason := postgres.available()):
        raise MissingError(reason)
    kept = (wish.work or scratch).resolve()
    with ExitStack() as stack:
        listed = [stack.enter_context(kind_of(kept, size).ready()) for size in sizes]
        apis = [stack.enter_context(_asked(one.url, scratch / f"asked-{one.kind}-{one.studies}")) for one in listed]
        few, many = (Asked(port=api.http_port, studies=one.studies) for api, one in zip(apis, listed, strict=True))
        for kind in KINDS:
            if kind.make(many.studies):
                for clients in _CLIENTS:
                    yield measure(listed[0].kind, kind, (many, few), clients, wish)


# ---------------------------------------------------------------------------------------------------------- the table
_TITLES: Mapping[str, str] = {
    "orthanc": "beside Orthanc: how many times as fast",
    "sqlite": "many studies beside few, SQLite: how many times as long",
    "postgresql": "many studies beside few, PostgreSQL: how many times as long",
}
_HEADS = ("question", "clients", "p50 ms", "p95 ms", "other p50", "other p95", "p50 ratio", "p95 ratio", "goal", "")


def _cells(row: Row) -> tuple[str, ...]:
    def pair(told: tuple[float, float] | None) -> tuple[str, str]:
        return ("-", "-") if told is None else (f"{told[0]:.2f}", f"{told[1]:.2f}")

    verdict = ("wrong answer" if row.why else "") or {None: "-", True: "met", False: "NOT MET"}[row.met]
    return (row.kind, str(row.clients), *pair(row.ours), *pair(row.theirs), *pair(row.ratios), row.bound, verdict)


def on_screen(part: str, rows: Sequence[Row]) -> Table:
    """Lay one part out."""
    shown = Table(title=_TITLES[part], title_justify="left")
    for head in _HEADS:
        shown.add_column(head, justify="left" if head == "question" else "right", no_wrap=head != "question")
    for row in rows:
        shown.add_row(*_cells(row))
    shown.caption = "\n".join(f"{row.kind}, {row.clients}: {row.why}" for row in rows if row.why)
    shown.caption_justify = "left"
    return shown


def on_page(parts: Mapping[str, Sequence[Row]], where: Mapping[str, object], about: str) -> str:
    """Return the tables as Markdown."""
    measured = (
        f"Measured on {where['date']} at {where['commit']}: {where['processor']}, {where['cores']} cores, load "
        f"{where['load']} before, Linux {where['kernel']}, Python {where['python']}. {about}"
    )
    lines = [measured]
    for part, rows in parts.items():
        judged = [row.met for row in rows if row.met is not None]
        lines += [
            "",
            f"**{_TITLES[part][0].upper()}{_TITLES[part][1:]}**: {sum(judged)} of {len(judged)} goals met",
            "",
        ]
        lines += ["| " + " | ".join(_HEADS) + " |", "| --- |" + " ---: |" * (len(_HEADS) - 1)]
        lines += ["| " + " | ".join(cell.replace("*", "\\*") for cell in _cells(row)) + " |" for row in rows]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few studies, one round: shows that it runs")
    parser.add_argument("--parts", nargs="+", choices=list(_TITLES), default=list(_TITLES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--orthanc-chroot", type=Path, help="folder with Orthanc 1.12, made if missing (root only)")
    parser.add_argument("--work", type=Path, help="keep the corpus and the filled catalogues here for the next run")
    parser.add_argument("--many", type=int, help="studies in the large catalogues [1 million]")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--docs", action="store_true", help="also write the table into docs/benchmarks.md")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write what was wished for."""
    wish = _arguments()
    if wish.work:
        wish.work = wish.work.resolve()
        wish.work.mkdir(parents=True, exist_ok=True)
    if wish.orthanc_chroot:
        make_chroot(wish.orthanc_chroot)
    few, many = (_FEW_SMALL, _MANY_SMALL) if wish.small else (_FEW, _MANY)
    wish.rounds = 1 if wish.small else wish.rounds
    sizes = (few, wish.many or many)
    console = Console()
    console.width = max(console.width, 140)  # a log has no width of its own
    where = machine()
    parts: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory(prefix="roi-query-", dir=wish.work, ignore_cleanup_errors=True) as scratch:
        for part in wish.parts:
            try:
                parts[part] = list(_rows(part, wish, Path(scratch), sizes))
            except MissingError as error:
                console.print(f"{_TITLES[part]}: not measured: {error}")
                continue
            except (SendError, ServerError, WrongAnswerError) as error:
                sys.exit(f"no figures: {error}")
            console.print(on_screen(part, parts[part]))
    about = f"Few studies are {few:,}, many are {sizes[1]:,}."
    if wish.json:
        told = {part: [{**asdict(row), "met": row.met} for row in rows] for part, rows in parts.items()}
        wish.json.write_text(json.dumps({"machine": dict(where), "sizes": sizes, "parts": told}, indent=1))
    if wish.docs:
        write_page(_PAGE, on_page(parts, where, about), marks=QUERIES)


def _rows(part: str, wish: argparse.Namespace, scratch: Path, sizes: tuple[int, int]) -> Iterator[Row]:
    if part == "orthanc":
        return beside_orthanc(wish, scratch, sizes[0])
    return with_many({"sqlite": ListedSqlite, "postgresql": ListedPostgres}[part], wish, scratch, sizes)


if __name__ == "__main__":
    main()

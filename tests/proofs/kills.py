"""Kill -9 at any moment: ``python -m tests.proofs.kills --topology embedded|distributed --kills N --seed S``.

Senders send studies, and send again what was not acknowledged, while one process after the other is killed; then the
archive comes to rest and is held against what was sent (`tests.proofs.ledger`).  Exit code 1 on any violation.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from storage import schema
from tests.acceptance.site import MODEL, Site, apart, embedded
from tests.proofs.ledger import Ledger, judge
from tests.proofs.senders import Follower, Sender, Sent, phantoms
from tests.servers.minio import running_minio
from tests.servers.postgres import running_postgres
from tests.servers.process import Server
from tests.servers.rabbitmq import running_rabbitmq
from tests.servers.redis import running_redis

_ROLES = {"gateway": 4, "api": 1, "worker": 2, MODEL: 3, "report": 2}
_SERVERS = {"broker": 1, "postgres": 1, "minio": 1}
"""Target -> how often, against the others."""
_SENDERS = 3
_REST_LIMIT_S = 420.0
_AIM_S = 20.0
_BROKERS = {"redis": running_redis, "rabbitmq": running_rabbitmq}


@dataclass(frozen=True, kw_only=True)
class Kill:
    """What was killed; `mid_run` where a job was running at that moment."""

    target: str
    mid_run: bool


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A site and the servers below it that may be killed too."""

    site: Site
    servers: dict[str, Server]


class Killer:
    """Kills one target at a time, at random moments; every other kill of worker and model waits for a running job."""

    def __init__(self, topology: Topology, seed: int) -> None:
        self._site, self._servers = topology.site, topology.servers
        self._random = random.Random(seed)
        self._weights = _ROLES | {name: _SERVERS[name] for name in self._servers}

    def strike(self) -> Kill:
        """Kill something that runs, and return what."""
        while True:
            [target] = self._random.choices(list(self._weights), list(self._weights.values()))
            self._pause(target)
            mid_run = self._job_runs() if target in {"worker", MODEL} else False
            if self._kill(target):
                return Kill(target=target, mid_run=mid_run)

    def _pause(self, target: str) -> None:
        time.sleep(self._random.uniform(0.0, 2.5))
        if target in {"worker", MODEL} and self._random.random() < 0.5:
            deadline = time.monotonic() + _AIM_S
            while time.monotonic() < deadline and not self._job_runs():
                time.sleep(0.005)

    def _job_runs(self) -> bool:
        query = sa.select(schema.jobs.c.id).where(schema.jobs.c.state == "RUNNING").limit(1)
        return bool(self._site.rows_of(query))

    def _kill(self, target: str) -> bool:
        if target not in self._servers:
            return self._site.kill(target)
        self._servers[target].kill()
        time.sleep(self._random.uniform(0.0, 1.0))
        self._servers[target].start()
        self._site.revive()
        return True


def prove(
    topology: Topology, folder: Path, *, kills: int, seed: int, heads: int, on_kill: Callable[[Kill], None]
) -> tuple[Ledger, list[Kill]]:
    """Send and kill, let it come to rest, and return what was found."""
    site, sent, numbers = topology.site, Sent(), count(1)
    pool = phantoms(heads, 3 * heads)
    follower = Follower(site.http_url)
    senders = [
        Sender(site.settings.dicom_port, folder / "sent", seed * 10 + at, numbers, sent, pool) for at in range(_SENDERS)
    ]
    for thread in (*senders, follower):
        thread.start()
    killer, done = Killer(topology, seed), []
    for _ in range(kills):
        done.append(killer.strike())
        on_kill(done[-1])
    for sender in senders:
        sender.finish()
    for sender in senders:
        sender.join()
    site.wait(lambda: True if at_rest(site) else None, "at rest", limit_s=_REST_LIMIT_S)
    follower.finish()
    ledger = judge(site, sent, follower.seen)
    ledger.figures |= {"kills": len(done), "kills while a job ran": sum(kill.mid_run for kill in done)}
    ledger.figures["interruptions of the feed's reader"] = follower.interruptions
    return ledger, done


def at_rest(site: Site) -> bool:
    """Tell whether every role answers, every study is judged and told of, no job is open; start what has ended."""
    site.revive()
    studies, jobs, results = schema.studies, schema.jobs, schema.results
    restless = sa.select(studies.c.id).where(studies.c.state != "TRIAGED").limit(1)
    open_jobs = sa.select(jobs.c.id).where(jobs.c.state.in_(("WAITING", "RUNNING"))).limit(1)
    untold = sa.select(results.c.id).where(results.c.reported_at.is_(None), results.c.provisional.is_(None)).limit(1)
    answers = {"gateway", "api", "worker"} <= site.processes().keys()
    return answers and _serves(site) and not any(map(site.rows_of, (restless, open_jobs, untold)))


def _serves(site: Site) -> bool:
    try:
        return site.call("GET", "/health/ready").status == 200
    except OSError:
        return False
    except Exception as error:
        if type(error).__module__.startswith("urllib3"):
            return False
        raise


# ------------------------------------------------------------------------------------------------------- topologies
@contextmanager
def running(topology: str, folder: Path, broker: str) -> Iterator[Topology]:
    """Run a set-up below `folder`, with the servers it needs."""
    with ExitStack() as stack:
        if topology == "embedded":
            yield Topology(site=stack.enter_context(embedded(folder / "site")), servers={})
            return
        postgres = stack.enter_context(running_postgres(folder / "postgres"))
        minio = stack.enter_context(running_minio(folder / "minio"))
        bell = stack.enter_context(_BROKERS[broker](folder / broker))
        site = apart(folder / "site", postgres=postgres, minio=minio, broker=bell, name="kills")
        yield Topology(site=stack.enter_context(site), servers={"broker": bell, "postgres": postgres, "minio": minio})


def print_report(ledger: Ledger, kills: list[Kill]) -> None:
    """Print a table, then the same as JSON."""
    table = Table("what", "how many", title="Killed many times")
    targets = Counter(kill.target for kill in kills)
    for name, number in {**{f"kills of {name}": n for name, n in sorted(targets.items())}, **ledger.figures}.items():
        table.add_row(name, str(number))
    table.add_row("violations", str(len(ledger.violations)))
    Console().print(table)
    for sentence in ledger.violations[:50]:
        print(f"VIOLATION {sentence}")
    print(json.dumps({"targets": targets, **ledger.as_dict()}))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", choices=("embedded", "distributed"), default="embedded")
    parser.add_argument("--broker", choices=tuple(_BROKERS), default="redis")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--heads", type=int, default=2, help="head CT phantoms to send; three times as many chests")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="roi-kills-") as scratch,
        running(options.topology, Path(scratch), options.broker) as topology,
        Progress(console=Console(stderr=True)) as bar,
    ):
        task = bar.add_task("kills", total=options.kills)
        ledger, kills = prove(
            topology,
            Path(scratch),
            kills=options.kills,
            seed=options.seed,
            heads=options.heads,
            on_kill=lambda _kill: bar.advance(task),
        )
    print_report(ledger, kills)
    sys.exit(bool(ledger.violations))


if __name__ == "__main__":
    main()

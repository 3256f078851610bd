"""Anything may happen: ``python -m tests.proofs.ingest --topology embedded|distributed|landing --kills N --seed S``.

Modalities send and send again, also copies with other content and in other encodings, while one fault after the other
befalls the archive (`tests.proofs.faults`).  Then it comes to rest, is scrubbed, and is held against what was sent:
acknowledged = stored = indexed, digests equal, one effective trigger for each study revision and model, no orphan.
Exit code 1 on any violation.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from storage import schema
from tests.acceptance.site import Site
from tests.proofs.faults import FAULTS, struck
from tests.proofs.kills import at_rest
from tests.proofs.ledger import KILLED, Ledger, judge, judge_copies, judge_orphans
from tests.proofs.rig import TOPOLOGIES, Rig, missing, running_rig
from tests.proofs.rivals import Copies, Rival, WebSender
from tests.proofs.senders import Follower, Sender, Sent, phantoms

_RIVALS = 3
_REST_LIMIT_S = 420.0


def prove(
    rig: Rig, folder: Path, *, faults: Sequence[str], kills: int, seed: int, on_fault: Callable[[str], None]
) -> tuple[Ledger, list[str]]:
    """Send while faults strike, let it come to rest, and return what was found and what struck."""
    began, sent, copies = time.monotonic(), Sent(), Copies()
    senders = _senders(rig, folder / "sent", seed, sent, copies)
    follower = Follower(rig.site.http_url)
    for thread in (*senders, follower):
        thread.start()
    done: list[str] = []
    for name in struck(rig, list(faults), kills):
        done.append(name)
        on_fault(name)
    if rig.clock is not None:
        rig.clock.set(0)
    struck_s = time.monotonic() - began
    for sender in senders:
        sender.finish()
    for sender in senders:
        sender.join()
    site = rig.site
    site.wait(lambda: True if at_rest(site) and _nothing_lands(site) else None, "at rest", limit_s=_REST_LIMIT_S)
    follower.finish()
    ledger = _judged(rig.site, sent, copies, follower)
    for sender in senders:
        ledger.hold(sender.ended_well, f"{sender.name} died")
    ledger.figures |= {"faults": len(done), "seconds of faults": round(struck_s)}
    ledger.figures["seconds in all"] = round(time.monotonic() - began)
    return ledger, done


def _nothing_lands(site: Site) -> bool:
    """Tell whether everything has gone from the gateway's disk to the object store."""
    waiting = site.rows_of(sa.select(schema.landings.c.object_key).limit(1))
    return not waiting and not any((site.settings.data / "landing" / "objects").glob("*/*"))


def _senders(rig: Rig, folder: Path, seed: int, sent: Sent, copies: Copies) -> list[Sender]:
    numbers, pool = count(1), phantoms(0, 3)
    web = WebSender(rig.site.settings.http_port, folder, seed * 10, numbers, sent, [])
    rivals = [Rival(rig.line.port, folder, seed * 10 + at, numbers, sent, pool, copies) for at in range(1, _RIVALS + 1)]
    return [web, *rivals]


def _judged(site: Site, sent: Sent, copies: Copies, follower: Follower) -> Ledger:
    ledger = judge(site, sent, follower.seen, excuses=KILLED)
    judge_copies(ledger, site, copies)
    scrub(site)
    judge_orphans(ledger, site)
    ledger.figures["interruptions of the feed's reader"] = follower.interruptions
    return ledger


def scrub(site: Site) -> None:
    """Remove what no row needs, however young."""
    done = site.roi("scrub", "--after", "0", "--rate", "0", "--json")
    assert done.returncode in {0, 1}, done.stderr


def print_report(ledger: Ledger, faults: Sequence[str], lacks: Sequence[str], *, as_json: bool) -> None:
    """Print a table, or the same as JSON."""
    targets = Counter(faults)
    if as_json:
        print(json.dumps({"faults": targets, "lacks": lacks, **ledger.as_dict()}))
        return
    table = Table("what", "how many", title="Whatever happens")
    for name, number in [*((FAULTS[name].what, n) for name, n in sorted(targets.items())), *ledger.figures.items()]:
        table.add_row(name, str(number))
    table.add_row("violations", str(len(ledger.violations)))
    Console().print(table)
    for reason in lacks:
        print(f"LEFT OUT {reason}")
    for sentence in ledger.violations[:50]:
        print(f"VIOLATION {sentence}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topology", choices=tuple(TOPOLOGIES), default="embedded")
    parser.add_argument("--kills", type=int, default=20, help="faults to inject, of any kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", default=",".join(FAULTS), help="which, by name: %(default)s")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", type=Path, help="keep everything below this new folder")
    options = parser.parse_args()
    names = options.faults.split(",")
    if unknown := set(names) - FAULTS.keys():
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    if reason := missing(options.topology):
        parser.error(reason)
    with tempfile.TemporaryDirectory(prefix="roi-ingest-", ignore_cleanup_errors=True) as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(exist_ok=True)
        with (
            running_rig(options.topology, folder, seed=options.seed) as rig,
            Progress(console=Console(stderr=True)) as bar,
        ):
            task = bar.add_task("faults", total=options.kills)
            ledger, done = prove(
                rig,
                folder,
                faults=names,
                kills=options.kills,
                seed=options.seed,
                on_fault=lambda _name: bar.advance(task),
            )
            lacks = rig.lacks
    print_report(ledger, done, lacks, as_json=options.json)
    sys.exit(bool(ledger.violations))


if __name__ == "__main__":
    main()

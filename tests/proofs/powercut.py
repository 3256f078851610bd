"""A power cut, played: what was not synced is lost, and everything that was acknowledged is there all the same.

``python -m tests.proofs.powercut`` runs a gateway whose syncs are written down (`tests.proofs.forgetful`), sends it
instances on several associations, kills it in the midst of them, and makes its data folder anew as a power cut may
have left it: names that were not synced are there or gone, bytes that were not synced are none, half of them or zeros.
Then the store is opened, and held against what the senders were told.  Again and again, by `--cuts`.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from pacs_gateway import scu
from storage import schema
from storage.adapters import open_store
from storage.database import Database
from storage.whole import meta_length
from tests.acceptance.studies import SentFile, small_ct, write
from tests.proofs.forgetful import Shadow, names_now
from tests.servers.process import free_port

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a power cut left."""

    data: Path
    acknowledged: Sequence[SentFile]
    lost: int
    """Objects whose name or bytes had not been synced."""


def cut(folder: Path, dice: random.Random, *, associations: int, slices: int, synced: bool = True) -> Cut:
    """Send to a gateway, kill it at some moment, and take from its disk what was not synced.

    `synced` = False takes what a gateway would have left that never synced an object.
    """
    files = [write(small_ct(number, slices=slices), folder / "files" / str(number)) for number in range(associations)]
    sent = [file for study in files for file in study]
    program = ["tests.proofs.forgetful", str(folder / "shadow")]
    acknowledged = _run(folder, program, sent, dice.randrange(1, len(sent)), associations=associations)
    shadow = Shadow(folder / ("shadow" if synced else "nothing"))
    after, lost = folder / "after", 0
    shutil.copytree(folder / "data", after, ignore=shutil.ignore_patterns("store"))
    for shelf in (folder / "data/store/objects").iterdir():
        lost += _lose(shadow, shelf, after / "store/objects" / shelf.name, dice)
    return Cut(data=after, acknowledged=acknowledged, lost=lost)


def _run(
    folder: Path, program: Sequence[str], sent: Sequence[SentFile], kill_at: int, *, associations: int
) -> list[SentFile]:
    """Run the gateway until so many instances were answered; return what was acknowledged."""
    port, state, log = free_port(), folder / "state", folder / "gateway.log"
    data = ["--data", str(folder / "data"), "--dicom-port", str(port)]
    send = ["send", str(folder / "files"), "127.0.0.1", str(port), "--associations", str(associations)]
    state.touch()
    with (
        log.open("wb") as told,
        subprocess.Popen([sys.executable, "-m", *program, "gateway", *data], cwd=ROOT, stderr=told) as gateway,
    ):
        _wait_until(lambda: "gateway ready" in log.read_text(), gateway)
        sender = subprocess.Popen(
            [sys.executable, "-m", "roi.cli", *send, "--state", str(state)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait_until(lambda: len(state.read_text().splitlines()) >= kill_at, gateway)
        gateway.kill()
        sender.wait(120)  # it says what was not taken
    answered = set(state.read_text().splitlines())
    memory = scu._Memory(None)
    return [file for file in sent if memory.key(file.path) in answered]


def _wait_until(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert process.poll() is None, "the gateway has ended"
        assert time.monotonic() < deadline, "it was not so in time"
        time.sleep(0.01)


def _lose(shadow: Shadow, before: Path, after: Path, dice: random.Random) -> int:
    """Make a shelf as a power cut may leave it; return how many objects had not been synced."""
    after.mkdir(parents=True)
    synced, lost = shadow.names(before), 0
    for name, inode in {**names_now(before), **synced}.items():
        content = shadow.content(inode)
        if content is None:
            whole = (before / name).read_bytes() if (before / name).exists() else b""
            content = dice.choice([b"", whole[: len(whole) // 2], bytes(len(whole))])
        if name in synced or dice.random() < 0.7:  # a file system may write names and lengths long before the bytes
            (after / name).write_bytes(content)
        lost += name not in synced or shadow.content(inode) is None
    return lost


# ------------------------------------------------------------------------------------------------------ judging
def violations(after: Cut) -> list[str]:
    """Open what was left, and return a sentence for everything that is not as it was promised."""
    store = open_store(f"dir://{after.data}/store")
    found = [f"{path.name}: not a whole object" for path in _broken(after.data / "store/objects")]
    with closing(Database(f"sqlite:///{after.data}/catalogue.sqlite")) as database, database.read() as tx:
        rows = tx.execute(sa.select(schema.instances)).all()
    uids = [row.sop_instance_uid for row in rows]
    found += [
        f"{file.instance}: acknowledged, and not once in the catalogue"
        for file in after.acknowledged
        if uids.count(file.instance) != 1
    ]
    there = set(store.keys())
    for row in rows:
        if row.object_key not in there:
            found.append(f"{row.sop_instance_uid}: the object is lost")
            continue
        with store.open(row.object_key, offset=row.meta_bytes) as stream:
            content = stream.read()
        if hashlib.sha256(content).hexdigest() != row.object_key or row.meta_bytes + len(content) != row.size_bytes:
            found.append(f"{row.sop_instance_uid}: the object has other bytes")
    sent = {file.instance: file.digest for file in after.acknowledged}
    return found + [
        f"{row.sop_instance_uid}: other bytes than were sent"
        for row in rows
        if sent.get(row.sop_instance_uid, row.object_key) != row.object_key
    ]


def _broken(objects: Path) -> Iterable[Path]:
    for path in objects.glob("*/*"):
        content = path.read_bytes()
        if hashlib.sha256(content[meta_length(content) :]).hexdigest() != path.name:
            yield path


def main() -> None:
    """Play power cuts and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--associations", type=int, default=4)
    parser.add_argument("--slices", type=int, default=60)
    options = parser.parse_args()
    found: list[str] = []
    for number in range(options.cuts):
        dice = random.Random(options.seed + number)
        with tempfile.TemporaryDirectory(prefix="roi-powercut-") as scratch:
            after = cut(Path(scratch), dice, associations=options.associations, slices=options.slices)
            told = violations(after)
        found += told
        print(
            f"seed {options.seed + number}: {len(after.acknowledged)} acknowledged, "
            f"{after.lost} objects not synced yet, {len(told)} violations"
        )
    print("\n".join(found) or "everything acknowledged is there, bit for bit, once, and no object is half there")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

"""Makes the kept data folder of a release: ``python -m tests.releases.make --code CHECKOUT --out FILE.tar.xz``.

Runs that release's own code on SQLite and on a real PostgreSQL, fills both as `tests.releases.scene` says, and packs
the data folders, the PostgreSQL one with its catalogue as plain SQL.
"""

from __future__ import annotations

import argparse
import json
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from tests.acceptance.installation import without_torch
from tests.acceptance.site import embedded
from tests.releases import scene
from tests.servers.postgres import PostgresServer, dump, running_postgres

SEEN: Final = "seen.json"
DUMP: Final = "catalogue.sql"
_LEFT_OUT: Final = ("incoming", "spool", "serve.lock", "catalogue.sqlite-shm")


def make(code: Path, out: Path) -> None:
    """Make both data folders with the release in `code` and pack them into `out`."""
    with (
        tempfile.TemporaryDirectory(prefix="roi-release-") as scratch,
        running_postgres(Path(scratch) / "pg") as server,
    ):
        folder = Path(scratch) / "made"
        _fill(code, folder / "sqlite", None)
        _fill(code, folder / "postgres", server)
        with (
            lzma.open(out, "wb", preset=9 | lzma.PRESET_EXTREME) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for kind in ("sqlite", "postgres"):
                tar.add(folder / kind / "data", arcname=kind, filter=_anonymous)
    sys.stdout.write(f"{out}: {out.stat().st_size} bytes\n")


def _fill(code: Path, folder: Path, server: PostgresServer | None) -> None:
    settings = {} if server is None else {"catalogue": server.make_database("roi")}
    with embedded(folder, code=code, **settings) as site:
        triaged = scene.fill(site, folder / "sent", code)
    bare = without_torch(folder / "bare")
    with embedded(folder, code=code, environment=bare, **settings) as site:
        waiting = scene.add_waiting(site)
        seen = {"triaged": triaged, "waiting": waiting, **scene.seen(site)}
    data = folder / "data"
    (data / SEEN).write_text(json.dumps(seen, ensure_ascii=False, indent=1), encoding="utf-8")
    if server is not None:
        (data / DUMP).write_text(dump(settings["catalogue"]), encoding="utf-8")
    for name in _LEFT_OUT:
        for path in data.rglob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode |= 0o600  # a kept object is read-only; whoever unpacks it has to be able to remove it
    return entry


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--code", type=Path, required=True, help="checkout of the release")
    parser.add_argument("--out", type=Path, required=True, help="archive to write, .tar.xz")
    told = parser.parse_args()
    make(told.code.resolve(), told.out)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{error}\n{error.stderr}\n")
        raise

"""A gateway with Orthanc's durability, to compare like with like; no setting of the product does this.

Files are synced by `fdatasync`, folders not at all, and SQLite commits with synchronous=NORMAL: after a power cut an
acknowledged instance may be gone.  All else is `roi gateway`, whose arguments it takes.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

MARKER = "relaxed"
"""Written beside us once SQLite has confirmed it: who measures checks that it is there."""

_PRAGMA = "PRAGMA synchronous"


class _Cursor(sqlite3.Cursor):
    def execute(self, sql: str, parameters: Any = (), /) -> Self:  # noqa: ANN401 - whatever sqlite3 takes
        if not sql.startswith(f"{_PRAGMA}="):
            super().execute(sql, parameters)
            return self
        super().execute(f"{_PRAGMA}=NORMAL")
        [level] = super().execute(_PRAGMA).fetchone()
        Path(MARKER).write_text(str(level))
        cast("_Connection", self.connection).relaxed = True  # what follows costs what it costs the product
        return self


class _Connection(sqlite3.Connection):
    relaxed = False

    def cursor(self, factory: Any = None) -> Any:  # noqa: ANN401 - as in the base
        return super().cursor(factory or (sqlite3.Cursor if self.relaxed else _Cursor))


def _sync_files_only(descriptor: int) -> None:
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.fdatasync(descriptor)


def main() -> None:
    """Run the gateway until SIGTERM."""
    connect: Callable[..., sqlite3.Connection] = sqlite3.dbapi2.connect

    def connect_relaxed(*arguments: Any, **options: Any) -> sqlite3.Connection:  # noqa: ANN401 - as sqlite3's own
        return connect(*arguments, **{"factory": _Connection, **options})

    os.fsync = _sync_files_only  # type: ignore[assignment]
    sqlite3.dbapi2.connect = sqlite3.connect = connect_relaxed  # type: ignore[assignment]
    from roi.cli import app  # noqa: PLC0415 - not before sync is what we say it is

    app(["gateway", *sys.argv[1:]])


if __name__ == "__main__":
    main()

"""Two PostgreSQL servers, the second following the first synchronously, behind one address that follows a promotion."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psycopg

from tests.servers.line import Line
from tests.servers.postgres import ACCOUNT, PostgresServer, cluster_program, make_cluster, tool
from tests.servers.process import free_port, guarded

STANDBY = "standby"
SYNCHRONOUS = f"ANY 1 ({STANDBY})"
"""`synchronous_standby_names` on whoever is the primary: no commit returns before the standby has synced it."""


class PostgresPair:
    """A primary and its synchronous standby; `url` stays the same whoever serves.

    A promotion kills the primary, promotes the standby, leads the line to it and makes a new standby of a copy of it:
    commits wait until that one follows.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._members = 0
        self.primary = self._member()
        self.standby: PostgresServer | None = None
        self.line = Line(_port(self.primary))
        self.url = f"postgresql://{ACCOUNT}@127.0.0.1:{self.line.port}/postgres"

    def __enter__(self) -> Self:
        make_cluster(self.primary.program, _data(self.primary))
        self.primary.start()
        self.line.__enter__()
        with psycopg.connect(self.primary.url, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{SYNCHRONOUS}'")
            connection.execute("SELECT pg_reload_conf()")
        self._follow()
        return self

    def __exit__(self, *_: object) -> None:
        self.line.__exit__()
        for server in (self.standby, self.primary):
            if server is not None:
                server.kill()  # scratch data

    def make_database(self, name: str) -> str:
        """Make an empty database and return its URL, by way of the line."""
        self.primary.make_database(name)
        return f"{self.url.rpartition('/')[0]}/{name}"

    def kill(self) -> None:
        """Kill the primary."""
        self.primary.kill()

    def start(self) -> Self:
        """Start the primary again."""
        self.primary.start()
        return self

    def promote(self) -> None:
        """Lose the primary for good, and go on with the standby."""
        assert self.standby is not None
        old, self.primary = self.primary, self.standby
        old.kill()
        with psycopg.connect(self.primary.url, autocommit=True) as connection:
            connection.execute("SELECT pg_promote(wait => true)")
        self.line.lead_to(_port(self.primary))
        shutil.rmtree(old.program.folder)
        self._follow()

    def _follow(self) -> None:
        """Make a standby of a copy of the primary."""
        self.standby = self._member()
        program = self.standby.program
        source = f"host=127.0.0.1 port={_port(self.primary)} user={ACCOUNT} application_name={STANDBY}"
        copy = [str(tool("pg_basebackup")), "-d", source, "-D", str(_data(self.standby)), "-R", "-c", "fast"]
        subprocess.run([*guarded(program), *copy, "--no-sync"], check=True, capture_output=True, cwd=program.folder)
        self.standby.start()

    def _member(self) -> PostgresServer:
        self._members += 1
        folder = self._folder / f"member-{self._members}"
        port = free_port()
        url = f"postgresql://{ACCOUNT}@127.0.0.1:{port}/postgres"
        program = cluster_program(folder, port, url)
        return PostgresServer(program, url)


def _data(server: PostgresServer) -> Path:
    return server.program.folder / "data"


def _port(server: PostgresServer) -> int:
    return int(server.url.rpartition("/")[0].rpartition(":")[2])


@contextmanager
def running_pair(folder: Path) -> Iterator[PostgresPair]:
    """Run a new pair below `folder`."""
    folder.mkdir(parents=True)
    with PostgresPair(folder) as pair:
        yield pair

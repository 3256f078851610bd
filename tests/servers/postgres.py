"""PostgreSQL, with its durability as shipped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.servers.process import Program, Server, find_program, free_port, guarded

ACCOUNT = "postgres"


class PostgresServer(Server):
    """A throw-away cluster; `url` names its database ``postgres``."""

    def make_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return f"{self.url.rpartition('/')[0]}/{name}"


def available() -> str | None:
    """Return why PostgreSQL cannot be run here, or None."""
    return None if _tool("initdb") else "PostgreSQL is not installed"


@contextmanager
def running_postgres(folder: Path) -> Iterator[PostgresServer]:
    """Run a new cluster below `folder`, reached without a password on loopback only."""
    port = free_port()
    url = f"postgresql://{ACCOUNT}@127.0.0.1:{port}/postgres"
    data = folder / "data"
    data.mkdir(parents=True)
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
    program = Program(
        name="PostgreSQL",
        command=[str(_tool("postgres")), "-D", str(data), *(f"--{key}={value}" for key, value in options.items())],
        folder=folder,
        is_ready=lambda: psycopg.connect(url, connect_timeout=2).close(),
        user=ACCOUNT,
        stop_signal=signal.SIGQUIT,  # at once: a last checkpoint of scratch data can take longer than the tests
    )
    _make_cluster(program, data)
    with PostgresServer(program, url) as server:
        yield server


def _make_cluster(program: Program, data: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(data, ACCOUNT)
    initdb = [str(_tool("initdb")), "-D", str(data), "-U", ACCOUNT, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
    subprocess.run([*guarded(program), *initdb], check=True, capture_output=True, cwd=program.folder)


def _tool(name: str) -> Path | None:
    """Debian keeps the server programs off the PATH, one folder a version."""
    newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    return find_program(name, folders=newest_first)

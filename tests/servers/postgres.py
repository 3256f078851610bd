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
    return None if tool("initdb") else "PostgreSQL is not installed"


@contextmanager
def running_postgres(folder: Path) -> Iterator[PostgresServer]:
    """Run the cluster below `folder`, made where there is none, reached without a password on loopback only."""
    port = free_port()
    url = f"postgresql://{ACCOUNT}@127.0.0.1:{port}/postgres"
    program = cluster_program(folder, port, url)
    if not (folder / "data/PG_VERSION").exists():
        make_cluster(program, folder / "data")
    with PostgresServer(program, url) as server:
        yield server


def cluster_program(folder: Path, port: int, url: str) -> Program:
    """Return how a cluster in ``folder/data``, a folder made here where it is missing, is run."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(data, ACCOUNT)
        data.chmod(0o700)
    options = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "dynamic_shared_memory_type": "mmap",  # below the folder: a killed server leaves nothing in /dev/shm
    }
    return Program(
        name="PostgreSQL",
        command=[str(tool("postgres")), "-D", str(data), *(f"--{key}={value}" for key, value in options.items())],
        folder=folder,
        is_ready=lambda: psycopg.connect(url, connect_timeout=2).close(),
        user=ACCOUNT,
        stop_signal=signal.SIGQUIT,  # at once: a last checkpoint of scratch data can take longer than the tests
    )


def dump(url: str) -> str:
    """Return a database as SQL that any PostgreSQL of this version or a later one runs."""
    command = [str(tool("pg_dump")), "--inserts", "--no-owner", "--no-privileges", url]
    sql = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # psql's own commands, with a random word that older ones do not know
    return "".join(line for line in sql.splitlines(keepends=True) if not line.startswith("\\"))


def restore(url: str, sql: Path) -> None:
    """Run what `dump` returned on an empty database."""
    command = [str(tool("psql")), "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={sql}", url]
    subprocess.run(command, check=True, capture_output=True, text=True)


def make_cluster(program: Program, data: Path) -> None:
    """Fill the folder of a new cluster."""
    initdb = [str(tool("initdb")), "-D", str(data), "-U", ACCOUNT, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
    subprocess.run([*guarded(program), *initdb], check=True, capture_output=True, cwd=program.folder)


def tool(name: str) -> Path | None:
    """Debian keeps the server programs off the PATH, one folder a version."""
    newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    return find_program(name, folders=newest_first)

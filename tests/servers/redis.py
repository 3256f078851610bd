"""Redis as a broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.servers.process import Program, Server, find_program, free_port


def available() -> str | None:
    """Return why Redis cannot be run here, or None."""
    return None if find_program("redis-server") else "Redis is not installed"


@contextmanager
def running_redis(folder: Path) -> Iterator[Server]:
    """Run an empty Redis below `folder` that keeps its append-only file, as a broker in service does."""
    folder.mkdir(parents=True)
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    options = {"port": port, "bind": "127.0.0.1", "dir": folder, "appendonly": "yes", "save": ""}
    program = Program(
        name="Redis",
        command=["redis-server", *(word for key, value in options.items() for word in (f"--{key}", str(value)))],
        folder=folder,
        is_ready=lambda: _ping(url),
    )
    with Server(program, url) as server:
        yield server


def _ping(url: str) -> None:
    with redis.Redis.from_url(url, socket_timeout=2) as client:
        client.ping()

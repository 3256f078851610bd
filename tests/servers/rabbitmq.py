"""RabbitMQ as a broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import amqp

from tests.servers.process import Program, Server, connects, find_program, free_port

_SCRIPTS = Path("/usr/lib/rabbitmq/bin")
"""Debian's script on the PATH insists on an account and a folder of its own; these do not."""


def available() -> str | None:
    """Return why RabbitMQ cannot be run here, or None."""
    if not _server_script():
        return "RabbitMQ is not installed"
    return None if find_program("epmd") else "Erlang's epmd is not installed"


@contextmanager
def running_rabbitmq(folder: Path) -> Iterator[Server]:
    """Run an empty broker below `folder`, the default guest account on loopback.

    Erlang's port mapper would be started as a daemon that outlives the broker, so one of our own runs beside it.
    """
    folder.mkdir(parents=True)
    (folder / "epmd").mkdir()
    port, dist_port, mapper_port = free_port(), free_port(), free_port()
    env = {
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"roi{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(dist_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RUNNING_UNDER_SYSTEMD": "true",  # no shell between us and the broker: it dies with us
    }
    mapper = Program(
        name="epmd",
        command=["epmd"],
        folder=folder / "epmd",
        is_ready=lambda: connects(mapper_port),
        env=env,
    )
    broker = Program(
        name="RabbitMQ",
        command=[str(_server_script())],
        folder=folder,
        is_ready=lambda: _connect(port),
        env=env,
        start_s=120,
        stop_s=60,
    )
    with Server(mapper, ""), Server(broker, f"amqp://guest:guest@127.0.0.1:{port}//") as server:
        yield server


def _server_script() -> Path | None:
    script = _SCRIPTS / "rabbitmq-server"
    return script if script.exists() else find_program("rabbitmq-server")


def _connect(port: int) -> None:
    with amqp.Connection(f"127.0.0.1:{port}", connect_timeout=2):
        pass

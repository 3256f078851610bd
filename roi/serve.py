"""`roi serve`: every role on one machine, under one supervisor; and several gateways on one port."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from roi.errors import PortTaken
from roi.folder import data_folder_lock
from roi.logs import configure
from roi.supervise import Role, Supervisor

if TYPE_CHECKING:
    from roi.settings import Settings

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Run gateway, API and worker until SIGTERM; print one line once all are ready."""
    configure("supervisor", settings.log)
    settings = _with_ports(settings)
    with data_folder_lock(settings.data):
        _migrate(settings)
        roles = [*_gateways(settings), *(Role(name=name, arguments=[name]) for name in ("api", "worker"))]
        Supervisor(roles, settings.as_environment()).run(lambda: print_ready(settings))


def serve_gateways(settings: Settings) -> None:
    """Run several gateways on one port until SIGTERM; each that dies is started again alone."""
    configure("supervisor", settings.log)
    settings = _with_ports(settings)
    _migrate(settings)
    ready = {"action": "ready", "port": settings.dicom_port, "aet": settings.aet}
    Supervisor(_gateways(settings), settings.as_environment()).run(lambda: logger.info("gateways ready", extra=ready))


def _gateways(settings: Settings) -> list[Role]:
    """Return the gateways that share the port; the kernel deals connections out to them.

    Whoever may share a port is not told that it is taken by somebody else: so it is tried here first.
    """
    count = settings.gateway_processes
    if count == 1:
        return [Role(name="gateway", arguments=["gateway"])]
    family = socket.AF_INET6 if ":" in settings.dicom_bind else socket.AF_INET
    try:
        socket.create_server((settings.dicom_bind, settings.dicom_port), family=family).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # Python repeats the address there
        raise PortTaken(f"cannot listen on {settings.dicom_bind} port {settings.dicom_port}: {reason}") from error
    return [Role(name=f"gateway {number}", arguments=["gateway"]) for number in range(1, count + 1)]


def _migrate(settings: Settings) -> None:
    """Bring the catalogue to this release's schema, once, before three roles want to.

    In a process of its own: the supervisor lives as long as the archive and need not carry the libraries for it.
    """
    command = [sys.executable, "-m", "roi.cli", "migrate"]
    done = subprocess.run(command, env=settings.as_environment(), stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _with_ports(settings: Settings) -> Settings:
    """Choose the ports that were left to us, so that every role and the ready line know them."""
    chosen = {name: getattr(settings, name) or free_port() for name in ("dicom_port", "http_port")}
    return settings.model_copy(update=chosen)


def print_ready(settings: Settings) -> None:
    """Say in one line where everything is."""
    sys.stdout.write(
        f"Rọi is ready: DICOM {settings.aet} at {settings.dicom_bind}:{settings.dicom_port}, "
        f"worklist at {settings.base_url}/, data in {settings.data.resolve()}\n"
    )
    sys.stdout.flush()

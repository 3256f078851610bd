"""The three roles, each a process that says when it is ready and stops on SIGTERM."""

from __future__ import annotations

import gc
import logging
import signal
from typing import TYPE_CHECKING, Final

from roi import compose
from roi.logs import configure
from roi.supervise import say_ready, wait_for_stop

if TYPE_CHECKING:
    from roi.settings import Settings

logger = logging.getLogger(__name__)


_GARBAGE_AT: Final = (20_000, 20, 20)
"""Objects made and not yet gone, after which the collector of reference cycles looks; Python's own 700 suits small
programs."""


def _spare_collector() -> None:
    """Keep the garbage collector off what lives as long as the process: an instance leaves hardly a cycle behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_AT)


def run_gateway(settings: Settings, ready_fd: int | None) -> None:
    """Serve DICOM until SIGTERM."""
    configure("gateway", settings.log)
    with compose.gateway(settings) as gateway:
        _spare_collector()
        logger.info("gateway ready", extra={"action": "ready", "port": gateway.port, "aet": settings.aet})
        say_ready(ready_fd)
        wait_for_stop()
    logger.info("gateway stopped", extra={"action": "stopped"})


def run_api(settings: Settings, ready_fd: int | None) -> None:
    """Serve HTTP until SIGTERM."""
    from api.serve import WebServer
    from api.service import create_app

    configure("api", settings.log)
    with compose.api_context(settings) as context:
        server = WebServer(create_app(context), host=settings.http_bind, port=settings.http_port)
        _spare_collector()
        logger.info("api ready", extra={"action": "ready", "port": server.port})
        say_ready(ready_fd)
        server.run()
    logger.info("api stopped", extra={"action": "stopped"})


def run_worker(settings: Settings, ready_fd: int | None) -> None:
    """Work until SIGTERM."""
    from roi.housekeeping import housekeeping

    configure("worker", settings.log)
    with compose.worker(settings) as worker, housekeeping(settings):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: worker.stop())
        logger.info("worker ready", extra={"action": "ready"})
        say_ready(ready_fd)
        worker.run()
    logger.info("worker stopped", extra={"action": "stopped"})

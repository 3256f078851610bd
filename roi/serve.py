"""`roi serve`: every role on one machine, under one supervisor."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from roi.compose import data_folder_lock, open_database
from roi.logs import configure
from roi.supervise import Role, Supervisor

if TYPE_CHECKING:
    from roi.settings import Settings


def serve(settings: Settings) -> None:
    """Run gateway, API and worker until SIGTERM; print one line once all are ready."""
    configure("supervisor", settings.log)
    with data_folder_lock(settings.data):
        open_database(settings).close()  # one process migrates, before three want to
        roles = [Role(name=name, arguments=[name]) for name in ("gateway", "api", "worker")]
        Supervisor(roles, settings.as_environment()).run(lambda: print_ready(settings))


def print_ready(settings: Settings) -> None:
    """Say in one line where everything is."""
    sys.stdout.write(
        f"Rọi is ready: DICOM {settings.aet} at {settings.dicom_bind}:{settings.dicom_port}, "
        f"worklist at http://{settings.http_bind}:{settings.http_port}/, data in {settings.data.resolve()}\n"
    )
    sys.stdout.flush()

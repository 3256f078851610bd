"""The process that makes extracts: by hand, until all are made, or behind everything else for the worker."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Final

from api.extractor import Extractor
from roi.compose import open_archive
from roi.logs import configure
from storage.turn import Stopped, UnderWay

if TYPE_CHECKING:
    from roi.settings import Settings

_LINGER_S: Final = 20.0
"""Without work before the process ends: starting it takes a second."""
_NICE: Final = 15
_PR_SET_PDEATHSIG: Final = 1


def extract(settings: Settings, *, behind: int) -> None:
    """Make what is to be made; for the process `behind` it gives way, waits a while for more, and ends with it.

    That another process is at it already is no error.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if behind:
        configure("extract", settings.log)
        os.nice(_NICE)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != behind:  # it died while this one started
            return
    with closing(open_archive(settings)) as archive:
        extractor = Extractor(archive, f"{settings.base_url}/dicom-web", rest=stop.wait, stopped=stop.is_set)
        try:
            count = extractor.run(linger_s=_LINGER_S if behind else 0.0)
        except (UnderWay, Stopped):
            return
    sys.stdout.write(f"extracts made of {count} studies\n")

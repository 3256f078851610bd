"""The process that makes extracts: by hand, until all are made, or behind everything else for the worker."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final

from api.extractor import Extractor
from roi.behind import step_behind, stop_on_signal
from roi.compose import open_archive
from storage.turn import Stopped, UnderWay

if TYPE_CHECKING:
    from roi.settings import Settings

_LINGER_S: Final = 20.0
"""Without work before the process ends: starting it takes a second."""


def extract(settings: Settings, *, behind: int) -> None:
    """Make what is to be made; for the process `behind` it gives way, waits a while for more, and ends with it.

    That another process is at it already is no error.
    """
    stop = stop_on_signal()
    if behind and not step_behind(settings, "extract", behind):
        return
    with closing(open_archive(settings)) as archive:
        extractor = Extractor(archive, f"{settings.base_url}/dicom-web", rest=stop.wait, stopped=stop.is_set)
        try:
            count = extractor.run(linger_s=_LINGER_S if behind else 0.0)
        except (UnderWay, Stopped):
            return
    sys.stdout.write(f"extracts made of {count} studies\n")

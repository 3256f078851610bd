"""The process that tells results as DICOM objects: by hand, until all are told, or behind everything else."""

from __future__ import annotations

import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Final

from inference.reporting import Reporter, Scope
from inference.reports import forms
from models import registry
from pacs_gateway.ingest import Ingest
from roi.behind import step_behind, stop_on_signal
from roi.compose import open_archive
from roi.errors import SettingWrong
from storage.archive import utc_now
from storage.records import MADE_HERE, Origin
from storage.turn import Stopped, UnderWay

if TYPE_CHECKING:
    from roi.settings import Settings
    from storage.archive import Archive
    from storage.records import Verdict

_LINGER_S: Final = 20.0
"""Without work before the process ends: starting it takes seconds."""


def report(settings: Settings, *, behind: int) -> None:
    """Tell what is to be told; for the process `behind` it gives way, waits a while for more, and ends with it.

    That another process is at it already is no error.
    """
    if not forms.available():
        raise SettingWrong("results cannot be written here: the extra [ai] is not installed")
    stop = stop_on_signal()
    if behind and not step_behind(settings, "report", behind):
        return
    # Straight into the object store: nobody brings on what lands on a worker's disk.
    with closing(open_archive(settings.model_copy(update={"ack": "archive"}))) as archive:
        reporter = Reporter(scope_of(settings, archive), clock=utc_now, rest=stop.wait, stopped=stop.is_set)
        try:
            count = reporter.run(linger_s=_LINGER_S if behind else 0.0)
        except (UnderWay, Stopped):
            return
    sys.stdout.write(f"objects kept of {count} results\n")


def scope_of(settings: Settings, archive: Archive) -> Scope:
    """Return what this site's results are told with; what we write comes in by the door that everything comes by."""
    return Scope(
        database=archive.database,
        objects=archive.objects,
        keep=partial(_keep, Ingest(archive)),
        cards={card.digest: card for card in registry.cards(settings.models_folder)},
        forms=forms.parse(settings.reports),
    )


def _keep(ingest: Ingest, content: bytes) -> Verdict:
    verdict, _ = ingest.part10([content], Origin(via=MADE_HERE))
    return verdict

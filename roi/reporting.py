"""Results are told as DICOM objects by a process of its own, started by the worker when some wait."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from inference.reports import forms
from roi.behind import keeping
from storage.catalog import reports

if TYPE_CHECKING:
    from roi.settings import Settings
    from storage.database import Transaction


def reporting(settings: Settings) -> AbstractContextManager[None]:
    """Have results told for as long as the block lasts; nothing where nobody wants or can write them."""
    if not forms.parse(settings.reports) or not forms.available():
        return nullcontext()
    return keeping(settings, "report", reports.KIND, Untold())


class Untold:
    """Results that wait to be told."""

    def waits(self, tx: Transaction) -> bool:
        """Tell whether there is one."""
        return reports.any_waits(tx)

    def ended(self, tx: Transaction) -> bool:
        """Tell whether there is one still: what a process left, another would leave, too."""
        return reports.any_waits(tx)

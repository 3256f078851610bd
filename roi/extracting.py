"""Extracts are made in a process of its own that gives way to every other, started by the worker when there is need."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from roi.behind import keeping
from storage.catalog import changes
from storage.catalog.extracts import CAUSE, KIND
from storage.catalog.following import Position

if TYPE_CHECKING:
    from roi.settings import Settings
    from storage.database import Transaction


def extracting(settings: Settings) -> AbstractContextManager[None]:
    """Have extracts made whenever there is need, for as long as the block lasts."""
    return keeping(settings, "extract", KIND, Unmade())


class Unmade:
    """Studies that wait for what first screens need of them.

    To the first look everything waits: what is there may have been made in another form.
    """

    def __init__(self) -> None:
        self._seen = 0
        """The last change up to which there is nothing left to make, as far as this process knows."""
        self._met = 0
        """The last change at the latest look."""

    def waits(self, tx: Transaction) -> bool:
        """Tell whether there is something to make."""
        position, self._met = Position.of(tx, KIND), changes.last_seq(tx)
        if self._seen and position is not None and position.old:
            return True
        done = max(self._seen, position.new) if self._seen and position is not None else self._seen
        later = changes.next_of(tx, CAUSE, after=done)
        if later is None:
            self._seen = self._met
        return later is not None

    def ended(self, tx: Transaction) -> bool:  # noqa: ARG002 - it leaves nothing, whatever there is by now
        """Note that all was made of what there was at the latest look."""
        self._seen = self._met
        return False

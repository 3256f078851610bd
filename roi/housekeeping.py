"""What a worker does beside its work: one file a chore, each with a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from roi.extracting import extracting
from roi.rejecting import rejecting
from roi.reporting import reporting
from roi.rerunning import rerunning
from roi.scrubbing import scrubbing
from roi.tidying import tidying
from roi.watching import watching

if TYPE_CHECKING:
    from roi.settings import Settings

_CHORES: Final = (scrubbing, extracting, rejecting, tidying, reporting, rerunning, watching)


@contextmanager
def housekeeping(settings: Settings) -> Iterator[None]:
    """Have every chore done for as long as the block lasts."""
    with ExitStack() as chores:
        for chore in _CHORES:
            chores.enter_context(chore(settings))
        yield

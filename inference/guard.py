"""The guard against too many flags: where a third of the list is flagged, a flag tells nothing, and AI moves nothing.

The list then stands in the order that it would have without AI; what a person or an order asked for stays.  Counted
are the studies that wait and became ready within `LOOK_BACK`: what nobody read for a day is not what readers choose
from.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from storage.catalog import audit, changes, guard, reading
from storage.catalog.guard import Guard

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Transaction

logger = logging.getLogger(__name__)

ON_ABOVE: Final = 0.30
"""The share of waiting studies that a model calls critical above which flags are taken to tell nothing."""
OFF_BELOW: Final = 0.20
"""The share below which they are believed again."""
FEWEST: Final = 10
"""With fewer studies waiting, any share may be chance."""
FEWEST_LEFT: Final = 5
"""Once on, it stays so until fewer than this wait."""
LOOK_BACK: Final = timedelta(hours=24)


def watch(tx: Transaction, *, now: datetime) -> None:
    """Count flagged studies, and turn the guard on or off where that changes it: one line of the audit, one change."""
    waiting, flagged = reading.waiting_since(tx, now - LOOK_BACK)
    was_on = guard.is_on(tx)
    is_on = wanted(waiting, flagged, was_on=was_on)
    if is_on == was_on:
        return
    counted = {"waiting": waiting, "flagged": flagged}
    if not guard.switch(tx, Guard(is_on=is_on, since=now, **counted)):
        return
    kind = "flag-rate-high" if is_on else "flag-rate-normal"
    audit.append(tx, actor="roi", action=kind, subject="worklist", at=now, detail=counted)
    changes.append(tx, kind, at=now, detail=counted)
    action = {"action": "flag-rate-high" if is_on else "flag-rate-normal"}
    logger.warning("the share of flagged studies crossed a bound", extra={**action, **counted})


def is_off_balance(tx: Transaction, *, now: datetime) -> bool:
    """Tell whether `watch` would change anything."""
    was_on = guard.is_on(tx)
    return wanted(*reading.waiting_since(tx, now - LOOK_BACK), was_on=was_on) != was_on


def wanted(waiting: int, flagged: int, *, was_on: bool) -> bool:
    """Tell whether the guard is to be on with `flagged` of `waiting` studies flagged."""
    if was_on:
        return waiting >= FEWEST_LEFT and flagged >= OFF_BELOW * waiting
    return waiting >= FEWEST and flagged > ON_ABOVE * waiting

"""Errors of the worklist of workitems.

storage.Rejected
├── WorkitemInvalid          what was sent is no workitem that may be created or set so
│   └── WorkitemTooLong
├── WorkitemExists
├── WorkitemRefused          the workitem's state, or its performer, does not allow it
├── WorkitemGone             it was here; its time was over
└── SubscriptionRefused
storage.Unavailable
└── WorklistFull
"""

from __future__ import annotations

from enum import IntEnum

from storage.errors import Rejected, Unavailable


class Refusal(IntEnum):
    """Why a workitem is not changed: the status codes of PS3.4 CC.2.1.4, CC.2.2.4 and CC.2.6.4."""

    FINAL = 0xC300
    """It may no longer be updated."""
    TRANSACTION = 0xC301
    """The correct Transaction UID was not given."""
    IN_PROGRESS = 0xC302
    """It is already in progress."""
    ONLY_CREATED_SCHEDULED = 0xC303
    UNFINISHED = 0xC304
    """It lacks what its final state requires."""
    NOT_CLAIMED = 0xC310
    """It is not in progress."""
    COMPLETED = 0xC311
    NO_PERFORMER = 0xC312
    """Nobody would hear of it."""
    PERFORMER_DECLINES = 0xC313


class WorkitemInvalid(Rejected):
    """The data set does not satisfy the requirements on workitems (PS3.4 Table CC.2.5-3)."""


class WorkitemTooLong(WorkitemInvalid):
    """The workitem is longer than is taken."""


class WorkitemExists(Rejected):
    """A workitem of this UID exists already, or did."""


class WorkitemGone(Rejected):
    """The workitem was here; it ended long ago and was removed."""


class SubscriptionRefused(Rejected):
    """The subscription is not taken."""


class WorklistFull(Unavailable):
    """No further workitem is taken; the final ones go in time, once no deletion lock holds them."""


class WorkitemRefused(Rejected):
    """The workitem cannot be changed so; `warning` is the standard's own sentence for it (PS3.18 11.6 to 11.8)."""

    def __init__(self, refusal: Refusal, warning: str, detail: str | None = None) -> None:
        super().__init__(detail or warning)
        self.refusal = refusal
        self.warning = warning

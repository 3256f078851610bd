"""The states of a workitem and what may change them, as data beside PS3.4 Tables CC.1.1-1 and CC.1.1-2."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from storage.records import JobState
from storage.workitems.errors import Refusal, WorkitemRefused


class WorkitemState(StrEnum):
    """(0074,1000) Procedure Step State."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    """Claimed: somebody's Transaction UID locks it."""
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


_S, _P, _D, _C = WorkitemState
FINAL: Final = frozenset({_D, _C})

CHANGES: Final[Mapping[tuple[WorkitemState, WorkitemState], WorkitemState | Refusal]] = {
    # asked for, found: next, or why not
    (_P, _S): _P,
    (_P, _P): Refusal.IN_PROGRESS,
    (_P, _D): Refusal.FINAL,
    (_P, _C): Refusal.FINAL,
    (_D, _S): Refusal.NOT_CLAIMED,
    (_D, _P): _D,
    (_D, _D): _D,
    (_D, _C): Refusal.FINAL,
    (_C, _S): Refusal.NOT_CLAIMED,
    (_C, _P): _C,
    (_C, _D): Refusal.FINAL,
    (_C, _C): _C,
    (_S, _S): Refusal.ONLY_CREATED_SCHEDULED,
    (_S, _P): Refusal.ONLY_CREATED_SCHEDULED,
    (_S, _D): Refusal.ONLY_CREATED_SCHEDULED,
    (_S, _C): Refusal.ONLY_CREATED_SCHEDULED,
}
"""With the correct Transaction UID, or with any where nobody has claimed it; a final state may be asked for again."""

CANCELLATIONS: Final[Mapping[WorkitemState, WorkitemState | Refusal]] = {
    _S: _C,
    _P: _P,
    _D: Refusal.COMPLETED,
    _C: _C,
}
"""What a request to cancel makes of a workitem; one in progress stays so, and its performer hears of the request."""

WAY: Final[Mapping[WorkitemState, tuple[WorkitemState, ...]]] = {
    _S: (_S,),
    _P: (_S, _P),
    _D: (_S, _P, _D),
    _C: (_S, _P, _C),
}
"""The states on the way to each: no step goes unreported, however late somebody looks."""

OF_JOB: Final[Mapping[JobState, WorkitemState]] = {
    JobState.WAITING: _S,
    JobState.RUNNING: _P,
    JobState.DONE: _D,
    JobState.FAILED: _C,
    JobState.OPTED_OUT: _C,
}
"""A job that waits to be tried again was claimed before: it stays in progress, since no workitem goes back."""

NOT_ALLOWED: Final = "The submitted request is inconsistent with the state of the UPS Instance."
_SENTENCES: Final[Mapping[Refusal, str]] = {
    Refusal.COMPLETED: "The UPS is already COMPLETED.",
    Refusal.NO_PERFORMER: "The performer cannot be contacted.",
    Refusal.PERFORMER_DECLINES: "Performer chooses not to cancel.",
}
TRANSACTION_MISSING: Final = "The Transaction UID is missing."
TRANSACTION_INCORRECT: Final = "The Transaction UID is incorrect."
NOT_CLAIMED: Final = "The target URI did not reference a claimed Workitem."
NOT_UPDATABLE: Final = "The submitted request is inconsistent with the current state of the Workitem."
"""The sentences are the standard's (PS3.18 11.6.3.2, 11.7.3.2, 11.8.3.2)."""


def already(state: WorkitemState) -> str:
    """Return the standard's warning to whoever asks for a final state again."""
    return f"The UPS is already in the requested state of {state}."


def refused(refusal: Refusal, detail: str | None = None) -> WorkitemRefused:
    """Return the error of a change of state, or of a request to cancel, that is refused."""
    return WorkitemRefused(refusal, _SENTENCES.get(refusal, NOT_ALLOWED), detail)


def next_state(
    asked: WorkitemState, found: WorkitemState, *, transaction: str | None, holder: str | None
) -> WorkitemState:
    """Return the state that a workitem takes; the one that it has where that was asked for again.

    `transaction` is the UID that the request brings, `holder` the one that the workitem was claimed with.

    Raises
    ------
    WorkitemRefused
        The table says so, or the Transaction UID is missing or another one.
    """
    if not transaction:
        raise WorkitemRefused(Refusal.TRANSACTION, TRANSACTION_MISSING)
    following = CHANGES[asked, found]
    is_claim = asked is WorkitemState.IN_PROGRESS
    if holder is not None and transaction != holder and not is_claim and asked is not WorkitemState.SCHEDULED:
        raise WorkitemRefused(Refusal.TRANSACTION, TRANSACTION_INCORRECT)
    if isinstance(following, Refusal):
        raise refused(following)
    return following


def check_update(found: WorkitemState, *, transaction: str | None, holder: str | None) -> None:
    """Return where attributes may be set (PS3.4 CC.2.6.3).

    Raises
    ------
    WorkitemRefused
        It is final, it is claimed by another Transaction UID, or not claimed although one is given.
    """
    if found in FINAL:
        raise WorkitemRefused(Refusal.FINAL, NOT_UPDATABLE)
    if holder is None and transaction:
        raise WorkitemRefused(Refusal.NOT_CLAIMED, NOT_CLAIMED)
    if holder is not None and transaction != holder:
        detail = TRANSACTION_INCORRECT if transaction else TRANSACTION_MISSING
        raise WorkitemRefused(Refusal.TRANSACTION, NOT_UPDATABLE, detail)

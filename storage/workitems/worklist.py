"""What is done with workitems, each in one transaction: created, set, claimed, ended, watched (PS3.4 CC.2).

Events are written with the change that they tell of, so that nobody who subscribes misses one; a triage job changes
elsewhere, so its watchers' events are made when one of them listens, from the job's own row (`follow_jobs`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import orjson

from storage.catalog import event_reports, subscriptions
from storage.catalog import workitems as catalogue
from storage.catalog.event_reports import Event, EventType, Mail
from storage.catalog.subscriptions import WorklistSubscription
from storage.errors import CatalogueUnknown
from storage.search import Match
from storage.workitems import attributes, datasets, states
from storage.workitems.datasets import DataSet
from storage.workitems.errors import (
    Refusal,
    SubscriptionRefused,
    WorkitemInvalid,
    WorkitemRefused,
    WorkitemTooLong,
    WorklistFull,
)
from storage.workitems.keys import station_of
from storage.workitems.moments import written
from storage.workitems.records import (
    FILTERED_WORKLIST_UID,
    WORKLIST_UID,
    JobStep,
    Workitem,
    WorkitemUid,
)
from storage.workitems.states import FINAL, WAY, WorkitemState

if TYPE_CHECKING:
    from storage.database import Transaction

MAX_WORKITEMS: Final = 100_000
MAX_BYTES: Final = 512 * 1024
"""Of one workitem, as JSON."""

MAX_SUBSCRIBERS: Final = 100
"""AE titles that subscribe to anything."""

MAX_WAITING: Final = 10_000
"""Events that wait for one AE title; the oldest go first."""

KEPT_EVENTS: Final = timedelta(days=7)
"""How long an event waits for somebody who does not listen."""

KEPT_SENT_EVENTS: Final = timedelta(minutes=10)
KEPT_UIDS: Final = timedelta(days=365)
"""How long the UID of a workitem that was removed is known."""

LABEL: Final = "ROI"
"""The Worklist Label of a workitem that came without."""

JOBS_AT_ONCE: Final = 500
LATE_COMMIT: Final = timedelta(minutes=1)
"""So late, after the time that it bears, a job may become visible."""

_NOT_OURS_TO_GIVE: Final = (
    "This workitem is a triage job of this server, which performs it itself: it can be searched, retrieved and "
    "watched, but only the server changes it."
)
_UNSPECIFIED: Final = datasets.code("110513", "DCM", "Discontinued for unspecified reason")
_ASSIGNMENTS: Final = ("ScheduledStationNameCodeSequence", "ScheduledHumanPerformersSequence")
_PROGRESS: Final = "ProcedureStepProgressInformationSequence"
_REASONS: Final = ("ReasonForCancellation", "ProcedureStepDiscontinuationReasonCodeSequence")
_CONTACTS: Final = ("ContactURI", "ContactDisplayName")


# ----------------------------------------------------------------------------------------------------------- created
def create(tx: Transaction, uid: WorkitemUid, model: DataSet, *, now: datetime) -> bool:
    """Create a workitem; tell whether what was sent had to be modified: a Worklist Label filled in, a time set anew.

    Raises
    ------
    WorkitemInvalid
        It does not satisfy the N-CREATE column, or is too long.
    WorkitemExists
        There is one of this UID, or was.
    WorklistFull
        Too many are here already.
    """
    attributes.check_created(model)
    if uid in {WORKLIST_UID, FILTERED_WORKLIST_UID}:
        raise WorkitemInvalid("this UID stands for the worklist")
    subscriptions.take_turns(tx)
    if catalogue.count(tx) >= MAX_WORKITEMS:
        raise WorklistFull
    kept = _kept(model)
    is_labelled = bool(datasets.values(kept, "WorklistLabel"))
    if not is_labelled:
        datasets.put(kept, "WorklistLabel", LABEL)
    workitem = _of_size(
        Workitem(uid=uid, state=WorkitemState.SCHEDULED, attributes=_sorted(kept), created_at=now, modified_at=now)
    )
    catalogue.add(tx, workitem)
    mail = Mail()
    heard = _subscribe_to_new(tx, workitem, now)
    mail.add(heard, _state_report(workitem))
    if _is_assigned(workitem.attributes):
        mail.add(heard, _assignment(workitem))
    event_reports.post(tx, mail, at=now)
    return not is_labelled or _is_dated(model)


def _subscribe_to_new(tx: Transaction, workitem: Workitem, now: datetime) -> list[str]:
    """Subscribe those who watch the worklist to a new workitem; a lock of one subscription is enough."""
    heard: dict[str, bool] = {}
    for each in subscriptions.to_worklist(tx):
        if not each.matches or catalogue.matches_one(tx, workitem.uid, each.matches):
            heard[each.aet] = heard.get(each.aet, False) or each.deletion_lock
    for aet, lock in heard.items():
        subscriptions.subscribe(tx, workitem.uid, aet, deletion_lock=lock, now=now)
    return list(heard)


def _kept(model: DataSet) -> DataSet:
    """Return what is kept of a data set: without what has a column, or is never given out."""
    left_out = {datasets.tag(keyword) for keyword in (*attributes.COLUMNS, "TransactionUID", "SpecificCharacterSet")}
    return {key: element for key, element in model.items() if key not in left_out}


def _is_dated(model: DataSet) -> bool:
    """Tell whether a data set says when it changed the workitem: it is our clock that does."""
    return bool(datasets.values(model, "ScheduledProcedureStepModificationDateTime"))


def _sorted(model: DataSet) -> DataSet:
    return dict(sorted(model.items()))


def _of_size(workitem: Workitem) -> Workitem:
    if len(orjson.dumps(workitem.attributes)) > MAX_BYTES:
        raise WorkitemTooLong(f"a workitem holds {MAX_BYTES} bytes at most")
    return workitem


# ----------------------------------------------------------------------------------------------------------- changed
def update(tx: Transaction, uid: WorkitemUid, model: DataSet, *, transaction: str | None, now: datetime) -> bool:
    """Set attributes of a workitem, a sequence as a whole (PS3.4 CC.2.6); tell whether what was sent was modified.

    Raises
    ------
    WorkitemInvalid
        An attribute may not be set, or has no value that it may have; or it names another workitem.
    WorkitemRefused
        Its state does not allow it, it is claimed by another Transaction UID, or it is a job of ours.
    CatalogueUnknown, WorkitemGone
        As `storage.catalog.workitems.find`.
    """
    found, holder = _held(tx, uid, Refusal.NOT_CLAIMED, states.NOT_CLAIMED)
    states.check_update(found.state, transaction=transaction, holder=holder)
    attributes.check_set(model)
    if datasets.first(model, "SOPInstanceUID") not in {None, uid}:
        raise WorkitemInvalid("SOPInstanceUID is that of another workitem")
    changed = _of_size(replace(found, attributes=_sorted({**found.attributes, **_kept(model)}), modified_at=now))
    catalogue.change(tx, changed)
    mail = Mail()
    heard = subscriptions.of_workitem(tx, uid)
    for keywords, told in _TOLD_CHANGES:
        if datasets.chosen(changed.attributes, keywords) != datasets.chosen(found.attributes, keywords):
            mail.add(heard, told(changed))
    event_reports.post(tx, mail, at=now)
    return _is_dated(model)


def change_state(
    tx: Transaction, uid: WorkitemUid, asked: WorkitemState, *, transaction: str | None, now: datetime
) -> str | None:
    """Move a workitem to another state; return a warning where it is final and was asked for that again.

    Raises
    ------
    WorkitemRefused
        The table of transitions, the Transaction UID, or what is missing for a final state does not allow it.
    CatalogueUnknown, WorkitemGone
        As `storage.catalog.workitems.find`.
    """
    found, holder = _held(tx, uid, Refusal.FINAL, states.NOT_ALLOWED)
    following = states.next_state(asked, found.state, transaction=transaction, holder=holder)
    if following is found.state:
        return states.already(following)
    moved = _moved(found, following, now)
    missing = attributes.missing_for(moved.attributes, following) if following in FINAL else []
    if missing:
        raise states.refused(Refusal.UNFINISHED, f"{following} requires a value of {', '.join(missing)}")
    catalogue.change(tx, moved, transaction=transaction if following is WorkitemState.IN_PROGRESS else None)
    _tell(tx, moved, now)
    return None


def request_cancel(tx: Transaction, uid: WorkitemUid, model: DataSet, *, requester: str, now: datetime) -> str | None:
    """Ask for a workitem to be canceled: done at once where nobody has claimed it, else its performer hears of it.

    Returns a warning where it is canceled already.

    Raises
    ------
    WorkitemInvalid
        What is said of the reason, or of whom to ask, is not as it may be.
    WorkitemRefused
        It is completed, nobody would hear of the request, or it is a job of ours.
    CatalogueUnknown, WorkitemGone
        As `storage.catalog.workitems.find`.
    """
    found, _ = catalogue.hold(tx, uid)
    if isinstance(found, JobStep):
        raise states.refused(Refusal.PERFORMER_DECLINES, _NOT_OURS_TO_GIVE)
    attributes.check_request(model)
    outcome = states.CANCELLATIONS[found.state]
    if isinstance(outcome, Refusal):
        raise states.refused(outcome)
    if found.state is WorkitemState.CANCELED:
        return states.already(found.state)
    heard = subscriptions.of_workitem(tx, uid)
    if outcome is WorkitemState.CANCELED:
        canceled = _moved(_with_reasons(found, model), outcome, now)
        catalogue.change(tx, canceled)
        _tell(tx, canceled, now, by_way_of=WorkitemState.IN_PROGRESS)
        return None
    if not heard:
        raise states.refused(Refusal.NO_PERFORMER)
    told = datasets.made_of([("RequestingAE", requester)]) | datasets.chosen(model, (*_REASONS, *_CONTACTS))
    mail = Mail()
    mail.add(heard, Event(workitem_uid=uid, type=EventType.CANCEL_REQUESTED, attributes=_sorted(told)))
    event_reports.post(tx, mail, at=now)
    return None


def _held(tx: Transaction, uid: WorkitemUid, refusal: Refusal, warning: str) -> tuple[Workitem, str | None]:
    """Return a workitem that others may change, and the Transaction UID that holds it; a job is refused so."""
    found, holder = catalogue.hold(tx, uid)
    if isinstance(found, JobStep):
        raise WorkitemRefused(refusal, warning, _NOT_OURS_TO_GIVE)
    return found, holder


def _moved(found: Workitem, state: WorkitemState, now: datetime) -> Workitem:
    ended_at = now if state in FINAL else None
    made = _with_cancellation(found.attributes, now) if state is WorkitemState.CANCELED else found.attributes
    return replace(found, state=state, attributes=made, ended_at=ended_at)


def _with_cancellation(model: DataSet, now: datetime) -> DataSet:
    """Fill in when and why a workitem was canceled, where its performer did not say (PS3.4 Table CC.2.5-3)."""
    first, *others = datasets.items(model, _PROGRESS) or [{}]
    first = dict(first)
    if not datasets.values(first, "ProcedureStepCancellationDateTime"):
        datasets.put(first, "ProcedureStepCancellationDateTime", written(now))
    if not datasets.values(first, "ProcedureStepDiscontinuationReasonCodeSequence"):
        datasets.put(first, "ProcedureStepDiscontinuationReasonCodeSequence", _UNSPECIFIED)
    made = dict(model)
    datasets.put(made, _PROGRESS, _sorted(first), *others)
    return _sorted(made)


def _with_reasons(found: Workitem, model: DataSet) -> Workitem:
    """Note who wanted a workitem canceled that nobody had claimed, and why."""
    first, *others = datasets.items(found.attributes, _PROGRESS) or [{}]
    first = {**first, **datasets.chosen(model, _REASONS)}
    contact = datasets.chosen(model, _CONTACTS)
    if datasets.values(contact, "ContactURI"):
        datasets.put(first, "ProcedureStepCommunicationsURISequence", contact)
    made = dict(found.attributes)
    datasets.put(made, _PROGRESS, _sorted(first), *others)
    return _of_size(replace(found, attributes=_sorted(made)))


def _tell(tx: Transaction, workitem: Workitem, now: datetime, *, by_way_of: WorkitemState | None = None) -> None:
    mail = Mail()
    heard = subscriptions.of_workitem(tx, workitem.uid)
    if by_way_of is not None:
        mail.add(heard, _state_report(replace(workitem, state=by_way_of)))
    mail.add(heard, _state_report(workitem))
    event_reports.post(tx, mail, at=now)


# ------------------------------------------------------------------------------------------------------------ events
def state_report(uid: WorkitemUid, state: WorkitemState, readiness: str, more: DataSet | None = None) -> Event:
    """Return the event that tells a workitem's state (PS3.4 Table CC.2.4-1)."""
    told = datasets.made_of([("ProcedureStepState", state), ("InputReadinessState", readiness)])
    return Event(workitem_uid=uid, type=EventType.STATE, attributes=_sorted(told | (more or {})))


def _state_report(workitem: Workitem) -> Event:
    progress = datasets.items(workitem.attributes, _PROGRESS)
    more = datasets.chosen(progress[0], _REASONS) if progress and workitem.state is WorkitemState.CANCELED else {}
    readiness = datasets.first(workitem.attributes, "InputReadinessState") or ""
    return state_report(workitem.uid, workitem.state, readiness, more)


def _progress_report(workitem: Workitem) -> Event:
    told = datasets.chosen(workitem.attributes, [_PROGRESS])
    return Event(workitem_uid=workitem.uid, type=EventType.PROGRESS, attributes=told)


def _is_assigned(model: DataSet) -> bool:
    return any(datasets.items(model, keyword) for keyword in _ASSIGNMENTS)


def _assignment(workitem: Workitem) -> Event:
    """Return the event that tells whom a workitem is for; of several people the first."""
    told = datasets.chosen(workitem.attributes, ["ScheduledStationNameCodeSequence"])
    for person in datasets.items(workitem.attributes, "ScheduledHumanPerformersSequence")[:1]:
        told |= datasets.chosen(person, ["HumanPerformerCodeSequence", "HumanPerformerOrganization"])
    return Event(workitem_uid=workitem.uid, type=EventType.ASSIGNED, attributes=_sorted(told))


_TOLD_CHANGES: Final = (
    (("InputReadinessState",), _state_report),
    ((_PROGRESS,), _progress_report),
    (_ASSIGNMENTS, _assignment),
)
"""Attributes whose change is told, and how (PS3.4 CC.2.4.3)."""


# ----------------------------------------------------------------------------------------------------------- watched
def subscribe(tx: Transaction, uid: WorkitemUid, aet: str, *, deletion_lock: bool, now: datetime) -> bool:
    """Subscribe an AE title to one workitem, and tell it the state; a lock may be set and taken away so.

    Returns whether a lock that was asked for is granted: a job goes with its study, whoever watches it.

    Raises
    ------
    SubscriptionRefused
        Too many AE titles subscribe already.
    CatalogueUnknown, WorkitemGone
        As `storage.catalog.workitems.find`.
    """
    found, _ = catalogue.hold(tx, uid)
    _admit(tx, aet)
    told = found.state if isinstance(found, JobStep) else None
    granted = told is None or not deletion_lock
    deletion_lock = deletion_lock and granted
    if not subscriptions.subscribe(tx, uid, aet, deletion_lock=deletion_lock, now=now, told=told):
        subscriptions.set_lock(tx, uid, aet, deletion_lock=deletion_lock)
    mail = Mail()
    mail.add([aet], job_report(found, found.state) if isinstance(found, JobStep) else _state_report(found))
    event_reports.post(tx, mail, at=now)
    return granted


def subscribe_to_worklist(
    tx: Transaction, uid: WorkitemUid, aet: str, matches: Sequence[Match], *, deletion_lock: bool, now: datetime
) -> None:
    """Subscribe an AE title to all workitems, or to those that match, now and later (PS3.4 Table CC.2.3-2).

    With a deletion lock it hears at once of each that it did not subscribe to before.  Of jobs only those that have
    not ended are subscribed to.

    Raises
    ------
    SubscriptionRefused
        Too many AE titles subscribe already, or a filter is without a key.
    MatchRejected
        A value of the filter cannot be matched.
    """
    subscriptions.take_turns(tx)
    _admit(tx, aet)
    if uid == FILTERED_WORKLIST_UID and not matches:
        raise SubscriptionRefused("a filtered subscription needs a key that can be matched")
    subscription = WorklistSubscription(
        aet=aet,
        worklist_uid=uid,
        deletion_lock=deletion_lock,
        matches=tuple(matches),
        since=now,
        looked_until=now - LATE_COMMIT,
    )
    subscriptions.subscribe_worklist(tx, subscription)
    mail = Mail()
    for each, state, readiness in catalogue.uids_of(tx, matches):
        if subscriptions.subscribe(tx, each, aet, deletion_lock=deletion_lock, now=now) and deletion_lock:
            mail.add([aet], state_report(each, state, readiness or ""))
    open_jobs = catalogue.open_jobs(tx, matches, limit=JOBS_AT_ONCE)
    _take_in(tx, subscription, open_jobs, mail, now, first=_of_known_job if deletion_lock else _of_nothing)
    event_reports.post(tx, mail, at=now)


def unsubscribe(tx: Transaction, uid: WorkitemUid, aet: str) -> None:
    """End a subscription; that to the worklist ends all of the AE title's, as the standard has it.

    Raises
    ------
    CatalogueUnknown
        There is no such subscription.
    """
    if uid == WORKLIST_UID:
        ended = subscriptions.leave_all(tx, aet)
        event_reports.drop(tx, aet)
    elif uid == FILTERED_WORKLIST_UID:
        ended = subscriptions.leave_worklist(tx, uid, aet)
        if ended:
            subscriptions.leave_all(tx, aet)
            event_reports.drop(tx, aet)
    else:
        ended = subscriptions.unsubscribe(tx, uid, aet)
        event_reports.drop(tx, aet, uid)
    if not ended:
        raise CatalogueUnknown("there is no such subscription")


def suspend(tx: Transaction, uid: WorkitemUid, aet: str) -> None:
    """Subscribe an AE title to no further workitems; it still hears of those that it subscribes to.

    Raises
    ------
    CatalogueUnknown
        There is no such subscription.
    """
    if not subscriptions.leave_worklist(tx, uid, aet):
        raise CatalogueUnknown("there is no such subscription")


def _admit(tx: Transaction, aet: str) -> None:
    if not subscriptions.is_known(tx, aet) and subscriptions.count_titles(tx) >= MAX_SUBSCRIBERS:
        raise SubscriptionRefused(f"{MAX_SUBSCRIBERS} AE titles subscribe to workitems already; more are not taken")


# -------------------------------------------------------------------------------------------------------- triage jobs
def job_report(step: JobStep, state: WorkitemState) -> Event:
    """Return the event that tells a state of a job."""
    more: DataSet = {}
    if state is WorkitemState.CANCELED:
        more = datasets.made_of([("ReasonForCancellation", step.job.reason)])
    return state_report(step.uid, state, "READY", more)


def jobs_to_follow(tx: Transaction, aet: str) -> bool:
    """Tell whether an AE title has to hear of a triage job: looked at often, so it only reads."""
    if subscriptions.moved_jobs(tx, aet, limit=1):
        return True
    return any(_new_jobs(tx, each, limit=1) for each in subscriptions.to_worklist(tx, aet))


def follow_jobs(tx: Transaction, aet: str, *, now: datetime) -> None:
    """Write the events of triage jobs that an AE title has not been told of: new ones, and the steps of known ones."""
    mail = Mail()
    for subscription in subscriptions.to_worklist(tx, aet):
        found = _new_jobs(tx, subscription, limit=JOBS_AT_ONCE)
        _take_in(tx, subscription, found, mail, now, first=_of_new_job)
        latest = found[-1].created_at if len(found) == JOBS_AT_ONCE else now
        subscriptions.look_until(tx, subscription, max(subscription.looked_until, min(latest, now - LATE_COMMIT)))
    for each in subscriptions.moved_jobs(tx, aet, limit=JOBS_AT_ONCE):
        step = catalogue.find_job(tx, each.workitem_uid)
        if step is None:  # removed with its study
            subscriptions.unsubscribe(tx, each.workitem_uid, aet)
        elif subscriptions.note_told(tx, step.uid, aet, before=each.told, now=step.state):
            for state in WAY[step.state][WAY[step.state].index(each.told) + 1 :]:
                mail.add([aet], job_report(step, state))
    event_reports.post(tx, mail, at=now)


def _new_jobs(tx: Transaction, subscription: WorklistSubscription, *, limit: int) -> list[JobStep]:
    since = subscription.looked_until
    return catalogue.new_jobs(tx, subscription.matches, aet=subscription.aet, since=since, limit=limit)


def _take_in(
    tx: Transaction,
    subscription: WorklistSubscription,
    found: Iterable[JobStep],
    mail: Mail,
    now: datetime,
    *,
    first: Callable[[JobStep], Sequence[Event]],
) -> None:
    """Subscribe a watcher of the worklist to jobs; `first` tells of each as it was when it was made, or nothing."""
    for step in found:
        events = first(step)
        told = WorkitemState.SCHEDULED if events else step.state
        if subscriptions.subscribe(tx, step.uid, subscription.aet, deletion_lock=False, now=now, told=told):
            for event in events:
                mail.add([subscription.aet], event)


def _of_nothing(_: JobStep) -> Sequence[Event]:
    return ()


def _of_known_job(step: JobStep) -> Sequence[Event]:
    return (job_report(step, WorkitemState.SCHEDULED),)


def _of_new_job(step: JobStep) -> Sequence[Event]:
    """Return the events of a job that was just made: its state, and that its model's station is to perform it."""
    told = datasets.made_of([("ScheduledStationNameCodeSequence", station_of(step.job))])
    return (*_of_known_job(step), Event(workitem_uid=step.uid, type=EventType.ASSIGNED, attributes=told))


# -------------------------------------------------------------------------------------------------- when time is over
def tidy(tx: Transaction, *, kept: timedelta, now: datetime) -> int:
    """Remove final workitems that nobody locks and whose time is over, and events nobody came for; return how many."""
    removed = catalogue.remove_ended(tx, before=now - kept, now=now)
    catalogue.forget_gone(tx, before=now - KEPT_UIDS)
    subscriptions.remove_ended_jobs(tx, before=now - kept)
    event_reports.remove_old(tx, delivered_before=now - KEPT_SENT_EVENTS, before=now - KEPT_EVENTS)
    for aet, count in event_reports.waiting(tx).items():
        if count > MAX_WAITING:
            event_reports.cut(tx, aet, most=MAX_WAITING)
    return removed

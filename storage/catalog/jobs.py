"""Jobs: the table is the truth; a lease holds a job, a heartbeat holds the lease, attempts are counted here."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from storage import schema
from storage.catalog import changes, landings, refusals, studies
from storage.catalog.deployments import ModelRef as ModelRef  # noqa: PLC0414 - whoever makes jobs names models
from storage.catalog.upsert import insert_new
from storage.records import CLOCK_SKEW, Job, JobId, JobSize, JobState, StudyUid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from storage.database import Transaction

_jobs, _studies = schema.jobs, schema.studies
_FINAL = _jobs.c.provisional == 0
_WAITING = _jobs.c.state == JobState.WAITING

MAX_ATTEMPTS = 3
RETRY_WAIT = timedelta(seconds=1)
POSTPONE_WAIT = timedelta(seconds=5)
EVERY_SIZE = frozenset(JobSize)
NO_SIZES: Mapping[str, JobSize] = {}


def create(
    tx: Transaction,
    uid: StudyUid,
    revision: int,
    models: Iterable[ModelRef],
    *,
    due_at: datetime,
    now: datetime,
    provisional: int = 0,
    sizes: Mapping[str, JobSize] = NO_SIZES,
) -> list[JobId]:
    """Insert a waiting job for each model that has none on this revision; return the new ones.

    Every job comes through here, and so does the site's word: a retired model gets none, and where a model is stopped
    or the person has opted out, what is entered is no job to be run but that fact, with its reason.  A run on a part of
    a series, of `provisional` slices, is a job beside the one on all of it.  `sizes` tells by digest how large the
    input is for a model, SMALL where it is not named.
    """
    study_pk = tx.execute(sa.select(_studies.c.id).where(_studies.c.study_instance_uid == uid)).scalar_one()
    wanted = list(models)
    unasked = refusals.of(tx, uid, wanted)
    created: list[JobId] = []
    for model in wanted:
        reason = unasked.get(model.digest)
        if reason is refusals.Refusal.RETIRED:
            continue
        job = JobId(secrets.token_hex(16))
        row = {
            "id": job,
            "study_pk": study_pk,
            "revision": revision,
            "model_id": model.id,
            "model_version": model.version,
            "model_digest": model.digest,
            "state": JobState.WAITING if reason is None else JobState.OPTED_OUT,
            "size": sizes.get(model.digest, JobSize.SMALL),
            "due_at": due_at,
            "created_at": now,
            "ended_at": None if reason is None else now,
            "reason": reason,
            "provisional": provisional,
        }
        if insert_new(tx, _jobs, row) and reason is None:
            created.append(job)
    return created


def claim(
    tx: Transaction,
    *,
    owner: str,
    lease: timedelta,
    now: datetime,
    here: str = "",
    sizes: Collection[JobSize] = EVERY_SIZE,
    like: Job | None = None,
) -> Job | None:
    """Take the waiting job of these sizes that is due first, provisional ones last; None where none waits.

    A job waits on while an object it needs is on its way from a landing zone other than `here`, the claimant's own.
    With `like`, only a job of that one's model is taken.
    """
    of_model = sa.true() if like is None else _jobs.c.model_digest == like.model_digest
    for kind in (_FINAL, ~_FINAL):
        first = (
            sa.select(_jobs.c.id)
            .where(kind, _ready(now, sizes), of_model)
            .where(~landings.holds_back(here))
            .order_by(_jobs.c.due_at, _jobs.c.created_at)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        taken = tx.execute(
            sa.update(_jobs)
            .where(_jobs.c.id == first, _WAITING)
            .values(
                state=JobState.RUNNING,
                lease_owner=owner,
                lease_until=now + lease,
                attempts=_jobs.c.attempts + 1,
                claimed_at=now,
                reason=None,
            )
            .returning(_jobs.c.id)
        ).scalar_one_or_none()
        if taken is not None:
            return get(tx, JobId(taken))
    return None


def heartbeat(tx: Transaction, job: JobId, *, owner: str, lease: timedelta, now: datetime) -> bool:
    """Prolong the lease; False where it is no longer the owner's, and the run must stop."""
    held = tx.execute(_held(job, owner).values(lease_until=now + lease))
    return held.rowcount == 1


def end(tx: Transaction, job: JobId, *, owner: str, state: JobState, reason: str | None, now: datetime) -> bool:
    """End a run as DONE or FAILED; False where the lease is no longer the owner's, and nothing may be written."""
    ended = tx.execute(
        _held(job, owner).values(state=state, reason=reason, ended_at=now, lease_owner=None, lease_until=None)
    )
    return ended.rowcount == 1


def retry(tx: Transaction, job: JobId, *, owner: str, reason: str, now: datetime) -> bool:
    """Put a run that failed back to WAITING; False where the lease is lost or no attempt is left."""
    back = tx.execute(
        _held(job, owner)
        .where(_jobs.c.attempts < MAX_ATTEMPTS)
        .values(state=JobState.WAITING, reason=reason, lease_owner=None, lease_until=None, not_before=now + RETRY_WAIT)
    )
    return back.rowcount == 1


def postpone(tx: Transaction, job: JobId, *, owner: str, reason: str, now: datetime) -> bool:
    """Put a run back to WAITING that could not begin, its attempt not counted; False where the lease is lost."""
    back = tx.execute(
        _held(job, owner).values(
            state=JobState.WAITING,
            attempts=_jobs.c.attempts - 1,
            reason=reason,
            lease_owner=None,
            lease_until=None,
            not_before=now + POSTPONE_WAIT,
        )
    )
    return back.rowcount == 1


def decline(tx: Transaction, job: Job, *, owner: str, now: datetime) -> bool:
    """End a claimed job as OPTED_OUT where its model may no longer be asked about its study; tell whether it was so."""
    model = ModelRef(id=job.model_id, version=job.model_version, digest=job.model_digest)
    reason = refusals.of(tx, job.study_instance_uid, [model]).get(job.model_digest)
    return reason is not None and end(tx, job.id, owner=owner, state=JobState.OPTED_OUT, reason=reason, now=now)


def opt_out(
    tx: Transaction,
    *,
    reason: refusals.Refusal,
    now: datetime,
    model: str | None = None,
    digest: str | None = None,
    among: Iterable[StudyUid] | None = None,
) -> list[StudyUid]:
    """End what waits or runs as OPTED_OUT: of a model, of a digest, of studies; return those in sight that had any.

    A run under way finds its lease lost and writes nothing.
    """
    held: list[sa.ColumnElement[bool]] = [_jobs.c.state.in_((JobState.WAITING, JobState.RUNNING))]
    if model is not None:
        held.append(_jobs.c.model_id == model)
    if digest is not None:
        held.append(_jobs.c.model_digest == digest)
    if among is not None:
        found = sa.select(_studies.c.id).where(_studies.c.study_instance_uid.in_(list(among)))
        held.append(_jobs.c.study_pk.in_(found))
    ended = tx.execute(
        sa.update(_jobs)
        .where(*held)
        .values(state=JobState.OPTED_OUT, reason=reason, ended_at=now, lease_owner=None, lease_until=None)
        .returning(_jobs.c.study_pk)
    ).scalars()
    met = sorted(set(ended))
    query = (
        sa.select(_studies.c.study_instance_uid).where(_studies.c.id.in_(met), studies.IN_SIGHT).order_by(_studies.c.id)
    )
    return [StudyUid(uid) for uid in tx.execute(query).scalars()]


def pull_back(tx: Transaction, *, lease: timedelta, now: datetime) -> None:
    """Bring leases and waits that end later than any can to the latest that they can: the clock was set back.

    Without it, a job that a dead worker held would wait for as long as the clock was set back.
    """
    running = sa.and_(_jobs.c.state == JobState.RUNNING, _jobs.c.lease_until > now + lease + CLOCK_SKEW)
    tx.execute(sa.update(_jobs).where(running).values(lease_until=now + lease))
    longest = max(RETRY_WAIT, POSTPONE_WAIT)
    waiting = sa.and_(_jobs.c.state == JobState.WAITING, _jobs.c.not_before > now + longest + CLOCK_SKEW)
    tx.execute(sa.update(_jobs).where(waiting).values(not_before=now + longest))


def release_expired(tx: Transaction, *, now: datetime) -> None:
    """Put runs whose lease is over back to WAITING where an attempt is left."""
    tx.execute(
        sa.update(_jobs)
        .where(_jobs.c.state == JobState.RUNNING, _jobs.c.lease_until < now, _jobs.c.attempts < MAX_ATTEMPTS)
        .values(state=JobState.WAITING, reason="lease over", lease_owner=None, lease_until=None)
    )


def take_over_spent(tx: Transaction, *, owner: str, lease: timedelta, now: datetime) -> list[Job]:
    """Take the runs whose lease is over and whose attempts are spent, to be ended as FAILED."""
    taken = tx.execute(
        sa.update(_jobs)
        .where(_jobs.c.state == JobState.RUNNING, _jobs.c.lease_until < now, _jobs.c.attempts >= MAX_ATTEMPTS)
        .values(lease_owner=owner, lease_until=now + lease)
        .returning(_jobs.c.id)
    ).scalars()
    return [get(tx, JobId(job)) for job in list(taken)]


def note_waiting(tx: Transaction, *, reason: str, sizes: Collection[JobSize] = EVERY_SIZE) -> None:
    """Say of every waiting job of these sizes why no worker here takes it."""
    tx.execute(
        sa.update(_jobs)
        .where(_jobs.c.state == JobState.WAITING, _jobs.c.size.in_(sizes))
        .where(sa.func.coalesce(_jobs.c.reason, "") != reason)
        .values(reason=reason)
    )


def waiting(tx: Transaction, *, now: datetime, limit: int = 100) -> list[JobId]:
    """Return waiting jobs, due first: those whose doorbell may have been lost."""
    query = sa.select(_jobs.c.id).where(_ready(now, EVERY_SIZE)).order_by(_jobs.c.due_at).limit(limit)
    return [JobId(job) for job in tx.execute(query).scalars()]


def count_open(tx: Transaction, digest: str) -> int:
    """Return how many jobs of a model wait or run."""
    is_open = _jobs.c.state.in_((JobState.WAITING, JobState.RUNNING))
    query = sa.select(sa.func.count()).select_from(_jobs).where(_jobs.c.model_digest == digest, is_open)
    return int(tx.execute(query).scalar_one())


def final_waits(tx: Transaction) -> bool:
    """Tell whether a run on all of a series waits for a worker."""
    return tx.execute(sa.select(_jobs.c.id).where(_FINAL, _WAITING).limit(1)).first() is not None


def provisional_of(tx: Transaction, uid: StudyUid, revision: int, model: ModelRef) -> list[JobState]:
    """Return where the provisional runs of a model on a study's revision stand."""
    query = (
        sa.select(_jobs.c.state)
        .join_from(_jobs, _studies, _studies.c.id == _jobs.c.study_pk)
        .where(_studies.c.study_instance_uid == uid, ~_FINAL)
        .where(_jobs.c.revision == revision, _jobs.c.model_digest == model.digest)
    )
    return [JobState(state) for state in tx.execute(query).scalars()]


def drop_provisional(tx: Transaction, uid: StudyUid) -> None:
    """Delete the provisional runs of a study that have not ended, as `drop_open` does."""
    study = sa.select(_studies.c.id).where(_studies.c.study_instance_uid == uid).scalar_subquery()
    is_open = _jobs.c.state.in_((JobState.WAITING, JobState.RUNNING))
    tx.execute(sa.delete(_jobs).where(_jobs.c.study_pk == study, ~_FINAL, is_open))


def models_wanted(tx: Transaction, *, now: datetime, sizes: Collection[JobSize] = EVERY_SIZE) -> list[str]:
    """Return the ids of the models that jobs of these sizes wait for, the model of what is due first before others."""
    query = (
        sa.select(_jobs.c.model_id)
        .where(_ready(now, sizes))
        .group_by(_jobs.c.model_id)
        .order_by(sa.func.min(_jobs.c.due_at))
    )
    return list(tx.execute(query).scalars())


def drop_open(tx: Transaction, uid: StudyUid) -> None:
    """Delete the jobs of a study that have not ended; a run under way finds its lease lost and writes nothing."""
    study = sa.select(_studies.c.id).where(_studies.c.study_instance_uid == uid).scalar_subquery()
    is_open = _jobs.c.state.in_((JobState.WAITING, JobState.RUNNING))
    tx.execute(sa.delete(_jobs).where(_jobs.c.study_pk == study, is_open))


def get(tx: Transaction, job: JobId) -> Job:
    """Return one job."""
    query = (
        sa.select(_jobs, _studies.c.study_instance_uid)
        .join_from(_jobs, _studies, _studies.c.id == _jobs.c.study_pk)
        .where(_jobs.c.id == job)
    )
    return as_job(tx.execute(query).one())


def set_due(tx: Transaction, uid: StudyUid, *, due_at: datetime) -> None:
    """Move the waiting jobs of a study to its new due time."""
    study = sa.select(_studies.c.id).where(_studies.c.study_instance_uid == uid).scalar_subquery()
    tx.execute(
        sa.update(_jobs).where(_jobs.c.study_pk == study, _jobs.c.state == JobState.WAITING).values(due_at=due_at)
    )


def note_failed(tx: Transaction, job: Job, *, reason: str, now: datetime) -> None:
    """Append the fact that a job ended as FAILED."""
    changes.append(
        tx,
        "job-failed",
        at=now,
        study=job.study_instance_uid,
        revision=job.revision,
        detail={"model": job.model_id, "reason": reason, "attempts": job.attempts},
    )


def as_job(row: sa.Row[Any]) -> Job:
    """Return the record of a row of `schema.jobs` joined with its study's UID."""
    values = {name: getattr(row, name) for name in Job.__slots__}
    return Job(**{**values, "state": JobState(row.state), "size": JobSize(row.size)})


def _ready(now: datetime, sizes: Collection[JobSize]) -> sa.ColumnElement[bool]:
    rested = sa.or_(_jobs.c.not_before.is_(None), _jobs.c.not_before <= now)
    return sa.and_(_jobs.c.state == JobState.WAITING, _jobs.c.size.in_(sizes), rested)


def _held(job: JobId, owner: str) -> sa.Update:
    return sa.update(_jobs).where(_jobs.c.id == job, _jobs.c.state == JobState.RUNNING, _jobs.c.lease_owner == owner)

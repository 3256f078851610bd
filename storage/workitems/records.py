"""A workitem of others, and a triage job seen as one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NewType

from storage.records import Job, JobId, JobState
from storage.workitems.datasets import DataSet
from storage.workitems.states import OF_JOB, WorkitemState

WorkitemUid = NewType("WorkitemUid", str)

WORKLIST_UID: Final = WorkitemUid("1.2.840.10008.5.1.4.34.5")
FILTERED_WORKLIST_UID: Final = WorkitemUid("1.2.840.10008.5.1.4.34.5.1")
"""The well-known instances that stand for all workitems, and for those that match (PS3.4 CC.2.3.1)."""

_FROM_UUID: Final = re.compile(r"2\.25\.(0|[1-9]\d{0,38})", re.ASCII)
_JOB_ID_DIGITS: Final = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Workitem:
    """A workitem of others; its Transaction UID stays in its row."""

    uid: WorkitemUid
    state: WorkitemState
    attributes: DataSet
    created_at: datetime
    modified_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """Whom and what a job is about: what its study's row tells."""

    accession_number: str | None
    patient_name: str | None
    patient_id: str | None
    issuer_of_patient_id: str | None
    patient_birth_date: str | None
    patient_sex: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStep:
    """A triage job as others see it; only we change it."""

    job: Job
    subject: Subject
    is_urgent: bool
    """A person or the order asked for speed."""
    created_at: datetime
    claimed_at: datetime | None
    ended_at: datetime | None
    retracted_why: str | None = None
    """Why its result was retracted, if it was: the step stays completed, as its states have no way back."""

    @property
    def uid(self) -> WorkitemUid:
        """Its SOP Instance UID: the job's id as a number (PS3.5 B.2)."""
        return uid_of_job(self.job.id)

    @property
    def state(self) -> WorkitemState:
        """Its state as a workitem."""
        return state_of_job(self.job.state, claimed=self.claimed_at is not None)


def state_of_job(state: JobState, *, claimed: bool) -> WorkitemState:
    """Return a job's state as a workitem: one that was claimed does not go back to SCHEDULED."""
    return WorkitemState.IN_PROGRESS if claimed and state is JobState.WAITING else OF_JOB[state]


def uid_of_job(job: JobId) -> WorkitemUid:
    """Return the SOP Instance UID of a job."""
    return WorkitemUid(f"2.25.{int(job, 16)}")


def job_of_uid(uid: str) -> JobId | None:
    """Return the id of the job that a UID can name, None where it can name none."""
    found = _FROM_UUID.fullmatch(uid)
    if found is None or int(found[1]) >= 16**_JOB_ID_DIGITS:
        return None
    return JobId(f"{int(found[1]):0{_JOB_ID_DIGITS}x}")

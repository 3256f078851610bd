"""The archive's words as records: frozen, keyword-only, changed by `dataclasses.replace`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, NewType

StudyUid = NewType("StudyUid", str)
SeriesUid = NewType("SeriesUid", str)
InstanceUid = NewType("InstanceUid", str)
ObjectKey = NewType("ObjectKey", str)
"""64 lower-case hex digits: SHA-256 of the data set bytes as received."""
JobId = NewType("JobId", str)
ResultId = NewType("ResultId", str)

CLOCK_SKEW = timedelta(seconds=5)
"""So far apart the clocks of a site's machines may be; a time further ahead than this was set back since."""


# ------------------------------------------------------------------------------------------------- lifecycle
class StudyState(StrEnum):
    """Where a study revision stands."""

    RECEIVING = "RECEIVING"
    COMPLETE = "COMPLETE"
    TRIAGED = "TRIAGED"


class StudyEvent(StrEnum):
    """What can happen to a study."""

    INSTANCE = "instance"
    EVIDENCE = "evidence"
    """Nothing more is expected to come."""
    SETTLED = "settled"
    """Every job of the revision has ended."""


STUDY_TRANSITIONS: Mapping[tuple[StudyState, StudyEvent], tuple[StudyState, int]] = {
    (StudyState.RECEIVING, StudyEvent.INSTANCE): (StudyState.RECEIVING, 0),
    (StudyState.RECEIVING, StudyEvent.EVIDENCE): (StudyState.COMPLETE, 0),
    (StudyState.COMPLETE, StudyEvent.INSTANCE): (StudyState.RECEIVING, 1),
    (StudyState.COMPLETE, StudyEvent.SETTLED): (StudyState.TRIAGED, 0),
    (StudyState.TRIAGED, StudyEvent.INSTANCE): (StudyState.RECEIVING, 1),
}
"""(state, event) -> (next state, revisions added).  A pair not listed raises KeyError."""


class JobState(StrEnum):
    """Where one model's run on one revision stands."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    OPTED_OUT = "OPTED_OUT"
    """Not asked, on a person's or the site's word, which the reason tells; no worker ever takes it."""


class JobSize(StrEnum):
    """How long a run keeps a model busy, as far as that is known when its job is made."""

    SMALL = "small"
    LARGE = "large"


class Outcome(StrEnum):
    """How a run ended; the last two never look like "nothing found"."""

    FLAGGED = "FLAGGED"
    NOT_FLAGGED = "NOT_FLAGGED"
    NOT_SUITABLE = "NOT_SUITABLE"
    FAILED = "FAILED"


class Coverage(StrEnum):
    """What a reader may believe of one (study revision, model)."""

    NO_MODEL_APPLIES = "no model applies"
    OPTED_OUT = "opted out"
    WAITING = "waiting"
    RUNNING = "running"
    ANALYSED = "analysed"
    NOT_SUITABLE = "not suitable"
    FAILED = "failed"


class OrderPriority(StrEnum):
    """The clinical order's own urgency, or a person's."""

    STAT = "STAT"
    URGENT = "URGENT"
    ROUTINE = "ROUTINE"


class ReaderVerdict(StrEnum):
    """What a reader says of a model's finding."""

    AGREE = "agree"
    DISAGREE = "disagree"
    NOT_RELEVANT = "not relevant"
    MISSED = "missed"
    """It is there, and the model says that it is not."""


class Waiting(StrEnum):
    """Which part of the reading worklist is asked for."""

    WAITING = "waiting"
    """What waits to be read: the list itself."""
    REPORTED = "reported"
    """What was read, the newest first."""
    ALL = "all"


# --------------------------------------------------------------------------------------------------- arrival
MADE_HERE = "self"
"""`Origin.via` of what we wrote ourselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where an instance came from (D-20): `via` is ``dimse``, ``stow``, ``import`` or ``self``."""

    via: str
    calling_aet: str = ""
    called_aet: str = ""
    address: str = ""
    user: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The attributes read from an arriving instance, before any pixel.

    Text is decoded by the data set's own (0008,0005) Specific Character Set; dates and times stay DICOM strings;
    an absent or empty attribute is None.  UIDs are checked: digits and dots, 64 characters at most.
    """

    sop_class_uid: str
    sop_instance_uid: InstanceUid
    series_instance_uid: SeriesUid
    study_instance_uid: StudyUid
    transfer_syntax_uid: str

    patient_id: str | None = None
    issuer_of_patient_id: str | None = None
    patient_name: str | None = None
    patient_birth_date: str | None = None
    patient_sex: str | None = None

    study_date: str | None = None
    study_time: str | None = None
    accession_number: str | None = None
    study_id: str | None = None
    study_description: str | None = None
    referring_physician_name: str | None = None
    requested_procedure_priority: str | None = None
    request_priority: str | None = None

    modality: str | None = None
    series_number: int | None = None
    series_description: str | None = None
    body_part_examined: str | None = None
    protocol_name: str | None = None
    manufacturer: str | None = None
    station_name: str | None = None
    pps_start_date: str | None = None
    pps_start_time: str | None = None
    scheduled_procedure_step_ids: str | None = None
    """Of the items of (0040,0275) Request Attributes Sequence, as a multiple value; place by place with the next."""
    requested_procedure_ids: str | None = None

    instance_number: int | None = None
    image_type: tuple[str, ...] = ()
    rows: int | None = None
    columns: int | None = None
    number_of_frames: int | None = None
    bits_allocated: int | None = None
    image_position_patient: tuple[float, float, float] | None = None
    image_orientation_patient: tuple[float, float, float, float, float, float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """One received instance on its way into the archive.

    `key` is the SHA-256 of the data set bytes; `size_bytes` counts the whole Part 10 file, of which the first
    `meta_bytes` are preamble and file meta (ours).  `header` comes from `pacs_gateway.header`.  `checksum` is that of
    `storage.checksum`, None where the data set was not read as a whole.
    """

    key: ObjectKey
    size_bytes: int
    meta_bytes: int
    header: Header
    origin: Origin
    checksum: bytes | None = None


class Verdict(StrEnum):
    """What `Archive.keep` did with an arrival."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    """Identical bytes under the same UIDs: no second object, no change."""
    OTHER_SYNTAX = "other syntax"
    """Same UIDs and header in another transfer syntax: the first is kept, the re-send noted."""
    CONFLICT = "conflict"
    """Same SOP Instance UID, other content, study or series: the first is kept, the copy quarantined."""
    HIDDEN = "hidden"
    """Kept, and out of sight, as somebody's word on this SOP Instance UID says (W-70)."""
    STUDY_GONE = "study gone"
    """What we made of a study of which nothing is in sight any more: not kept.  No sender hears this."""


class Rejection(StrEnum):
    """Why a rejection note rejects what it refers to: its title code, of DCM (PS3.16 CID 7011; IHE RAD TF, IOCM)."""

    QUALITY = "113001"
    PATIENT_SAFETY = "113037"
    WRONG_WORKLIST_ENTRY = "113038"
    RETENTION_EXPIRED = "113039"


class OnConflict(StrEnum):
    """What a sender hears of a copy that conflicts with what is kept, once the copy is durable in quarantine."""

    REFUSE = "refuse"
    WARN = "warn"
    ACCEPT = "accept"


# ----------------------------------------------------------------------------------------------- what is kept
@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceRecord:
    """A kept instance, as the worker and the web read it."""

    study_instance_uid: StudyUid
    series_instance_uid: SeriesUid
    sop_instance_uid: InstanceUid
    sop_class_uid: str
    transfer_syntax_uid: str
    object_key: ObjectKey
    size_bytes: int
    meta_bytes: int
    modality: str | None
    series_number: int | None
    series_description: str | None
    body_part_examined: str | None
    instance_number: int | None
    image_type: tuple[str, ...]
    rows: int | None
    columns: int | None
    number_of_frames: int | None
    bits_allocated: int | None
    image_position_patient: tuple[float, ...] | None
    image_orientation_patient: tuple[float, ...] | None
    revision: int
    """The study revision that this instance arrived in."""
    via: str = ""
    """How it came, as in `Origin`."""
    checksum: bytes | None = None
    """As in `storage.checksum`; None where none was noted."""

    @property
    def made_here(self) -> bool:
        """Whether we wrote it ourselves, of a result: no model ever looks at it (A-11)."""
        return self.via == MADE_HERE


class NamedInstance(NamedTuple):
    """What tells a kept instance, as it is kept, from every other: as in `InstanceRecord`, for answers of thousands."""

    study_instance_uid: StudyUid
    series_instance_uid: SeriesUid
    sop_instance_uid: InstanceUid
    transfer_syntax_uid: str
    object_key: ObjectKey
    meta_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A score judged against its operating point."""

    code: str
    name_en: str
    name_vi: str
    score: float
    threshold: float
    operating_point: str
    positive: bool
    urgency: str
    key_instance_uid: str | None = None
    key_series_uid: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TriageResult:
    """Findings of one model on one revision.

    `raises` tells whether the result may move the worklist: a result of a phantom model on any other study is a
    shadow, recorded and shown, never moving the list.  `urgency` is the most urgent positive finding's, or None.
    """

    outcome: Outcome
    reason: str | None = None
    """Stable reason code where the outcome is NOT_SUITABLE or FAILED."""
    detail: str = ""
    findings: tuple[Finding, ...] = ()
    urgency: str | None = None
    raises: bool = False
    series_instance_uid: str | None = None
    series_reasons: Mapping[str, str] = field(default_factory=dict)
    """Per series looked at: ``used`` or why not."""
    provenance: Mapping[str, object] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)
    """Stage -> POSIX seconds."""
    inputs: tuple[InstanceUid, ...] = ()
    """What the model looked at, in its order; kept beside the result and read for those who ask for it alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One model to run on one revision."""

    id: JobId
    study_instance_uid: StudyUid
    revision: int
    model_id: str
    model_version: str
    model_digest: str
    state: JobState
    due_at: datetime
    attempts: int
    lease_owner: str | None = None
    lease_until: datetime | None = None
    reason: str | None = None
    provisional: int = 0
    """The consecutive slices that a run on a part of a series was made for; 0: the run on all of it."""
    size: JobSize = JobSize.SMALL

    def log_context(self) -> dict[str, object]:
        """Return what a log line may carry of a job."""
        return {"job": self.id, "revision": self.revision, "model": self.model_id, "attempts": self.attempts}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One appended fact; readers hold a cursor, the `seq` of the last change they saw."""

    seq: int
    kind: str
    study_instance_uid: StudyUid | None
    series_instance_uid: SeriesUid | None
    sop_instance_uid: InstanceUid | None
    revision: int | None
    at: datetime
    detail: Mapping[str, object] = field(default_factory=dict)


class Pause(NamedTuple):
    """A silence of a study that was broken again: after how many instances, for how long, whether released by then."""

    instances: int
    seconds: float
    released: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRecord:
    """A study as the catalogue holds it; fields as in `Header`, times in UTC."""

    study_instance_uid: StudyUid
    patient_id: str | None
    issuer_of_patient_id: str | None
    patient_name: str | None
    patient_birth_date: str | None
    patient_sex: str | None
    identity_conflict: bool
    """Its instances name more than one patient: for a person to reconcile."""
    study_date: str | None
    study_time: str | None
    accession_number: str | None
    study_id: str | None
    study_description: str | None
    referring_physician_name: str | None
    modalities: tuple[str, ...]
    series_count: int
    instance_count: int
    state: StudyState
    revision: int
    received_first: datetime
    received_last: datetime
    released_at: datetime | None
    """When the last association or request that brought instances ended in order, if none came since."""
    longest_gap_s: float
    """The longest pause between two instances of this revision, seconds."""
    pauses: tuple[Pause, ...]
    """The longest that were broken again after a release, and the one that ended the revision before this one."""
    quiet_until: datetime
    completed_at: datetime | None
    completion_reason: str | None
    completion_probability: float | None
    """How likely it was, when the study was completed, that nothing more would come."""
    ready_at: datetime | None
    """First completion; never moves."""
    due_at: datetime | None
    order_priority: OrderPriority | None
    manual_priority: OrderPriority | None
    manual_by: str | None
    ai_urgency: str | None
    due_without_ai: datetime | None
    """When it would be due had no model raised it."""
    opened_at: datetime | None
    """When somebody opened it last."""
    opened_by: str | None
    open_until: datetime | None
    """Until when that counts unless it is said again; None once it was closed."""
    reported_at: datetime | None
    reported_by: str | None
    reported_revision: int | None
    """Which revision was read, by whom, and when."""

    def is_open(self, now: datetime) -> bool:
        """Tell whether a reader has it open."""
        return self.open_until is not None and now < self.open_until

    @property
    def waits(self) -> bool:
        """Whether it waits to be read: nobody read it, or images came after it was read."""
        return (
            self.reported_revision is None
            or self.reported_at is None
            or self.reported_revision < self.revision
            or (self.state is StudyState.RECEIVING and self.received_last > self.reported_at)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesRecord:
    """A series as the catalogue holds it."""

    study_instance_uid: StudyUid
    series_instance_uid: SeriesUid
    modality: str | None
    series_number: int | None
    series_description: str | None
    body_part_examined: str | None
    protocol_name: str | None
    manufacturer: str | None
    station_name: str | None
    pps_start_date: str | None
    pps_start_time: str | None
    scheduled_procedure_step_ids: str | None
    requested_procedure_ids: str | None
    instance_count: int
    made_here: bool = False
    """Holds what we wrote of a result ourselves, and nothing that was received."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultObject:
    """A DICOM object that tells a result; `form` is ``sr``, ``ko``, ``sc`` or ``seg``."""

    form: str
    sop_class_uid: str
    study_instance_uid: StudyUid
    series_instance_uid: SeriesUid
    sop_instance_uid: InstanceUid


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultRecord:
    """A committed triage result."""

    id: ResultId
    job_id: JobId
    revision: int
    model_id: str
    model_version: str
    model_digest: str
    created_at: datetime
    superseded_by: int | None
    """The revision whose result took this one's place, if any."""
    result: TriageResult
    retracted_at: datetime | None = None
    """When a person said that it holds no longer; it moves nothing since, and is shown as retracted."""
    retracted_by: str | None = None
    retracted_why: str | None = None
    provisional: int | None = None
    """The slices that had come when a flag was raised on a part of a series; None: the whole series was seen."""
    reported_at: datetime | None = None
    """When the objects that tell it were kept, or it was found that there are none."""
    objects: tuple[ResultObject, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Feedback:
    """A reader's word on a finding of a result; without a verdict where an earlier word is taken back."""

    result_id: ResultId
    finding: str
    verdict: ReaderVerdict | None
    by: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class CoverageRecord:
    """What is true of one model on a study's current revision."""

    model_id: str
    coverage: Coverage
    reason: str | None = None
    outcome: Outcome | None = None
    revision: int | None = None
    """The revision that was analysed; older than the study's where nothing that the model accepts came since."""
    retracted: bool = False
    """Its result was retracted: it says nothing any more."""
    provisional: int | None = None
    """The slices on which a provisional flag stands, if one does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorklistEntry:
    """One row of the reading worklist."""

    study: StudyRecord
    series: tuple[SeriesRecord, ...]
    coverage: tuple[CoverageRecord, ...]
    results: tuple[ResultRecord, ...]
    """Newest first; superseded ones included, marked."""
    feedback: Mapping[ResultId, tuple[Feedback, ...]] = field(default_factory=dict)
    """The latest word of each reader."""
    ai_counts: bool = True
    """Whether AI moves the list now: not while too many studies are flagged."""

    @property
    def due_at(self) -> datetime | None:
        """When the study is due as the list counts now."""
        study = self.study
        return study.due_at if self.ai_counts else study.due_without_ai or study.due_at

    @property
    def is_raised_by_ai(self) -> bool:
        """Whether it stands where it stands because of a model."""
        due, without = self.due_at, self.study.due_without_ai
        return due is not None and without is not None and due < without

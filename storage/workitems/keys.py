"""Matching workitems: which keys, and how, of those that others made and of triage jobs (PS3.4 CC.2.8, Table CC.2.5-3).

Keys below one sequence match within one item of it.  What can be matched of a workitem stands in rows of its own; a
job's is computed from the job and its study, where it is kept.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, cast

import sqlalchemy as sa
from pydicom.datadict import dictionary_VR

from storage import schema
from storage.conditions import Condition
from storage.matching import BY_VR, Match
from storage.names import fold
from storage.records import Job, JobState, OrderPriority
from storage.workitems import datasets, moments
from storage.workitems.attributes import SOP_CLASS_UID, TABLE, Row
from storage.workitems.datasets import DataSet
from storage.workitems.records import job_of_uid
from storage.workitems.states import WorkitemState

if TYPE_CHECKING:
    from storage.database import Transaction

_workitems, _keys = schema.workitems, schema.workitem_keys
_jobs, _studies = schema.jobs, schema.studies

Rule = Callable[[str, "Transaction"], Condition | None]
"""(value, transaction) -> condition, None for universal matching."""

MAX_KEY_LENGTH: Final = 256
"""Longer values match by their beginning."""

JOB_LABEL: Final = "AI triage"
JOB_WORKLIST: Final = "AI TRIAGE"
JOB_CODE: Final = ("110004", "DCM", "Computer Aided Detection")
STATION_SCHEME: Final = "99ROI"
"""The scheme of station names that are models: private, as its 99 says (PS3.16 8)."""


def station_of(job: Job) -> DataSet:
    """Return the station that a job is for: its model."""
    return datasets.code(job.model_id, STATION_SCHEME, f"{job.model_id} {job.model_version}"[:64])


# --------------------------------------------------------------------------------------------- which keys there are
def _matchable(rows: tuple[Row, ...], above: str = "", around: str = "-") -> Iterator[tuple[str, str]]:
    for row in rows:
        match = around if row.match == "*" else row.match
        if row.items:
            yield from _matchable(row.items, f"{above}{row.keyword}.", match)
        elif match != "-":
            yield above + row.keyword, match


MATCHED: Final[Mapping[str, str]] = dict(_matchable(TABLE))
"""Path of keywords -> type of the matching key: U unique, R required, O optional."""


# ---------------------------------------------------------------------------------------- workitems that others made
def rows_of(model: DataSet) -> list[dict[str, Any]]:
    """Return the rows by which a workitem is found."""
    return [
        {"path": path, "item": item, "inner_item": inner, "value": value[:MAX_KEY_LENGTH]}
        for path in MATCHED
        if path not in _COLUMNS
        for item, inner, value in _values(model, path.split("."))
    ]


def _values(model: DataSet, path: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield what can be matched of an attribute, with the items that it stands in."""
    *around, keyword = path
    nests: list[tuple[list[int], DataSet]] = [([], model)]
    for sequence in around:
        nests = [
            ([*at, place], item) for at, nest in nests for place, item in enumerate(datasets.items(nest, sequence))
        ]
    for at, nest in nests:
        item, inner = [*at, 0, 0][:2]
        for value in datasets.values(nest, keyword):
            text = _as_key(dictionary_VR(keyword), value)
            if text:
                yield item, inner, text


def _as_key(vr: str, value: object) -> str | None:
    if vr == "PN":
        groups = value if isinstance(value, dict) else {}
        return fold(
            "=".join(str(groups.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
        )
    return moments.comparable(str(value)) if vr == "DT" else str(value).strip()


def of_workitems(tx: Transaction, matches: Iterable[Match]) -> list[Condition]:
    """Return the conditions on `schema.workitems` that keys make.

    Raises
    ------
    MatchRejected
        A value cannot be matched with its attribute; the message never repeats it.
    """
    made: list[Condition] = []
    groups: dict[str, list[Match]] = defaultdict(list)
    for match in matches:
        if match.keyword in _COLUMNS:
            made += _some(_COLUMNS[match.keyword](match.value, tx))
        else:
            groups[match.keyword.partition(".")[0]].append(match)
    for group in groups.values():
        made += _some(_in_one_item(group, tx))
    return made


def _in_one_item(matches: Iterable[Match], tx: Transaction) -> Condition | None:
    """Return that all keys match within one item; keys of one inner sequence within one of its items too."""
    found: list[tuple[str, Any]] = []
    conditions: list[Condition] = []
    for match in matches:
        row = _keys.alias()
        condition = _rule(match.keyword, row.c.value)(match.value[:MAX_KEY_LENGTH], tx)
        if condition is None:
            continue
        conditions += [row.c.workitem_pk == _workitems.c.id, row.c.path == match.keyword, condition]
        found.append((match.keyword, row))
    for (_, one), (_, other) in pairwise(found):
        conditions.append(one.c.item == other.c.item)
    for place, (path, one) in enumerate(found):
        conditions += [
            one.c.inner_item == other.c.inner_item for beside, other in found[:place] if _are_beside(path, beside)
        ]
    return sa.exists(sa.select(sa.literal(1)).where(*conditions)) if found else None


def _are_beside(path: str, other: str) -> bool:
    return path.count(".") > 1 and path.rpartition(".")[0] == other.rpartition(".")[0]


def _rule(path: str, column: sa.Column[Any]) -> Rule:
    vr = dictionary_VR(path.rpartition(".")[2])
    return _moments(column, moments.sortable_ends) if vr == "DT" else _by_vr(vr, column)


def _by_vr(vr: str, column: sa.Column[Any]) -> Rule:
    rule = BY_VR[vr](column)

    def condition(value: str, tx: Transaction) -> Condition | None:
        matched = rule(value, tx)
        return None if matched is None else matched.whole()

    return condition


def _moments(column: sa.Column[Any], ends: Callable[[str], tuple[Any, Any]]) -> Rule:
    def condition(value: str, _: Transaction) -> Condition | None:
        if not value.strip("*"):
            return None
        first, last = ends(value)
        return sa.and_(
            *([column >= first] if first is not None else []), *([column <= last] if last is not None else [])
        )

    return condition


def _constant(*texts: str) -> Rule:
    """Match what is the same for all, or nothing where there is no text."""

    def condition(value: str, _: Transaction) -> Condition | None:
        return None if not value.strip("*") else sa.true() if any(_fits(text, value) for text in texts) else sa.false()

    return condition


def _fits(text: str, value: str) -> bool:
    return any(fnmatchcase(text, re.sub(r"\[", "[[]", part)) for part in value.split("\\"))


def _one_of(choices: Mapping[str, Condition]) -> Rule:
    """Match where one of the fitting choices holds."""

    def condition(value: str, _: Transaction) -> Condition | None:
        if not value.strip("*"):
            return None
        return sa.or_(sa.false(), *(holds for text, holds in choices.items() if _fits(text, value)))

    return condition


def _some(condition: Condition | None) -> list[Condition]:
    return [] if condition is None else [condition]


_COLUMNS: Final[Mapping[str, Rule]] = {
    "SOPClassUID": _constant(SOP_CLASS_UID),
    "SOPInstanceUID": _by_vr("UI", _workitems.c.sop_instance_uid),
    "ProcedureStepState": _by_vr("CS", _workitems.c.state),
    "ScheduledProcedureStepModificationDateTime": _moments(_workitems.c.modified_at, moments.between),
}


# ----------------------------------------------------------------------------------------------------- triage jobs
def of_jobs(tx: Transaction, matches: Iterable[Match]) -> list[Condition]:
    """Return the conditions on `schema.jobs` joined with their studies that keys make; as `of_workitems`.

    Runs on a part of a series are nobody's workitems: they are dropped when the rest comes.
    """
    nothing = _constant()
    made = (_OF_JOBS.get(match.keyword, nothing)(match.value, tx) for match in matches)
    return [_jobs.c.provisional == 0, *(condition for condition in made if condition is not None)]


def _job_uids(value: str, _: Transaction) -> Condition | None:
    if not value:
        return None
    return _jobs.c.id.in_([job for uid in value.split("\\") if (job := job_of_uid(uid.strip())) is not None])


def _model(*, is_long: bool) -> Rule:
    named = _by_vr("UC", _jobs.c.model_id)

    def condition(value: str, tx: Transaction) -> Condition | None:
        matched = named(value, tx)
        length = sa.func.length(_jobs.c.model_id)
        return None if matched is None else sa.and_(matched, length > 16 if is_long else length <= 16)

    return condition


_claimed = _jobs.c.claimed_at.is_not(None)
_waiting = _jobs.c.state == JobState.WAITING
IS_URGENT: Final = sa.func.coalesce(_studies.c.manual_priority, _studies.c.order_priority, "").in_(
    [OrderPriority.STAT, OrderPriority.URGENT]
)

_STATES: Final[Mapping[str, Condition]] = {
    WorkitemState.SCHEDULED: sa.and_(_waiting, ~_claimed),
    WorkitemState.IN_PROGRESS: sa.or_(_jobs.c.state == JobState.RUNNING, sa.and_(_waiting, _claimed)),
    WorkitemState.COMPLETED: _jobs.c.state == JobState.DONE,
    WorkitemState.CANCELED: _jobs.c.state.in_((JobState.FAILED, JobState.OPTED_OUT)),
}
JOB_STATE: Final = sa.case(*((holds, sa.literal(state)) for state, holds in _STATES.items()))
"""A job's state as a workitem, as `records.state_of_job` has it."""

_OF_JOBS: Final[Mapping[str, Rule]] = {
    "SOPClassUID": _constant(SOP_CLASS_UID),
    "SOPInstanceUID": _job_uids,
    "ProcedureStepState": _one_of(_STATES),
    "ScheduledProcedureStepPriority": _one_of({"HIGH": IS_URGENT, "MEDIUM": ~IS_URGENT}),
    "ScheduledProcedureStepModificationDateTime": _moments(
        cast("sa.Column[Any]", sa.func.coalesce(_jobs.c.ended_at, _jobs.c.claimed_at, _jobs.c.created_at)),
        moments.between,
    ),
    "ScheduledProcedureStepStartDateTime": _moments(_jobs.c.created_at, moments.between),
    "ProcedureStepLabel": _constant(JOB_LABEL),
    "WorklistLabel": _constant(JOB_WORKLIST),
    "InputReadinessState": _constant("READY"),
    "ScheduledStationNameCodeSequence.CodeValue": _model(is_long=False),
    "ScheduledStationNameCodeSequence.LongCodeValue": _model(is_long=True),
    "ScheduledStationNameCodeSequence.CodingSchemeDesignator": _constant(STATION_SCHEME),
    "ScheduledWorkitemCodeSequence.CodeValue": _constant(JOB_CODE[0]),
    "ScheduledWorkitemCodeSequence.CodingSchemeDesignator": _constant(JOB_CODE[1]),
    "StudyInstanceUID": _by_vr("UI", _studies.c.study_instance_uid),
    "InputInformationSequence.StudyInstanceUID": _by_vr("UI", _studies.c.study_instance_uid),
    "ReferencedRequestSequence.StudyInstanceUID": _by_vr("UI", _studies.c.study_instance_uid),
    "ReferencedRequestSequence.AccessionNumber": _by_vr("SH", _studies.c.accession_number),
    "PatientName": _by_vr("PN", _studies.c.patient_name_folded),
    "PatientID": _by_vr("LO", _studies.c.patient_id),
    "IssuerOfPatientID": _by_vr("LO", _studies.c.issuer_of_patient_id),
    "PatientBirthDate": _by_vr("DA", _studies.c.patient_birth_date),
    "PatientSex": _by_vr("CS", _studies.c.patient_sex),
}

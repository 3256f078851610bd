"""When a study is due: its first completion plus the target of its most urgent class.  AI only raises.

No study is overtaken by one that became ready later by more than the difference of their two targets; that is the
whole promise of due-date order, and why a negative or missing AI result moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from inference import guard
from inference.targets import STANDARD, Targets, current
from storage.catalog import audit, changes, jobs, results, studies
from storage.catalog import guard as guard_rows
from storage.records import OrderPriority, StudyState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from storage.database import Transaction
    from storage.records import Finding, ResultRecord, StudyRecord, StudyUid, WorklistEntry

TARGETS: Final[Mapping[OrderPriority, timedelta]] = STANDARD.order
"""From a person or the order, until the site sets others."""

AI_TARGETS: Final[Mapping[str, timedelta]] = STANDARD.ai
"""From a model, until the site sets others: only these classes move the list."""

OURSELVES: Final = "roi"
"""Who moves a study where no person does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why a row stands where it stands, for a person."""

    en: str
    vi: str


def refresh(tx: Transaction, uid: StudyUid, *, now: datetime, cause: str, by: str = OURSELVES) -> bool:
    """Enter a study's due time anew after its order, a person's priority or a result changed; tell whether it moved.

    While a reader has the study open, a result may raise it and not lower it; what was held back happens once it is
    closed.
    """
    study = studies.get(tx, uid)
    targets = current(tx)
    urgency = ai_urgency(results.of_studies(tx, [uid]).get(uid, ()))
    if study.is_open(now):
        urgency = _more_urgent({urgency, study.ai_urgency})
    due_at, without_ai = due(study, urgency, targets), _due_without_ai(study, urgency, targets)
    if (due_at, without_ai, urgency) == (study.due_at, study.due_without_ai, study.ai_urgency):
        return False
    studies.set_due(tx, uid, due_at=due_at, due_without_ai=without_ai, ai_urgency=urgency)
    if due_at is None:
        return False
    jobs.set_due(tx, uid, due_at=due_at)
    moved = study.due_at is not None
    if moved:
        note_move(tx, study, now=now, cause=cause, by=by)
    if urgency != study.ai_urgency:
        guard.watch(tx, now=now)
    return moved


def note_move(tx: Transaction, before: StudyRecord, *, now: datetime, cause: str, by: str) -> None:
    """Write a move into the audit and the change feed: from when to when, why, and by whom."""
    uid = before.study_instance_uid
    after = studies.get(tx, uid)
    counts = not guard_rows.is_on(tx)
    was, due_at = _listed_due(before, counts), _listed_due(after, counts)
    moved_s = (due_at - was).total_seconds() if due_at and was else 0.0
    detail: dict[str, Any] = {"cause": cause, "moved_s": moved_s, "from": _told(was), "to": _told(due_at)}
    detail |= {"ai": after.ai_urgency, "open": after.is_open(now)}
    audit.append(tx, actor=by, action="priority-changed", subject=uid, at=now, detail=detail)
    detail = {**detail, "by": by}
    changes.append(tx, "priority-changed", at=now, study=uid, revision=after.revision, detail=detail)


def _listed_due(study: StudyRecord, ai_counts: bool) -> datetime | None:
    return study.due_at if ai_counts else study.due_without_ai or study.due_at


def _told(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def ai_urgency(all_results: Iterable[ResultRecord]) -> str | None:
    """Return the most urgent class that a current, raising result asks for."""
    return _more_urgent(
        {
            record.result.urgency
            for record in all_results
            if _holds(record) and record.result.raises and record.result.urgency in AI_TARGETS
        }
    )


def _more_urgent(asked: Iterable[str | None]) -> str | None:
    return min((urgency for urgency in asked if urgency), key=AI_TARGETS.__getitem__, default=None)


def _holds(record: ResultRecord) -> bool:
    """Tell whether a result still speaks: no later one took its place, and nobody retracted it."""
    return record.superseded_by is None and record.retracted_at is None


def due(study: StudyRecord, urgency: str | None, targets: Targets = STANDARD) -> datetime | None:
    """Return when the study is due; None until it was complete for the first time.

    A provisional flag raises a study that is still arriving: from its first image, as the list places such a study.
    """
    since = _since(study, urgency)
    return None if since is None else since + _target(study, urgency, targets)


def _due_without_ai(study: StudyRecord, urgency: str | None, targets: Targets) -> datetime | None:
    """Return when the study would be due had no model said anything: there where `due` has an answer."""
    since = _since(study, urgency)
    return None if since is None else since + _target(study, None, targets)


def _since(study: StudyRecord, urgency: str | None) -> datetime | None:
    return study.ready_at or (study.received_first if urgency else None)


def _target(study: StudyRecord, urgency: str | None, targets: Targets) -> timedelta:
    order = targets.order[study.order_priority or OrderPriority.ROUTINE]
    person = targets.order[study.manual_priority] if study.manual_priority else order
    model = targets.ai[urgency] if urgency else order
    return min(order, person, model)


def place_reason(entry: WorklistEntry) -> Reason:
    """Say in words why a study stands where it stands."""
    reason = _place_reason(entry)
    again = entry.study.reported_revision
    if again is None or not entry.study.waits:
        return reason
    return Reason(
        en=f"new images since revision {again} was read: to be read again; {reason.en}",
        vi=f"có ảnh mới sau lần đọc trước (lần nhận {again}): cần đọc lại; {reason.vi}",
    )


def _place_reason(entry: WorklistEntry) -> Reason:
    study = entry.study
    if study.manual_priority is OrderPriority.STAT:
        return Reason(en="STAT, set by a person: before everything else", vi="CẤP CỨU do người đặt: trước mọi ca khác")
    if study.ready_at is None or entry.due_at is None:
        return _still_receiving(entry)
    within_en, within_vi = _minutes(entry.due_at - study.ready_at)
    if entry.is_raised_by_ai:
        return _raised_by_ai(entry, within_en, within_vi)
    more_en, more_vi = _lateness(entry)
    if not entry.ai_counts and study.ai_urgency:
        more_en += "; too many flags: AI does not move the list now"
        more_vi += "; tỷ lệ cảnh báo quá cao: AI tạm không đổi thứ tự"
    order = study.order_priority or OrderPriority.ROUTINE
    if study.manual_priority and TARGETS[study.manual_priority] <= TARGETS[order]:
        person = study.manual_priority
        return Reason(
            en=f"{person}, set by a person; due {within_en}{more_en}",
            vi=f"{_VI[person]} do người đặt; cần đọc {within_vi}{more_vi}",
        )
    return Reason(
        en=f"order {order}; due {within_en}{more_en}", vi=f"chỉ định {_VI[order]}; cần đọc {within_vi}{more_vi}"
    )


def _raised_by_ai(entry: WorklistEntry, within_en: str, within_vi: str) -> Reason:
    strongest = _strongest(entry)
    if strongest is None:
        return Reason(
            en=f"flagged by AI before, and open since; due {within_en}",
            vi=f"AI đã cảnh báo trước đó, ca đang được mở; cần đọc {within_vi}",
        )
    return Reason(
        en=f"AI flag: {strongest.name_en} {strongest.score:.2f}; due {within_en}",
        vi=f"AI cảnh báo: {strongest.name_vi} {_in_vietnamese(strongest.score)}; cần đọc {within_vi}",
    )


def _still_receiving(entry: WorklistEntry) -> Reason:
    flag = _strongest(entry) if entry.study.ai_urgency and entry.ai_counts else None
    if flag is None:
        return Reason(
            en="still receiving: placed by order and arrival", vi="đang nhận ảnh: xếp theo chỉ định và giờ đến"
        )
    return Reason(
        en=f"provisional AI flag: {flag.name_en} {flag.score:.2f}; images still arriving",
        vi=f"AI cảnh báo tạm thời: {flag.name_vi} {_in_vietnamese(flag.score)}; đang nhận ảnh",
    )


_VI = {OrderPriority.STAT: "cấp cứu", OrderPriority.URGENT: "khẩn", OrderPriority.ROUTINE: "thường quy"}


def _in_vietnamese(score: float) -> str:
    return f"{score:.2f}".replace(".", ",")


def _minutes(target: timedelta) -> tuple[str, str]:
    minutes = round(target.total_seconds() / 60)
    return f"within {minutes} min of completion", f"trong {minutes} phút sau khi đủ ảnh"


def _strongest(entry: WorklistEntry) -> Finding | None:
    found = [
        finding
        for record in entry.results
        if _holds(record) and record.result.raises
        for finding in record.result.findings
        if finding.positive and finding.urgency == entry.study.ai_urgency
    ]
    return max(found, key=lambda finding: finding.score, default=None)


def _lateness(entry: WorklistEntry) -> tuple[str, str]:
    if entry.study.state is StudyState.RECEIVING:
        return "; new images are arriving", "; đang có ảnh mới"
    return "", ""

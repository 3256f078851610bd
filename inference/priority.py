"""When a study is due: its first completion plus the target of its most urgent class.  AI only raises.

No study is overtaken by one that became ready later by more than the difference of their two targets; that is the
whole promise of due-date order, and why a negative or missing AI result moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from storage.catalog import changes, jobs, results, studies
from storage.records import OrderPriority, StudyState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.database import Transaction
    from storage.records import Finding, ResultRecord, StudyRecord, StudyUid, WorklistEntry

TARGETS: Mapping[OrderPriority, timedelta] = {
    OrderPriority.STAT: timedelta(minutes=15),
    OrderPriority.URGENT: timedelta(minutes=45),
    OrderPriority.ROUTINE: timedelta(minutes=240),
}
"""From a person or the order: minutes to reading, by class."""

AI_TARGETS: Mapping[str, timedelta] = {"critical": timedelta(minutes=20), "urgent": timedelta(minutes=60)}
"""From a model: only these classes move the list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why a row stands where it stands, for a person."""

    en: str
    vi: str


def refresh(tx: Transaction, uid: StudyUid, *, now: datetime, cause: str) -> None:
    """Enter a study's due time anew after its order, a person's priority or a result changed; append the move."""
    study = studies.get(tx, uid)
    urgency = ai_urgency(results.of_studies(tx, [uid]).get(uid, ()))
    due_at = due(study, urgency)
    if (due_at, urgency) == (study.due_at, study.ai_urgency):
        return
    studies.set_due(tx, uid, due_at=due_at, ai_urgency=urgency)
    if due_at is None:
        return
    jobs.set_due(tx, uid, due_at=due_at)
    if study.due_at is not None:
        moved_s = (due_at - study.due_at).total_seconds()
        detail = {"cause": cause, "moved_s": moved_s, "ai": urgency}
        changes.append(tx, "priority-changed", at=now, study=uid, revision=study.revision, detail=detail)


def ai_urgency(all_results: Iterable[ResultRecord]) -> str | None:
    """Return the most urgent class that a current, raising result asks for."""
    asked = {
        record.result.urgency
        for record in all_results
        if _holds(record) and record.result.raises and record.result.urgency in AI_TARGETS
    }
    return min((urgency for urgency in asked if urgency), key=AI_TARGETS.__getitem__, default=None)


def _holds(record: ResultRecord) -> bool:
    """Tell whether a result still speaks: no later one took its place, and nobody retracted it."""
    return record.superseded_by is None and record.retracted_at is None


def due(study: StudyRecord, urgency: str | None) -> datetime | None:
    """Return when the study is due; None until it was complete for the first time.

    A provisional flag raises a study that is still arriving: from its first image, as the list places such a study.
    """
    since = study.ready_at or (study.received_first if urgency else None)
    if since is None:
        return None
    order = TARGETS[study.order_priority or OrderPriority.ROUTINE]
    person = TARGETS[study.manual_priority] if study.manual_priority else order
    model = AI_TARGETS[urgency] if urgency else order
    return since + min(order, person, model)


def place_reason(entry: WorklistEntry) -> Reason:
    """Say in words why a study stands where it stands."""
    study = entry.study
    if study.manual_priority is OrderPriority.STAT:
        return Reason(en="STAT, set by a person: before everything else", vi="CẤP CỨU do người đặt: trước mọi ca khác")
    if study.ready_at is None and study.ai_urgency and (flag := _strongest(entry)):
        return Reason(
            en=f"provisional AI flag: {flag.name_en} {flag.score:.2f}; images still arriving",
            vi=f"AI cảnh báo tạm thời: {flag.name_vi} {_in_vietnamese(flag.score)}; đang nhận ảnh",
        )
    if study.ready_at is None:
        return Reason(
            en="still receiving: placed by order and arrival", vi="đang nhận ảnh: xếp theo chỉ định và giờ đến"
        )
    target = study.due_at - study.ready_at if study.due_at else TARGETS[OrderPriority.ROUTINE]
    within_en, within_vi = _minutes(target)
    strongest = _strongest(entry)
    if study.ai_urgency and strongest and AI_TARGETS[study.ai_urgency] == target:
        return Reason(
            en=f"AI flag: {strongest.name_en} {strongest.score:.2f}; due {within_en}",
            vi=f"AI cảnh báo: {strongest.name_vi} {_in_vietnamese(strongest.score)}; cần đọc {within_vi}",
        )
    if study.manual_priority and TARGETS[study.manual_priority] == target:
        return Reason(
            en=f"{study.manual_priority}, set by a person; due {within_en}",
            vi=f"{_VI[study.manual_priority]} do người đặt; cần đọc {within_vi}",
        )
    order = study.order_priority or OrderPriority.ROUTINE
    late_en, late_vi = _lateness(entry)
    return Reason(
        en=f"order {order}; due {within_en}{late_en}", vi=f"chỉ định {_VI[order]}; cần đọc {within_vi}{late_vi}"
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

"""A day of this archive read again: who gained minutes from AI, and who lost them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Response

from api.answers import as_json
from api.context import Context
from api.errors import ParameterRejected
from api.words import Text
from inference import targets
from inference.replay import MOST, Replay, Room, day_of, replay
from storage.catalog import flow
from storage.local_time import LOCAL_TIME

if TYPE_CHECKING:
    from collections.abc import Mapping

router = APIRouter(prefix="/api/triage", tags=["triage"])

GROUP_NAMES: Final[Mapping[str, Text]] = {
    "all": Text(vi="tất cả", en="all"),
    "flagged": Text(vi="AI cảnh báo", en="flagged"),
    "not flagged": Text(vi="AI không cảnh báo", en="not flagged"),
    "not analysed": Text(vi="AI chưa phân tích", en="not analysed"),
    "STAT": Text(vi="cấp cứu", en="STAT"),
}

_YEARS: Final = range(1970, 2200)

_AS_READ: Final = (
    Text(
        vi="Giờ bắt đầu đọc là giờ thật; ở thứ tự khác, các giờ ấy được giao cho ca khác.",
        en="Reading began when it really did; in another order those moments are given to other studies.",
    ),
)
_AS_ASSUMED: Final = (
    Text(
        vi="{readers} người đọc, mỗi ca {minutes} phút: giả định, không phải số đo.",
        en="{readers} reader(s), {minutes} min for each study: assumed, not measured.",
    ),
    Text(vi="Đầu ngày không còn ca nào chờ từ hôm trước.", en="Nothing was left over when the day began."),
)
_ALWAYS: Final = (
    Text(
        vi="Ưu tiên do người đặt hoặc theo chỉ định được coi như có từ đầu.",
        en="Priorities of people and orders count as if they had been there from the beginning.",
    ),
)


@router.api_route("/replay", methods=["GET", "HEAD"])
def replay_of(
    context: Context,
    day: Annotated[str, Query(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")],
    readers: Annotated[int | None, Query(ge=1, le=100)] = None,
    reading_min: Annotated[float | None, Query(ge=0.1, le=600)] = None,
    shadow: bool = False,
) -> Response:
    """Return what each group waited on a day as the list stood, without AI, and in order of arrival."""
    if (readers is None) is not (reading_min is None):
        raise ParameterRejected("readers and reading_min: give both, or neither")
    room = None if readers is None or reading_min is None else Room(readers=readers, reading_min=reading_min)
    since, until = day_of(_as_day(day), LOCAL_TIME)
    with context.archive.database.read() as tx:
        waited, set_here = flow.waited_between(tx, since, until, limit=MOST + 1), targets.current(tx)
    if len(waited) > MOST:
        raise ParameterRejected(f"day: more than {MOST} studies became ready on it")
    found = replay(waited, since=since, until=until, room=room, shadow=shadow, targets=set_here)
    return as_json(told(found, shadow=shadow))


def _as_day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ParameterRejected("day: there is no such day") from None
    if day.year not in _YEARS:
        raise ParameterRejected("day: no study became ready in that year")
    return day


def told(found: Replay, *, shadow: bool) -> dict[str, Any]:
    """Return a replay as plain data, with what it assumes in words."""
    return {
        **asdict(found),
        "lines": [{**asdict(line), "name": GROUP_NAMES[line.group].both()} for line in found.lines],
        "shadow": shadow,
        "assumed": assumptions(found),
    }


def assumptions(found: Replay) -> list[dict[str, str]]:
    """Say in both languages what a replay takes for granted."""
    texts = (*(_AS_READ if found.room is None else _AS_ASSUMED), *_ALWAYS)
    room = found.room or Room(readers=0, reading_min=0)
    values = {"readers": room.readers, "minutes": f"{room.reading_min:g}"}
    return [text.filled(**values).both() for text in texts]

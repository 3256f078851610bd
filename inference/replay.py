"""A day of this archive read again: as the list stood, as it would have stood without AI, and in order of arrival.

Where it is kept when somebody began to read each study, those moments are taken as they were and given to other
studies: what one group gains, others lose, to the second, and nothing is assumed of readers.  Where it is not, so many
readers with one reading time are assumed, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from inference.errors import InquiryRejected
from inference.targets import STANDARD, Targets
from inference.waterfall import quantile
from storage.records import OrderPriority, Outcome

if TYPE_CHECKING:
    from storage.catalog.flow import Waited

MOST: Final = 5_000
"""Studies of a day."""

_NEVER: Final = datetime.max.replace(tzinfo=UTC)

_Key = tuple[bool, datetime, datetime]
_Rule = Callable[["_Case", bool], _Key]
"""(study, whether its flag is there) -> what is smallest is read next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """A reading room that is assumed: how many read at a time, and the minutes that each study takes them."""

    readers: int
    reading_min: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Minutes that a group waited in one order."""

    mean: float
    p95: float
    longest: float
    in_time: float
    """The share that was begun by its due time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One group of the day; `gained` are mean minutes against each of the other orders, below 0 where it lost."""

    group: str
    studies: int
    listed: Wait
    without_ai: Wait
    fifo: Wait
    gained_by_ai: float
    gained_over_fifo: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """The day; `room` None where it is known when each study was begun."""

    since: datetime
    until: datetime
    room: Room | None
    studies: int
    unread: int
    """Left out: nobody has begun with them, or somebody had before they were complete."""
    lines: tuple[Line, ...]


def day_of(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return when a day begins and ends."""
    return datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=1), time(), zone)


def replay(
    waited: Sequence[Waited],
    *,
    since: datetime,
    until: datetime,
    room: Room | None,
    shadow: bool = False,
    targets: Targets = STANDARD,
) -> Replay:
    """Read a day again.

    Parameters
    ----------
    waited
        The studies that became ready on it, by `ready_at`.
    room
        Readers that are assumed; None to take the moments at which reading really began.
    shadow
        Whether flags that may not move the list count as if they might: what enabling their model would have done.
    targets
        The site's, by class, for what the catalogue does not tell.

    Raises
    ------
    InquiryRejected
        It is not known when anything was begun, and no room is given; shadow flags moved no real reading.
    """
    cases = [_Case.of(study, shadow=shadow, targets=targets) for study in waited]
    if room is None:
        if shadow:
            raise InquiryRejected("what shadow flags would have done needs readers and reading_min")
        cases = [case for case in cases if case.began_at is not None]
        if waited and not cases:
            raise InquiryRejected("it is not known when these studies were begun: say readers and reading_min")
    orders = _orders(cases, room)
    lines = [
        _line(name, [n for n, case in enumerate(cases) if holds(case)], cases, orders) for name, holds in GROUPS.items()
    ]
    return Replay(
        since=since,
        until=until,
        room=room,
        studies=len(cases),
        unread=len(waited) - len(cases),
        lines=tuple(line for line in lines if line is not None),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """A study of the day, as the rule of the list sees it."""

    ready_at: datetime
    is_first: bool
    """A person's STAT: before everything else in every order."""
    is_stat: bool
    due_without_ai: datetime
    due_at: datetime
    """Once its flag is there."""
    flagged_at: datetime | None
    analysed: bool
    began_at: datetime | None

    @classmethod
    def of(
        cls,
        study: Waited,
        *,
        shadow: bool,
        targets: Targets,
    ) -> _Case:
        asked = [said for said in study.judged if (said.raises or shadow) and said.urgency in targets.ai]
        wanted = (study.order_priority or OrderPriority.ROUTINE, study.manual_priority)
        without_ai = study.due_without_ai or study.ready_at + min(targets.order[each] for each in wanted if each)
        dues = [study.due_at] if study.due_at is not None else []
        dues += [study.ready_at + targets.ai[str(said.urgency)] for said in asked if not said.raises]
        return cls(
            ready_at=study.ready_at,
            is_first=study.manual_priority is OrderPriority.STAT,
            is_stat=OrderPriority.STAT in {study.order_priority, study.manual_priority},
            due_without_ai=without_ai,
            due_at=min([without_ai, *dues]) if asked else without_ai,
            flagged_at=max(study.ready_at, min(said.at for said in asked)) if asked else None,
            analysed=any(said.outcome in {Outcome.FLAGGED, Outcome.NOT_FLAGGED} for said in study.judged),
            began_at=study.began_at if study.began_at is not None and study.began_at >= study.ready_at else None,
        )


GROUPS: Final[Mapping[str, Callable[[_Case], bool]]] = {
    "all": lambda _: True,
    "flagged": lambda case: case.flagged_at is not None,
    "not flagged": lambda case: case.analysed and case.flagged_at is None,
    "not analysed": lambda case: not case.analysed and case.flagged_at is None,
    "STAT": lambda case: case.is_stat,
}
"""Who waited: all, parted into flagged, not flagged and not analysed; and the STAT among them."""


# ------------------------------------------------------------------------------------------------------ the orders
def _by_arrival(case: _Case, _flagged: bool) -> _Key:
    return not case.is_first, case.ready_at, case.ready_at


def _without_ai(case: _Case, _flagged: bool) -> _Key:
    return not case.is_first, case.due_without_ai, case.ready_at


def _as_listed(case: _Case, flagged: bool) -> _Key:
    return not case.is_first, case.due_at if flagged else case.due_without_ai, case.ready_at


def _orders(cases: Sequence[_Case], room: Room | None) -> dict[str, list[datetime]]:
    """Return when each study is begun in each order."""
    begun = [case.began_at for case in cases if case.began_at is not None]
    if room is None:
        return {
            "listed": begun,
            "without_ai": _read(cases, _without_ai, _Moments(begun)),
            "fifo": _read(cases, _by_arrival, _Moments(begun)),
        }
    rules: dict[str, _Rule] = {"listed": _as_listed, "without_ai": _without_ai, "fifo": _by_arrival}
    first = min((case.ready_at for case in cases), default=_NEVER)
    return {name: _read(cases, rule, _Readers(room, first)) for name, rule in rules.items()}


class _Moments:
    """Reading begins when it really began."""

    def __init__(self, begun: Sequence[datetime]) -> None:
        self._left: Iterator[datetime] = iter(sorted(begun))

    def next(self, _earliest: datetime | None) -> datetime:
        return next(self._left)


class _Readers:
    """Reading begins when a reader is free and something waits."""

    def __init__(self, room: Room, first: datetime) -> None:
        self._free = [first] * room.readers
        self._now = first
        self._takes = timedelta(minutes=room.reading_min)

    def next(self, earliest: datetime | None) -> datetime:
        """Return when a reader takes the next study; `earliest` is when the next one comes, where nothing waits."""
        self._now = max(self._now, heappop(self._free), earliest or self._now)
        heappush(self._free, self._now + self._takes)
        return self._now


def _read(cases: Sequence[_Case], rule: _Rule, moments: _Moments | _Readers) -> list[datetime]:
    """Read every study under a rule; a flag moves its study from the moment at which it is there."""
    coming = [(case.ready_at, number, False) for number, case in enumerate(cases)]
    coming += [(case.flagged_at, number, True) for number, case in enumerate(cases) if case.flagged_at is not None]
    heapify(coming)
    waiting: list[tuple[_Key, int]] = []
    begun: dict[int, datetime] = {}
    while len(begun) < len(cases):
        _forget(waiting, begun)
        now = moments.next(None if waiting else _next_arrival(coming, begun))
        while coming and coming[0][0] <= now:
            _, number, flagged = heappop(coming)
            heappush(
                waiting, (rule(cases[number], flagged), number)
            )  # twice, where it is flagged: the first one counts
        _forget(waiting, begun)
        begun[heappop(waiting)[1]] = now
    return [begun[number] for number in range(len(cases))]


def _forget(waiting: list[tuple[_Key, int]], begun: Mapping[int, datetime]) -> None:
    """Take away what stands first and was read already."""
    while waiting and waiting[0][1] in begun:
        heappop(waiting)


def _next_arrival(coming: list[tuple[datetime, int, bool]], begun: Mapping[int, datetime]) -> datetime | None:
    while coming and coming[0][1] in begun:  # flags of what was read before they came
        heappop(coming)
    return coming[0][0] if coming else None


# ------------------------------------------------------------------------------------------------------ the answer
def _line(
    name: str, members: Sequence[int], cases: Sequence[_Case], orders: Mapping[str, Sequence[datetime]]
) -> Line | None:
    if not members:
        return None
    waits = {order: _wait([cases[n] for n in members], [begun[n] for n in members]) for order, begun in orders.items()}
    listed, without_ai, fifo = waits["listed"], waits["without_ai"], waits["fifo"]
    return Line(
        group=name,
        studies=len(members),
        listed=listed,
        without_ai=without_ai,
        fifo=fifo,
        gained_by_ai=without_ai.mean - listed.mean,
        gained_over_fifo=fifo.mean - listed.mean,
    )


def _wait(cases: Sequence[_Case], begun: Sequence[datetime]) -> Wait:
    minutes = sorted((at - case.ready_at).total_seconds() / 60 for case, at in zip(cases, begun, strict=True))
    in_time = sum(at <= case.due_at for case, at in zip(cases, begun, strict=True))
    return Wait(
        mean=sum(minutes) / len(minutes),
        p95=quantile(minutes, 0.95),
        longest=minutes[-1],
        in_time=in_time / len(cases),
    )

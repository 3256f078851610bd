"""How soon each class of study is to be read: what the site set, else the defaults, and what that promises.

Between every two classes stands a guarantee: no study is overtaken by one that became ready later by more than the
difference of their two targets.  Whoever sets targets sets these, and is shown them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from inference.errors import TargetsRefused
from storage.catalog import audit, changes
from storage.catalog import targets as kept
from storage.records import OrderPriority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from storage.database import Transaction

DEFAULTS: Final[Mapping[str, int]] = {"STAT": 15, "URGENT": 45, "ROUTINE": 240, "ai-critical": 20, "ai-urgent": 60}
"""Minutes from completion to reading, by class: those of the order or a person, and those of a model."""

MOST_MINUTES: Final = 7 * 24 * 60
_ORDERS: Final = (OrderPriority.STAT, OrderPriority.URGENT, OrderPriority.ROUTINE)
_AI: Final = ("critical", "urgent")
_RISING: Final = (("STAT", "URGENT"), ("URGENT", "ROUTINE"), ("ai-critical", "ai-urgent"), ("ai-urgent", "ROUTINE"))
"""(sooner, later): a target may not be later than one of a less urgent class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """From completion to reading: by the priority of an order or a person, and by the class of a model's finding."""

    order: Mapping[OrderPriority, timedelta]
    ai: Mapping[str, timedelta]


@dataclass(frozen=True, kw_only=True, slots=True)
class Guarantee:
    """A study of `ahead` overtakes one of `behind` only if that became ready at most `minutes` earlier."""

    ahead: str
    behind: str
    minutes: int


def of_minutes(minutes: Mapping[str, int]) -> Targets:
    """Return the targets that these minutes are."""
    return Targets(
        order={order: timedelta(minutes=minutes[order]) for order in _ORDERS},
        ai={urgency: timedelta(minutes=minutes[f"ai-{urgency}"]) for urgency in _AI},
    )


STANDARD: Final = of_minutes(DEFAULTS)


def minutes_now(tx: Transaction) -> dict[str, int]:
    """Return the minutes of every class: the site's own, else the default."""
    return {**DEFAULTS, **{name: each.minutes for name, each in kept.all_kept(tx).items() if name in DEFAULTS}}


def current(tx: Transaction) -> Targets:
    """Return the targets by which studies are due."""
    return of_minutes(minutes_now(tx))


def guarantees(minutes: Mapping[str, int]) -> list[Guarantee]:
    """Return what holds between every two classes of different targets.

    A person's own STAT stands outside: it goes before everything, whenever it is set.
    """
    return list(_guarantees(minutes))


def _guarantees(minutes: Mapping[str, int]) -> Iterator[Guarantee]:
    for ahead in sorted(minutes, key=minutes.__getitem__):
        for behind in sorted(minutes, key=minutes.__getitem__):
            if minutes[behind] > minutes[ahead]:
                yield Guarantee(ahead=ahead, behind=behind, minutes=minutes[behind] - minutes[ahead])


def change(tx: Transaction, wanted: Mapping[str, int], *, by: str, now: datetime) -> bool:
    """Set targets, give every waiting study the due time that follows, and note who did it; tell whether any changed.

    All studies that wait move in this one act, which is one line of the audit and one change.

    Raises
    ------
    TargetsRefused
        A class is unknown, a target is no time to wait, or a less urgent class would come sooner.
    """
    before = minutes_now(tx)
    after = {**before, **wanted}
    _check(after)
    changed = {name: minutes for name, minutes in after.items() if minutes != before[name]}
    if not changed:
        return False
    kept.enter(tx, changed, by=by, now=now)
    targets = of_minutes(after)
    moved = kept.apply(tx, order=targets.order, ai=targets.ai)
    detail = {"from": {name: before[name] for name in changed}, "to": changed, "moved": moved}
    audit.append(tx, actor=by, action="targets-changed", subject="targets", at=now, detail=detail)
    changes.append(tx, "targets-changed", at=now, detail={**detail, "by": by})
    return True


def _check(minutes: Mapping[str, int]) -> None:
    unknown = sorted(set(minutes) - set(DEFAULTS))
    if unknown:
        raise TargetsRefused(f"no class {', '.join(unknown)}: expected {', '.join(DEFAULTS)}")
    wrong = [name for name, each in minutes.items() if not 1 <= each <= MOST_MINUTES]
    if wrong:
        raise TargetsRefused(f"a target is 1 to {MOST_MINUTES} minutes, which that of {', '.join(wrong)} is not")
    for sooner, later in _RISING:
        if minutes[sooner] > minutes[later]:
            raise TargetsRefused(f"{sooner} ({minutes[sooner]} min) is more urgent than {later} ({minutes[later]} min)")

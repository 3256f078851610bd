"""How far long work has followed the change feed: what comes anew first, then what was there before, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from storage.catalog import changes, upkeep

if TYPE_CHECKING:
    from storage.database import Transaction
    from storage.records import Change


@dataclass(frozen=True, slots=True)
class Position:
    """Every change up to `new` has been acted on, but for those up to `old`; as text it is the position of a run.

    Work of another form begins anew: everything that is there is old to it.
    """

    form: int
    new: int
    old: int

    @classmethod
    def of(cls, tx: Transaction, kind: str) -> Self | None:
        """Return how far work of a kind has come, None where there has been none."""
        run = upkeep.last(tx, kind)
        numbers = run.position.split() if run is not None else []
        return cls(*map(int, numbers)) if numbers else None

    @classmethod
    def begin(cls, tx: Transaction, form: int) -> Self:
        """Return where work of a form begins."""
        last = changes.last_seq(tx)
        return cls(form, last, last)

    def __str__(self) -> str:
        return f"{self.form} {self.new} {self.old}"

    def next(self, tx: Transaction, cause: str) -> tuple[Change | None, Self]:
        """Return the change of a kind to act on next, None where there is none, and how far it has been looked."""
        last = changes.last_seq(tx)
        later = changes.next_of(tx, cause, after=self.new)
        if later is not None:
            return later, self
        earlier = changes.previous_of(tx, cause, until=self.old) if self.old else None
        return earlier, type(self)(self.form, last, 0 if earlier is None else self.old)

    def is_old(self, change: Change) -> bool:
        """Tell whether a change was there before the work began."""
        return change.seq <= self.old

    def after(self, change: Change) -> Self:
        """Return the position once a change has been acted on."""
        new, old = (self.new, change.seq - 1) if self.is_old(change) else (change.seq, self.old)
        return type(self)(self.form, new, old)

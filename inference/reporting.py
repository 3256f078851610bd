"""Results told as DICOM objects, after the order has changed: made, kept like any instance, then noted as told.

Killed anywhere, the next turn makes the same bytes under the same UIDs, which the archive knows already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from imaging import Decoders
from inference.errors import ReportImpossible
from inference.reports.evidence import images_of, picture_of
from storage.catalog import hidden, inputs, reports, studies
from storage.catalog.deletions import Target
from storage.errors import Damaged, Unavailable
from storage.records import Outcome
from storage.turn import Stopped, turn_at

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from inference.reports.making import Made
    from models.contract import ModelCard
    from storage.catalog.reports import Unreported
    from storage.database import Database, Transaction
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord, ResultObject, Verdict
    from storage.turn import Turn

logger = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
_MOST_DEATHS: Final = 3
"""So many processes may die over one result before it is left untold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What there is to report with: where instances are, what keeps ours, and which forms this site wants.

    `keep` takes a whole file and returns once it is durable; it says what the archive did with it.
    """

    database: Database
    objects: ObjectStore
    keep: Callable[[bytes], Verdict]
    cards: Mapping[str, ModelCard]
    """By digest."""
    forms: Sequence[str]


class Reporter:
    """Takes turns at telling results: one process at a time, any number may try."""

    def __init__(
        self,
        scope: Scope,
        *,
        clock: Callable[[], datetime],
        rest: Callable[[float], object],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._scope = scope
        self._clock, self._rest, self._stopped = clock, rest, stopped
        self._left: set[str] = set()
        """Results that this process could not tell, for a reason that may pass."""

    def run(self, *, linger_s: float = 0.0) -> int:
        """Tell what waits until nothing has waited for `linger_s`; return how many results were told.

        Raises
        ------
        storage.turn.UnderWay
            Another process is at it.
        Stopped
            `stopped` said so; whoever comes next goes on.
        Unavailable
            Object store or catalogue does not answer.
        """
        told, idle_s = 0, 0.0
        with closing(Decoders()) as decoders, turn_at(self._scope.database, reports.KIND, clock=self._clock) as turn:
            deaths = _Deaths.of(turn)
            while idle_s <= linger_s:
                batch = self._waiting()
                for waits in batch:
                    if self._stopped():
                        raise Stopped
                    told += self._tell_or_leave(waits, turn, deaths, decoders)
                idle_s = 0.0 if batch else idle_s + _LOOK_S
                if not batch and idle_s <= linger_s:
                    self._rest(_LOOK_S)
                    if self._stopped():
                        raise Stopped
            turn.let_go()
        return told

    def _waiting(self) -> list[Unreported]:
        with self._scope.database.read() as tx:
            return reports.waiting(tx, but=self._left)  # type: ignore[arg-type]

    def _tell_or_leave(self, waits: Unreported, turn: Turn, deaths: _Deaths, decoders: Decoders) -> bool:
        """Tell one result; one that cannot be told just now waits for the next process."""
        count = deaths.begin(turn, waits.result.id)
        try:
            if count >= _MOST_DEATHS:
                self._note(waits, [], reason="process_died")
            else:
                self._tell(waits, decoders)
        except Unavailable:
            deaths.end(turn)
            raise
        except Exception:
            # One result that cannot be written must not hold up the others; it stays visible as untold.
            logger.exception("a result is not reported", extra={"action": "report-failed", **_context(waits)})
            self._left.add(waits.result.id)
            deaths.end(turn)
            return False
        deaths.end(turn)
        return True

    # -------------------------------------------------------------------------------------------------- one result
    def _tell(self, waits: Unreported, decoders: Decoders) -> None:
        with self._scope.database.read() as tx:
            looked_at = _looked_at(tx, waits, self._scope.cards.get(waits.result.model_digest))
            follows = reports.before(tx, waits)
        if not looked_at:
            self._note(waits, [], reason="images_gone")
            return
        try:
            made = self._make(waits, looked_at, follows, decoders)
            kept = [each.named for each in made if self._is_kept(each)]
        except (ReportImpossible, Damaged) as error:
            logger.warning("a result has no object", extra={"action": "report-impossible", **_context(waits)})
            self._note(waits, [], reason="object_damaged" if isinstance(error, Damaged) else "images_unreadable")
            return
        self._note(waits, kept, reason=None if kept or not made else "study_gone")

    def _make(
        self,
        waits: Unreported,
        looked_at: Sequence[InstanceRecord],
        follows: ResultObject | None,
        decoders: Decoders,
    ) -> list[Made]:
        from inference.reports.making import make  # noqa: PLC0415 - 100 MB that only who writes needs
        from inference.reports.told import Told  # noqa: PLC0415 - as above

        scope, result = self._scope, waits.result
        keys = _keys(waits)
        told = Told(
            result=result,
            card=scope.cards.get(result.model_digest),
            images=images_of(looked_at, scope.objects, whole=keys),
            pictures=_pictures(looked_at, keys, scope.objects, decoders) if "sc" in scope.forms else {},
            follows=follows,
            is_retracted=waits.is_retracted,
        )
        return make(told, scope.forms)

    def _is_kept(self, made: Made) -> bool:
        """Keep one object, unless one of its name is here, in sight or not; tell whether it is here now.

        A catalogue that was made anew has what an earlier one's results were told by: of the same model on the same
        images, and so the same but for the time.
        """
        with self._scope.database.read() as tx:
            if _is_known(tx, made.named):
                return True
        verdict = self._scope.keep(made.content)
        if verdict in _KEPT:
            return True
        logger.warning("a result's object was not kept", extra={"action": "report-not-kept", "reason": verdict})
        return False

    def _note(self, waits: Unreported, objects: Sequence[ResultObject], *, reason: str | None) -> None:
        with self._scope.database.write() as tx:
            first = reports.note_reported(tx, waits, objects, reason=reason, now=self._clock())
        if first:
            more = {"objects": len(objects), **({"reason": reason} if reason else {})}
            logger.info("result reported", extra={"action": "result-reported", **more, **_context(waits)})


_KEPT: Final = frozenset({"stored", "duplicate", "hidden", "other syntax"})


class _Deaths:
    """How many processes have died over which result: kept as the position of the turn."""

    def __init__(self, result: str, count: int) -> None:
        self._result, self._count = result, count

    @classmethod
    def of(cls, turn: Turn) -> _Deaths:
        result, _, count = turn.run.position.partition(" ")
        return cls(result, int(count or 0))

    def begin(self, turn: Turn, result: str) -> int:
        """Note that a result is begun; return how many processes died over it."""
        died = self._count if result == self._result else 0
        self._result, self._count = result, died + 1
        turn.beat(f"{result} {died + 1}", {})
        return died

    def end(self, turn: Turn) -> None:
        """Note that the result did no harm."""
        self._result, self._count = "", 0
        turn.beat("", {})


def _looked_at(tx: Transaction, waits: Unreported, card: ModelCard | None) -> list[InstanceRecord]:
    """Return what a run looked at, in its order, or was given where it looked at nothing; nothing where that has gone.

    What is told of a result refers to every one of these, so all of them must be in sight (A-6).
    """
    present = [each for each in studies.instances_of(tx, waits.study_instance_uid) if not each.made_here]
    named = inputs.of(tx, waits.result.id)
    if named:
        by_uid = {each.sop_instance_uid: each for each in present}
        return [by_uid[uid] for uid in named] if all(uid in by_uid for uid in named) else []
    given = [each for each in present if each.revision <= waits.result.revision]
    if card is None:
        return given
    rules = card.input_rules
    taken = [each for each in given if rules.accepts(modality=each.modality, sop_class_uid=each.sop_class_uid)]
    return taken or given


def _is_known(tx: Transaction, one: ResultObject) -> bool:
    if studies.instances_of(tx, one.study_instance_uid, instance=one.sop_instance_uid):
        return True
    target = Target(study=one.study_instance_uid, instance=one.sop_instance_uid)
    return any(row.object_key is not None for row in hidden.under(tx, target))


def _keys(waits: Unreported) -> set[str]:
    """Return the key images of what was flagged."""
    result = waits.result.result
    if result.outcome is not Outcome.FLAGGED or waits.is_retracted:
        return set()
    return {each.key_instance_uid for each in result.findings if each.positive and each.key_instance_uid}


def _pictures(
    looked_at: Sequence[InstanceRecord], keys: set[str], objects: ObjectStore, decoders: Decoders
) -> dict[str, npt.NDArray[np.uint8]]:
    wanted = [instance for instance in looked_at if instance.sop_instance_uid in keys]
    shown = {str(instance.sop_instance_uid): picture_of(instance, objects, decoders) for instance in wanted}
    return {uid: picture for uid, picture in shown.items() if picture is not None}


def _context(waits: Unreported) -> dict[str, Any]:
    return {"job": waits.result.job_id, "revision": waits.result.revision, "model": waits.result.model_id}

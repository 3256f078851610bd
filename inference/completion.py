"""When a study is complete: from evidence, not from a fixed minute.

The evidence is in columns: when the last instance came, at which pace, whether the association that brought it ended
in order, whether its stacks are evenly spaced, and how the sender's earlier studies ended.  A restart changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from inference import priority, progressive
from inference.evidence import Completion, Expectation, expect, lessons
from inference.progressive import Scout
from inference.silence import LONGEST_S
from inference.sizes import size_of
from storage.catalog import jobs, silences, studies

if TYPE_CHECKING:
    from inference.ports import Dispatcher
    from models.contract import ModelCard
    from storage.database import Database, Transaction
    from storage.records import JobId, StudyRecord

logger = logging.getLogger(__name__)

_Look = tuple[str, int, int, bool]
"""Study, revision, instance count and whether it is released: what an expectation depends on."""
_SEEN_MOST = 1000


class Completer:
    """The loop's step: completes studies, makes provisional runs of others, and rings for the jobs that this makes."""

    def __init__(
        self,
        *,
        database: Database,
        dispatcher: Dispatcher,
        cards: Sequence[ModelCard],
        clock: Callable[[], datetime],
    ) -> None:
        self._database, self._dispatcher, self._cards, self._clock = database, dispatcher, cards, clock
        self._seen: dict[_Look, Expectation] = {}
        self._scout = Scout(database=database, cards=cards)

    def step(self) -> None:
        """Complete what is complete now."""
        if len(self._seen) > _SEEN_MOST:
            self._seen.clear()
        now = self._clock()
        for job in close_quiet(self._database, self._cards, now=now, seen=self._seen) + self._scout.look(now):
            logger.info("job waits", extra={"action": "job-waits", "job": job})
            self._dispatcher.wake(job)


def close_quiet(
    database: Database, cards: Sequence[ModelCard], *, now: datetime, seen: dict[_Look, Expectation]
) -> list[JobId]:
    """Complete the studies for which nothing more is expected; return the jobs this made.

    `seen` spares a second look at a study whose instances are those of the last look; it may be emptied at any time.
    """
    with database.read() as tx:
        early = studies.from_the_future(tx, now=now)
        candidates = studies.receiving(tx, now=now)
        ripe = [(study, why) for study in candidates if (why := _why(tx, study, now, seen))]
    if early:
        logger.warning("clock set back", extra={"action": "clock-set-back", "studies": len(early)})
        with database.write() as tx:
            studies.pull_back(tx, early, now=now)
    created: list[JobId] = []
    for study, why in ripe:
        with database.write() as tx:
            created += complete(tx, study, cards, why=why, now=now)
    return created


def complete(
    tx: Transaction, study: StudyRecord, cards: Sequence[ModelCard], *, why: Completion, now: datetime
) -> list[JobId]:
    """Move one study to COMPLETE with a job for every card that accepts what this revision brought.

    A revision that brought nothing a card accepts (a late dose report) makes no job: the earlier result stays.
    """
    jobs.drop_provisional(tx, study.study_instance_uid)  # before the study is locked, as a worker's commit does
    done = studies.complete(tx, study, reason=why.reason, probability=why.probability, now=now)
    if done is None:
        return []
    uid = study.study_instance_uid
    if (now - study.received_last).total_seconds() <= LONGEST_S:
        silences.learn(tx, silences.sender_of(tx, uid), lessons(tx, study, why.situation))
    present = [each for each in studies.instances_of(tx, uid) if not each.made_here]
    arrived = [each for each in present if each.revision == study.revision]
    wanted = [
        jobs.ModelRef(id=card.id, version=card.version, digest=card.digest)
        for card in cards
        if any(card.input_rules.accepts(modality=each.modality, sop_class_uid=each.sop_class_uid) for each in arrived)
    ]
    progressive.hand_over(tx, done, wanted, now=now)
    priority.refresh(tx, uid, now=now, cause="complete")
    due_at = studies.get(tx, uid).due_at or now
    sizes = {card.digest: size_of(present, card.input_rules) for card in cards}
    created = jobs.create(tx, uid, study.revision, wanted, due_at=due_at, now=now, sizes=sizes)
    studies.settle(tx, uid, now=now)
    return created


def _why(tx: Transaction, study: StudyRecord, now: datetime, seen: dict[_Look, Expectation]) -> Completion | None:
    """Return why the study is complete, None while it is not."""
    key = (study.study_instance_uid, study.revision, study.instance_count, study.released_at is not None)
    if key not in seen:
        seen[key] = expect(tx, study)
    expected = seen[key]
    silent_s = (now - study.received_last).total_seconds()
    if study.quiet_until <= now:
        return expected.completion(silent_s, reason="silence")
    return expected.completion(silent_s) if silent_s >= expected.after_s else None

"""A lane: a model process and the sizes of jobs that it takes, one at a time.

A worker has one lane for small jobs and one for large ones, so that a radiograph is judged while a chest CT of 600
slices is.  The process of the second one starts once a large job waits, or is on its way, and rests when none came for
some time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from inference import sizes
from inference.errors import OutOfMemory, RunFailed, RunHung
from storage.catalog import jobs, studies
from storage.records import JobSize, TriageResult

if TYPE_CHECKING:
    from inference.child import ModelProcess
    from inference.pace import Pace
    from inference.triage import RunRequest
    from models.contract import ModelCard
    from storage.database import Database

logger = logging.getLogger(__name__)

_TIMES: Final = 15.0
"""A run may take so many times what its card expects of one free core: machines are busy, and stores slow."""
_LEAST_S: Final = 20.0
_READ_BYTES_A_SECOND: Final = 4 << 20
"""As slow as an object store may be before a run counts as hung."""
_LOOK_S: Final = 0.2


def limit_s(card: ModelCard, request: RunRequest, *, most_s: float) -> float:
    """Return after how many seconds a run counts as hung: from what its card expects and what it reads."""
    size_bytes = sum(each.size_bytes for each in request.instances)
    return min(most_s, max(_LEAST_S, _TIMES * card.expected_seconds) + size_bytes / _READ_BYTES_A_SECOND)


@dataclass(kw_only=True)
class Lane:
    """One model process, and when it is started, asked and put away.  Used by one thread."""

    model: ModelProcess | None
    sizes: frozenset[JobSize]
    database: Database
    clock: Callable[[], datetime]
    pace: Pace
    _load_again_at: float = 0.0
    _wanted_at: float = 0.0

    @property
    def images_at_once(self) -> int:
        """How many radiographs may share a forward pass here: one, unless the device gains by more."""
        return 1 if self.model is None else self.model.images_at_once

    def is_ready(self) -> bool:
        """Have the models loaded once something may need them; False while they load, or cannot."""
        wanted = self._wanted()
        if wanted is None:
            self._rest()
            return False
        self._wanted_at = time.monotonic()
        if self.model is None:
            self._say_why_waiting("no torch on this worker")
            return False
        if time.monotonic() < self._load_again_at:
            return False
        self.model.warm(wanted)
        try:
            return self.model.is_ready(wait_s=self.pace.jobs_s)
        except RunFailed as error:
            self._load_again_at = time.monotonic() + self.pace.load_again_s
            logger.warning("models not loaded", extra={"action": "models-failed", "reason": error.reason})
            self._say_why_waiting(error.reason)
            return False

    def run(self, card: ModelCard, request: RunRequest, *, on_beat: Callable[[], bool]) -> TriageResult:
        """Return the result of a run; where memory is short, it is tried once more with half as many items at once.

        Raises
        ------
        RunFailed
            As `ModelProcess.run`; `OutOfMemory` where half is too much as well.
        ObjectsAway
            The objects could not be read for now.
        """
        if self.model is None:
            raise RunFailed("no model process")
        limit = limit_s(card, request, most_s=self.pace.run_limit_s)
        self._wait_until_ready(card, on_beat)
        try:
            return self.model.run(request, limit_s=limit, on_beat=on_beat)
        except OutOfMemory:
            half = replace(request, items_at_once=max(1, request.items_at_once // 2))
            extra = {"action": "memory-short", "job": request.job, "model": card.id, "items": half.items_at_once}
            logger.warning("memory short, trying with half the batch", extra=extra)
        self._wait_until_ready(card, on_beat)
        return self.model.run(half, limit_s=limit, on_beat=on_beat)

    def run_together(
        self, card: ModelCard, requests: Sequence[RunRequest], *, on_beat: Callable[[], bool]
    ) -> list[TriageResult | None]:
        """Return the results of runs that share a forward pass; None for each that must be tried alone."""
        if self.model is None:
            return [None] * len(requests)
        limit = min(self.pace.run_limit_s, sum(limit_s(card, each, most_s=self.pace.run_limit_s) for each in requests))
        try:
            answers = self.model.run_together(requests, limit_s=limit, on_beat=on_beat)
        except RunFailed as error:
            extra = {"action": "batch-failed", "model": card.id, "reason": error.reason, "images": len(requests)}
            logger.warning("a batch failed, trying each image alone", extra=extra)
            return [None] * len(requests)
        return [answer if isinstance(answer, TriageResult) else None for answer in answers]

    def stop(self) -> None:
        """End the process, if it lives."""
        if self.model is not None:
            self.model.stop()

    def _wanted(self) -> list[str] | None:
        """Return the models that jobs wait for, first wanted first; None where nothing here or on its way needs any."""
        least = 0 if JobSize.SMALL in self.sizes else sizes.MOST_IMAGES
        with self.database.read() as tx:
            waited_for = jobs.models_wanted(tx, now=self.clock(), sizes=self.sizes)
            return waited_for if waited_for or studies.most_instances_receiving(tx) > least else None

    def _rest(self) -> None:
        """Give the memory of a process back that only large jobs need, once none came for some time."""
        rested = time.monotonic() - self._wanted_at > self.pace.rest_s
        if self.model is not None and JobSize.SMALL not in self.sizes and rested:
            self.model.stop()

    def _wait_until_ready(self, card: ModelCard, on_beat: Callable[[], bool]) -> None:
        """Start the process again where the run before took it down; the lease is held meanwhile."""
        assert self.model is not None  # noqa: S101 - run asked
        self.model.warm([card.id])
        while not self.model.is_ready(wait_s=_LOOK_S):
            if not on_beat():
                raise RunHung("the lease is lost")
            self.model.warm([card.id])

    def _say_why_waiting(self, reason: str) -> None:
        with self.database.write() as tx:
            jobs.note_waiting(tx, reason=reason, sizes=self.sizes)

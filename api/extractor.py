"""Makes extracts of studies once they are complete: new ones first, then what was there before, from the newest back.

One process of a site is at it at a time; killed, the next goes on where it was.  Nothing is lost by its absence: what
is not made is read from the objects by whoever asks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final

from api.dicomweb.atlas import FORM
from api.dicomweb.extraction import drafts
from storage.archive import utc_now
from storage.catalog import extracts, studies
from storage.catalog.extracts import CAUSE, KIND
from storage.catalog.following import Position
from storage.errors import ObjectOnItsWay, Unavailable
from storage.records import StudyUid
from storage.turn import Stopped, TurnLost, turn_at

if TYPE_CHECKING:
    from datetime import datetime

    from storage.archive import Archive
    from storage.records import Change, InstanceRecord, SeriesUid
    from storage.turn import Turn

logger = logging.getLogger(__name__)

_PAUSE_S: Final = 0.5
_LOST_AFTER: Final = timedelta(hours=1)
"""So long an object may be on its way from another host before its study is passed over."""


class Extractor:
    """Follows the change feed for as long as it is told to."""

    def __init__(
        self,
        archive: Archive,
        dicomweb_url: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        rest: Callable[[float], object] = time.sleep,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Call `rest` after a study of before, with the seconds that it took: others need the disk too."""
        self._archive = archive
        self._dicomweb_url = dicomweb_url
        self._clock = clock
        self._rest = rest
        self._stopped = stopped

    def run(self, *, linger_s: float = 0.0) -> int:
        """Make what there is to make, and what comes until there was nothing for so long; return how many studies.

        Raises
        ------
        UnderWay
            Another process is at it.
        Stopped
            It was to stop in the midst of a study; the next run goes on.
        Unavailable
            Object store or catalogue does not answer; the next run goes on.
        """
        count = 0
        with turn_at(self._archive.database, KIND, clock=self._clock) as turn:
            work = _Work(self._archive, self._dicomweb_url, turn, self._stopped)
            idle_since = time.monotonic()
            while not self._stopped():
                change = work.next()
                if change is not None:
                    count += self._act_on(work, change)
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since >= linger_s:
                    break
                else:
                    work.beat_in_time()
                    self._rest(_PAUSE_S)
            work.leave()
        return count

    def _act_on(self, work: _Work, change: Change) -> bool:
        began = time.monotonic()
        is_made = self._make(work, change)
        if work.is_old(change):
            self._rest(time.monotonic() - began)
        work.done(change)
        return is_made

    def _make(self, work: _Work, change: Change) -> bool:
        """Make the extracts of one study; False where nothing is to be made of it, or cannot be."""
        study = StudyUid(change.study_instance_uid or "")
        try:
            return work.make(study)
        except ObjectOnItsWay:
            if self._clock() - change.at < _LOST_AFTER:
                raise
            logger.warning("extracts not made", extra={"action": "extracts-failed", "study": study})
        except (Unavailable, TurnLost, Stopped):
            raise
        except Exception:
            logger.exception("extracts not made", extra={"action": "extracts-failed", "study": study})
        return False


class _Work:
    """One turn at it."""

    def __init__(self, archive: Archive, dicomweb_url: str, turn: Turn, stopped: Callable[[], bool]) -> None:
        self._archive = archive
        self._dicomweb_url = dicomweb_url
        self._turn = turn
        self._stopped = stopped
        with archive.database.read() as tx:
            position = Position.of(tx, KIND)
            is_ours = position is not None and position.form == FORM
            self._position = position if position is not None and is_ours else Position.begin(tx, FORM)

    def next(self) -> Change | None:
        """Return the change to act on next."""
        with self._archive.database.read() as tx:
            change, self._position = self._position.next(tx, CAUSE)
        return change

    def is_old(self, change: Change) -> bool:
        """Tell whether a change was there before anything was made."""
        return self._position.is_old(change)

    def done(self, change: Change) -> None:
        """Note that a change has been acted on."""
        self._position = self._position.after(change)
        self.beat_in_time()

    def leave(self) -> None:
        """Give the turn up, with how far it came."""
        self._turn.beat(str(self._position), {})
        self._turn.let_go()

    def make(self, study: StudyUid) -> bool:
        """Make the extracts of those series of a study that have none, or others than they should."""
        with self._archive.database.read() as tx:
            kept = studies.instances_of(tx, study)
            made = extracts.known(tx, study, form=FORM)
        covered = {key for extract in made for key in extract.members}
        wanting = False
        for series, group in groupby(kept, key=lambda one: one.series_instance_uid):
            instances = list(group)
            if not covered.issuperset(one.object_key for one in instances):
                self._make_series(study, series, instances)
                wanting = True
        return wanting

    def _make_series(self, study: StudyUid, series: SeriesUid, instances: list[InstanceRecord]) -> None:
        """Make a series' extracts anew; each is kept in a transaction of its own, so that no sender waits long."""
        database = self._archive.database
        with database.write() as tx:
            extracts.begin(tx, study, series)
        for draft in drafts(self._archive, instances, self._dicomweb_url):
            if self._stopped():
                raise Stopped
            with database.write() as tx:
                is_kept = extracts.enter(tx, draft.instances, draft.extract, draft.content, draft.places)
            if not is_kept:
                return  # it changed meanwhile, and will be told complete again
            self.beat_in_time()

    def beat_in_time(self) -> None:
        """Keep the turn, with how far it came."""
        if self._turn.is_due:
            self._turn.beat(str(self._position), {})

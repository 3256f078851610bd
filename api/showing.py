"""Notes when a result was first on a list that somebody asked for: after the answer has left, and once for each."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from starlette.background import BackgroundTask

from storage.catalog import showings
from storage.errors import StorageError
from storage.records import ResultId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import Request, Response

    from api.context import ApiContext

logger = logging.getLogger(__name__)

_REMEMBERED: Final = 50_000


class Showing:
    """Remembers what this process has noted already, so that a list that is asked for again writes nothing."""

    def __init__(self) -> None:
        self._noted: set[ResultId] = set()
        self._lock = threading.Lock()

    def after(self, answer: Response, request: Request, context: ApiContext, rows: Iterable[Mapping[str, Any]]) -> None:
        """Have the results of worklist rows noted once `answer` has left; a HEAD shows nobody anything."""
        on_it = {ResultId(finding["result_id"]) for row in rows for finding in row["findings"]}
        with self._lock:
            new = on_it - self._noted
        if new and request.method == "GET":
            answer.background = BackgroundTask(self._note, context, new)

    def _note(self, context: ApiContext, new: set[ResultId]) -> None:
        try:
            with context.archive.database.write() as tx:
                showings.note(tx, new, now=context.clock())
        except StorageError as error:  # the reader has the list; the next one notes it
            logger.warning("showing not noted", extra={"action": "showing-not-noted", "error": type(error).__name__})
            return
        with self._lock:
            if len(self._noted) > _REMEMBERED:
                self._noted.clear()
            self._noted |= new

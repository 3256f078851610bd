"""Event channels of UPS-RS: websockets through which subscribers hear of workitems (PS3.18 8.10, 11.13).

Events are rows; a channel reads those of its AE title from where the last one was left, and after them whatever is
written, by this process or another.  Nothing that is to be told is only in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import orjson
from anyio import CapacityLimiter, fail_after, move_on_after, to_thread
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from api import problems
from api.context import ApiContext
from api.crossorigin import ROOT
from api.dicomweb.titles import title_of
from api.dicomweb.workitem_models import as_frame
from api.errors import ChannelsBusy, ParameterRejected
from storage.catalog import event_reports
from storage.catalog.event_reports import Event, EventReport, EventType
from storage.errors import Unavailable
from storage.workitems import worklist
from storage.workitems.datasets import made_of
from storage.workitems.records import WORKLIST_UID

if TYPE_CHECKING:
    from starlette.responses import Response

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)
router = APIRouter(prefix=ROOT, tags=["dicomweb"])

MAX_OPEN: Final = 64
"""Channels of one process."""

POLL_S: Final = 0.5
"""So often a channel looks for what other processes wrote."""

SEND_S: Final = 20
"""So long a reader may take for what was sent before, until it is cut."""

THREADS: Final = 8
"""In which channels read the catalogue, so that a slow one keeps no request waiting."""

PAGE: Final = 100
_TRY_AGAIN_LATER: Final = 1013
_MESSAGE_IDS: Final = 0x10000


class Channels:
    """The channels that one process has open."""

    def __init__(self, context: ApiContext) -> None:
        self.context = context
        self.started_at = context.clock()
        self.open = 0
        self.threads = CapacityLimiter(THREADS)
        self._bell = anyio.Event()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places; `ChannelsBusy` where none is left."""
        if self.open >= MAX_OPEN:
            raise ChannelsBusy
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    def ring(self) -> None:
        """Let every channel look for events at once; called in the event loop."""
        self._bell.set()
        self._bell = anyio.Event()

    async def rung(self) -> None:
        """Return once somebody rings, or it is time to look."""
        with move_on_after(POLL_S):
            await self._bell.wait()


@router.websocket("/subscribers/{aet}")
async def open_channel(websocket: WebSocket, aet: str) -> None:
    """Send an AE title's events, those that waited first, until either side closes."""
    channels: Channels = websocket.app.state.channels
    try:
        title = title_of(aet)
        with channels.place():
            channel = _Channel(channels, websocket, title)
            await channel.begin()
            await websocket.accept()
            await channel.run()
    except (ParameterRejected, ChannelsBusy, Unavailable) as error:
        await websocket.send_denial_response(_refusal(websocket, error))


def _refusal(websocket: WebSocket, error: Exception) -> Response:
    problem = problems.problem_of(error)
    if problem is None:
        raise error
    return problems.of_error(error, problem, str(websocket.scope.get("roi_request_id", "")))


class _Channel:
    """One open channel."""

    def __init__(self, channels: Channels, websocket: WebSocket, aet: str) -> None:
        self._channels = channels
        self._context = channels.context
        self._websocket = websocket
        self._aet = aet
        self._cursor = 0
        self._restarted = False

    async def begin(self) -> None:
        """Go on where the last channel ended; the peer hears whatever is written from here on.

        Raises
        ------
        Unavailable
            The catalogue is away.
        """
        await self._in_thread(self._open)

    async def run(self) -> None:
        """Send until the peer leaves, reads too slowly, or the server stops."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, tasks.cancel_scope)
            await self._send_all()
            tasks.cancel_scope.cancel()

    async def _listen(self, channel: anyio.CancelScope) -> None:
        """End the channel once the peer has gone; what it says is not looked at."""
        while (await self._websocket.receive())["type"] != "websocket.disconnect":
            pass
        channel.cancel()

    async def _send_all(self) -> None:
        try:
            if self._restarted:
                await self._send(_RESTARTED, 0)
            while True:
                reports = await self._next()
                for report in reports:
                    await self._send(report.event, report.seq)
                    self._cursor = report.seq
                if reports:
                    await self._in_thread(self._note)
        except TimeoutError:
            logger.warning("a slow reader of events was cut", extra={"action": "channel-cut", "aet": self._aet})
            with move_on_after(1):
                await self._websocket.close(_TRY_AGAIN_LATER)
        except WebSocketDisconnect:
            return
        except Unavailable as error:
            told = {"action": "channel-away", "aet": self._aet, "error": type(error).__name__}
            logger.warning("a channel was closed, since the catalogue is away", extra=told)
            await self._websocket.close(_TRY_AGAIN_LATER)

    async def _next(self) -> list[EventReport]:
        """Return what is to be sent now; none where somebody rang for others only, or nothing happened for a while."""
        await self._in_thread(self._follow_jobs)
        reports = await self._in_thread(self._read)
        if not reports:
            await self._channels.rung()
        return reports

    async def _send(self, event: Event, seq: int) -> None:
        frame = orjson.dumps(as_frame(event, seq % _MESSAGE_IDS)).decode()
        with fail_after(SEND_S):
            await self._websocket.send_text(frame)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await to_thread.run_sync(work, limiter=self._channels.threads)

    def _open(self) -> None:
        with self._context.archive.database.write() as tx:
            self._cursor, opened_at = event_reports.open_channel(tx, self._aet, now=self._context.clock())
        self._restarted = opened_at is not None and opened_at < self._channels.started_at

    def _follow_jobs(self) -> None:
        database = self._context.archive.database
        with database.read() as tx:
            if not worklist.jobs_to_follow(tx, self._aet):
                return
        with database.write() as tx:
            worklist.follow_jobs(tx, self._aet, now=self._context.clock())

    def _read(self) -> list[EventReport]:
        with self._context.archive.database.read() as tx:
            return event_reports.after(tx, self._aet, self._cursor, limit=PAGE)

    def _note(self) -> None:
        with self._context.archive.database.write() as tx:
            event_reports.note_delivered(tx, self._aet, self._cursor)


_RESTARTED: Final = Event(
    workitem_uid=WORKLIST_UID,
    type=EventType.SERVER_STATUS,
    attributes=made_of(
        [
            ("SCPStatus", "RESTARTED"),
            ("SubscriptionListStatus", "WARM START"),
            ("UnifiedProcedureStepListStatus", "WARM START"),
        ]
    ),
)
"""To those who listened before: workitems and subscriptions are as they were (PS3.4 CC.2.4.3)."""

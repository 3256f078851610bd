"""Quick work one after the other, which is sooner than all at once.

Threads that all want the interpreter keep each other from it: eight searches at a time take a third longer than
eight in turn, and the last of them twice as long.  A search over which the database takes long wants the database,
though, not the interpreter: after a while it holds nobody up any longer.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")

LONG_S: Final = 0.025
"""After so long the next one begins, whether the one before has ended or not."""


MOST: Final = 40
"""Calls under way, the long ones too; more wait until one has ended."""


class Lane:
    """Runs blocking calls in threads, `at_once` of them at a time, in the order in which they came."""

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._threads = ThreadPoolExecutor(MOST, thread_name_prefix="lane")

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Return what `work` returns, once its turn has come."""
        await self._free.acquire()
        turn = _Turn(self._free)
        loop = asyncio.get_running_loop()
        long = loop.call_later(LONG_S, turn.end)
        answered: asyncio.Future[Answer] = loop.create_future()
        try:
            self._threads.submit(_do, work, answered)
            return await answered
        finally:
            long.cancel()
            turn.end()


def _do(work: Callable[[], Answer], answered: asyncio.Future[Answer]) -> None:
    """Work, and tell the loop: the ways of anyio and of the executor there and back take as long as a quick search."""
    tell = answered.get_loop().call_soon_threadsafe
    try:
        answer = work()
    except StopIteration:  # which no future carries: nobody would be answered
        tell(_end, answered, answered.set_exception, RuntimeError("an iterator ended too early"))
    except BaseException as error:  # noqa: BLE001 - raised where the answer is awaited
        tell(_end, answered, answered.set_exception, error)
    else:
        tell(_end, answered, answered.set_result, answer)


def _end(answered: asyncio.Future[Any], end: Callable[[Any], None], how: object) -> None:
    if not answered.cancelled():
        end(how)


class _Turn:
    """A place in the lane, given back once."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self._has_ended = False

    def end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._free.release()

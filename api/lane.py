"""Quick work one after the other, which is sooner than all at once.

Threads that all want the interpreter keep each other from it: eight searches at a time take a third longer than
eight in turn, and the last of them twice as long.  A search over which the database takes long wants the database,
though, not the interpreter: after a while it holds nobody up any longer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")

LONG_S: Final = 0.025
"""After so long the next one begins, whether the one before has ended or not."""


class Lane:
    """Runs blocking calls in threads, `at_once` of them at a time, in the order in which they came."""

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Return what `work` returns, once its turn has come."""
        await self._free.acquire()
        turn = _Turn(self._free)
        long = asyncio.get_running_loop().call_later(LONG_S, turn.end)
        try:
            return await to_thread.run_sync(work)
        finally:
            long.cancel()
            turn.end()


class _Turn:
    """A place in the lane, given back once."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self._has_ended = False

    def end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._free.release()

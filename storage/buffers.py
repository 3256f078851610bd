"""Memory for pieces on their way out, used again: it stays in the cache of the processor, and nothing clears it."""

from __future__ import annotations

import threading
from typing import Final

_KEPT: Final = 8
"""For four clients: one piece is read while the last is on its way."""

_STEP: Final = 64 * 1024
"""Sizes are rounded up to it: pieces of one series differ by a few bytes, and each is to fit where another was."""


class Buffers:
    """Lends memory out; what is lent comes back by itself, once nobody holds any view of it.

    Some pieces' worth is kept for the next ones, however many are lent.  Safe to share between threads.
    """

    def __init__(self) -> None:
        self._kept: list[bytearray] = []
        self._lock = threading.Lock()

    def take(self, length: int) -> memoryview:
        """Return so many bytes, whatever they hold."""
        with self._lock:
            for buffer in self._kept:
                if len(buffer) >= length and _is_free(buffer):
                    return memoryview(buffer)[:length]
            made = bytearray(-(-length // _STEP) * _STEP)
            self._kept = [made, *self._kept[: _KEPT - 1]]
            return memoryview(made)[:length]


def _is_free(buffer: bytearray) -> bool:
    try:
        buffer.append(buffer.pop())  # refused as long as there is a view: its bytes may not move
    except BufferError:
        return False
    return True

"""Memory for the voxels of a stack, kept from one run to the next.

What a process takes fresh from the system is filled with zeros, page by page, and on a virtual machine taken from its
host first: for the 300 MiB of a long stack that can cost more than all that is done with them.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

MOST_KEPT_BYTES: Final = 320 << 20
"""300 slices of 512 x 512; what is larger goes back to the system."""


class VoxelMemory:
    """Lends arrays, and keeps the memory of the one that was given up last for the next that it is large enough for."""

    def __init__(self, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: deque[Floats] = deque(maxlen=1)

    def lend(self, shape: tuple[int, ...]) -> Floats:
        """Give an array of any content, that nobody else has; its memory comes back once nothing looks into it."""
        count = math.prod(shape)
        owner = self._take()
        if owner is None or owner.size < count:
            owner = np.empty(count, dtype=np.float32)
        whole = (ctypes.c_char * owner.nbytes).from_buffer(owner.data)  # every view, also torch's, keeps this one alive
        if owner.nbytes <= self._most_bytes:
            weakref.finalize(whole, self._kept.append, owner).atexit = False
        return np.frombuffer(memoryview(whole), dtype=np.float32, count=count).reshape(shape)

    def forget(self) -> None:
        """Give what is kept back to the system."""
        self._kept.clear()

    def _take(self) -> Floats | None:
        try:
            return self._kept.pop()
        except IndexError:
            return None


MEMORY: Final = VoxelMemory()
"""This process's own."""

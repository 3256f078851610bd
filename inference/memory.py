"""The memory of a model's process: what it may take, what it took, and that it is the first to go."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

LEAST_BYTES: Final = 2 << 30
_SHARE: Final = 3
"""A model's process may take a third: there are two at most, and the archive needs the rest."""
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_FIRST_TO_GO: Final = 600


def allowance() -> int:
    """Return how many bytes a model's process may take where nobody says: a third of the machine's, at least 2 GiB."""
    return max(LEAST_BYTES, machine_bytes() // _SHARE)


def machine_bytes() -> int:
    """Return the memory of this machine, or of the container that this process is in."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        return min(whole, int(_CGROUP.read_text()))
    return whole


def limit_data(limit_bytes: int) -> None:
    """Have allocations of this process fail beyond `limit_bytes`, as an error rather than as a kill.

    What counts is private writable memory (RLIMIT_DATA), not address space, of which torch reserves more than there is.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit_bytes = min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard))


def go_first() -> None:
    """Ask the kernel to end this process before the archive's others where the machine's memory is short."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_GO))


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had resident; 0 where it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024
    return 0

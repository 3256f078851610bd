"""What a server costs: processor time and memory of its whole process tree."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psutil

_EVERY_S = 0.2


_REST = 0.05
"""Processor seconds in a second that count as nothing to do."""


class Sampler:
    """Measures processes and their descendants over a `with` block, from `start` on.

    After it, `cpu_s` is their user and system time, with that of children reaped meanwhile; `peak_bytes` the largest
    proportional set size seen, in which memory that processes share is counted once; `peak_rss_bytes` the largest
    resident set that any one of them ever had, which the kernel itself keeps (VmHWM, proc(5)); `others` the share of
    the machine that neither they nor our own clients used: how busy it was besides.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._roots = [psutil.Process(pid) for pid in pids]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.cpu_s = 0.0
        self.peak_bytes = 0
        self.peak_rss_bytes = 0
        self.others = 0.0

    def start(self) -> None:
        """Count from now on."""
        self._machine_s = _machine_s()
        self._clients_s = _clients_s()
        self.cpu_s = -self._cpu_s()
        self._thread.start()

    def stop(self) -> None:
        """Count no further; to be called once the clients are done and reaped."""
        self._stop.set()
        if not self._thread.is_alive():
            return
        self._thread.join()
        self._look()
        self.cpu_s += self._cpu_s()
        busy, passed = (after - before for before, after in zip(self._machine_s, _machine_s(), strict=True))
        ours = self.cpu_s + _clients_s() - self._clients_s
        self.others = max(0.0, busy - ours) / passed if passed else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        tree = _with_children(self._roots)
        self.peak_bytes = max(self.peak_bytes, sum(_pss(process) for process in tree))
        self.peak_rss_bytes = max(self.peak_rss_bytes, *(_highest_rss(process) for process in tree))

    def _cpu_s(self) -> float:
        return _of_all(self._roots)


def await_rest(pids: Sequence[int], *, rest_s: float, limit_s: float = 600) -> None:
    """Return once processes have had nothing to do for so long; `TimeoutError` where they never rest."""
    roots = [psutil.Process(pid) for pid in pids]
    ends = time.monotonic() + limit_s
    since, used = time.monotonic(), _of_all(roots)
    while time.monotonic() - since < rest_s:
        time.sleep(1)
        before, used = used, _of_all(roots)
        if used - before > _REST:
            since = time.monotonic()
        if time.monotonic() > ends:
            raise TimeoutError(f"the servers did not rest for {rest_s:g} s within {limit_s:g} s")


def _of_all(roots: Sequence[psutil.Process]) -> float:
    return sum(_cpu_s(process) for process in _with_children(roots))


def _with_children(roots: Sequence[psutil.Process]) -> list[psutil.Process]:
    return [process for root in roots for process in (root, *root.children(recursive=True))]


def _machine_s() -> tuple[float, float]:
    """Return the processor seconds that the machine has worked, and those that have passed on all cores."""
    times = psutil.cpu_times()
    idle = times.idle + times.iowait
    passed = idle + times.user + times.system + times.nice + times.irq + times.softirq + times.steal
    return passed - idle, passed


def _clients_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # ended between the listing and the look: its parent has its time by now
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:  # as above
        return 0


def _highest_rss(process: psutil.Process) -> int:
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # as above
        return 0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")  # a zombie has none
    return int(line.split()[1]) * 1024

"""What a server costs: processor time and memory of its whole process tree."""

from __future__ import annotations

import threading
from typing import Self

import psutil

_EVERY_S = 0.2


class Sampler:
    """Measures a process and its descendants over a `with` block.

    After it, `cpu_s` is their user and system time, with that of children reaped meanwhile; `peak_bytes` the largest
    proportional set size seen, in which memory that processes share is counted once.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.cpu_s = 0.0
        self.peak_bytes = 0

    def start(self) -> None:
        """Count from now on."""
        self.cpu_s = -self._cpu_s()
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._look()
        self.cpu_s += self._cpu_s()

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        self.peak_bytes = max(self.peak_bytes, sum(_pss(process) for process in self._tree()))

    def _cpu_s(self) -> float:
        return sum(_cpu_s(process) for process in self._tree())

    def _tree(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0

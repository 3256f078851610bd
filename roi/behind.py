"""A process behind all others: started by the worker when there is need, it gives way and ends with the worker."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

from roi.logs import configure

if TYPE_CHECKING:
    from inference.loop import Loop
    from roi.settings import Settings

_LOOK_S: Final = 2.0
_NICE: Final = 15
_PR_SET_PDEATHSIG: Final = 1


def run_behind(settings: Settings, command: str, loop: Loop) -> bool:
    """Run a command of ours behind this process until it ends, or `loop` is to; tell whether it ended well."""
    words = [sys.executable, "-m", "roi.cli", command, "--behind", str(os.getpid())]
    process = subprocess.Popen(words, env=settings.as_environment(), stdout=subprocess.DEVNULL)
    while process.poll() is None and not loop.stopped:
        loop.wait(_LOOK_S)
    if process.poll() is None:
        process.terminate()
    return process.wait() == 0


def stop_on_signal() -> threading.Event:
    """Return what is set once this process is to end."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def step_behind(settings: Settings, role: str, behind: int) -> bool:
    """Let this process give way to all others, and end with the process `behind`; False where that has died already."""
    configure(role, settings.log)
    os.nice(_NICE)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == behind

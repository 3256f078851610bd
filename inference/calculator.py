"""The calculator: works out expectations in a process of its own, one at a time, killed when one takes too long.

Weeks that are drawn and read sixteen times cost a second of processor time or more: nothing for the process that
serves readers.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.errors import CalculatorBusy, CalculatorLost, InferenceError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from inference.site import Expectation, Site

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one answer may take: memory beyond the libraries, processor time and wall time."""

    memory_bytes: int = 1024**3
    cpu_s: int = 20
    wall_s: float = 60.0


class Calculator:
    """Answers one question at a time; a second one is told to come again.  For any number of threads."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._free = threading.Lock()
        self._process: SpawnProcess | None = None

    def expect(self, site: Site, *, sensitivity: float, specificity: float, seed: int = 0) -> Expectation:
        """Return what flags of this sensitivity and specificity do at a site.

        Raises
        ------
        NothingToExpect
            As `inference.expectation.expect` says.
        CalculatorBusy
            Another question is being worked out.
        CalculatorLost
            The process died, or was killed at a limit.
        """
        if not self._free.acquire(blocking=False):
            raise CalculatorBusy
        try:
            answer = self._ask(site, sensitivity, specificity, seed)
        finally:
            self._free.release()
        if isinstance(answer, InferenceError):
            raise answer
        if answer is None:
            raise CalculatorLost
        return answer

    def close(self) -> None:
        """Kill the process, if one is at work; its question is lost."""
        process = self._process
        if process is not None:
            with suppress(ValueError):  # it has ended, this very moment
                process.kill()

    def _ask(
        self, site: Site, sensitivity: float, specificity: float, seed: int
    ) -> Expectation | InferenceError | None:
        """Return the answer of a new process, None where it gave none."""
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe(duplex=False)
        question = (site, sensitivity, specificity, seed)
        process = context.Process(
            target=_answer, args=(theirs, self._limits, question), name="roi-calculator", daemon=True
        )
        process.start()
        self._process = process
        theirs.close()
        try:
            answer = pipe.recv() if pipe.poll(self._limits.wall_s) else None
        except (EOFError, OSError):  # the process ended: told as CalculatorLost by `expect`
            answer = None
        finally:
            self._process = None
            process.kill()
            process.join()
            code = process.exitcode
            process.close()
            pipe.close()
        if answer is None:
            logger.warning("calculator lost", extra={"action": "calculator-lost", "reason": f"exit {code}"})
        return answer


# ------------------------------------------------------------------------------------------------ its own side
def _answer(pipe: Connection, limits: Limits, question: tuple[Site, float, float, int]) -> None:
    from inference.expectation import expect  # noqa: PLC0415 - what reckons is loaded in this process alone

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks; it kills us
    os.nice(10)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    memory = pages * os.sysconf("SC_PAGE_SIZE") + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + limits.cpu_s, -1))
    site, sensitivity, specificity, seed = question
    try:
        pipe.send(expect(site, sensitivity=sensitivity, specificity=specificity, seed=seed))
    except InferenceError as error:
        pipe.send(error)

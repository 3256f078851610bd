"""The asking side of the decoders: a few processes, each with one frame at a time, killed when they take too long."""

from __future__ import annotations

import logging
import multiprocessing
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imaging import child
from imaging.errors import DecodeRefused, DecoderLost, DecodersBusy, DecoderUnready

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from imaging.jobs import Job

logger = logging.getLogger(__name__)

_START_S: Final = 120.0
"""Loading numpy and the codecs takes half a second, on a machine with nothing else to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What decoding may take: memory beyond the libraries, processor time and wall time per frame, and the queue."""

    processes: int = 2
    waiting: int = 16
    wait_s: float = 20.0
    memory_bytes: int = 2 * 1024**3
    cpu_s: int = 20
    wall_s: float = 60.0


class Decoders:
    """Decodes, encodes and renders frames elsewhere; processes start at the first need.  For any number of threads."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._places = threading.Semaphore(self.limits.processes + self.limits.waiting)
        self._all = [_Decoder(self.limits) for _ in range(self.limits.processes)]
        # The one used last comes first: a second process starts only when two frames are asked for at once.
        self._idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()
        for decoder in self._all:
            self._idle.put(decoder)

    def run(self, job: Job, *, patient: bool = False) -> bytes:
        """Return the samples, the frame or the picture that `job` asks for.

        One who is `patient`, whose own answer has begun, waits for a place in the queue as for a decoder.

        Raises
        ------
        DecodeRefused
            The frame cannot be decoded, or would take more than the limits.
        DecoderLost
            The process crashed, or was killed at a limit; the next frame finds another one.
        DecodersBusy
            Enough requests wait already, or none got a decoder in time.
        DecoderUnready
            No process can be started.
        """
        job.form.check()
        if not self._places.acquire(timeout=self.limits.wait_s if patient else 0):
            raise DecodersBusy
        try:
            decoder = self._take()
            try:
                return decoder.run(job)
            finally:
                self._idle.put(decoder)
        finally:
            self._places.release()

    def close(self) -> None:
        """Kill the processes; frames under way are lost."""
        for decoder in self._all:
            decoder.kill()

    def _take(self) -> _Decoder:
        try:
            return self._idle.get(timeout=self.limits.wait_s)
        except queue.Empty:
            raise DecodersBusy from None


class _Decoder:
    """One process, started when needed.  Used by one thread at a time, but for `kill`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def run(self, job: Job) -> bytes:
        if self._process is None or not self._process.is_alive():
            self._start()
        # Their side may stop in the middle of an answer: only the end of the process ends every wait.
        with _Deadline(self, self._limits.wall_s) as deadline:
            answer = self._ask(job)
        if deadline.passed or answer is None:
            self._bury(deadline_passed=deadline.passed)
            raise DecoderLost
        if answer[0]:
            raise DecodeRefused(answer[1:].decode())
        return answer[1:]

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _ask(self, job: Job) -> bytes | None:
        assert self._pipe is not None  # noqa: S101 - started by run
        try:
            self._pipe.send(job)
            return self._pipe.recv_bytes()
        except (EOFError, OSError):  # the process ended: told as DecoderLost by run
            return None

    def _start(self) -> None:
        self._end()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # A plain bytes answer, never a pickle: a codec that an image has taken over must gain nothing here.
        limits = (self._limits.memory_bytes, self._limits.cpu_s)
        self._process = context.Process(target=child.serve, args=(theirs, *limits), name="roi-decoder", daemon=True)
        self._process.start()
        theirs.close()
        try:
            ready = self._pipe.poll(_START_S) and self._pipe.recv_bytes() == child.READY
        except (EOFError, OSError):
            ready = False
        if not ready:
            self._end()
            raise DecoderUnready

    def _bury(self, *, deadline_passed: bool) -> None:
        code = self._end()
        reason = "deadline" if deadline_passed else f"exit {code}"
        logger.warning("decoder lost", extra={"action": "decoder-lost", "reason": reason})

    def _end(self) -> int | None:
        """Return the exit code of the process that was, if any."""
        code = None
        if self._process is not None:
            self._process.kill()
            self._process.join()
            code = self._process.exitcode
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process, self._pipe = None, None
        return code


class _Deadline:
    """Kills a decoder's process when a block takes longer than it may; `passed` tells whether it did."""

    def __init__(self, decoder: _Decoder, seconds: float) -> None:
        self._decoder = decoder
        self._timer = threading.Timer(seconds, self._strike)
        self._timer.daemon = True
        self.passed = False

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()  # it struck or never will: the next frame is not hit by the last one's deadline

    def _strike(self) -> None:
        self.passed = True
        self._decoder.kill()

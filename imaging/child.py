"""The decoder's own process: codecs are loaded here and nowhere else; it ends with its pipe or at its limits."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imaging.errors import DecodeRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from imaging.jobs import Job

READY: Final = b"ready"
_DONE: Final = b"\0"
_REFUSED: Final = b"\1"


def serve(pipe: Connection, memory_bytes: int, cpu_s: int) -> None:
    """Answer jobs until the pipe closes; processor time beyond `cpu_s` for one of them ends the process (SIGXCPU)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those who ask; they close the pipe
    from imaging import work  # noqa: PLC0415 - codecs are loaded in this process alone

    _bound_memory(memory_bytes)
    pipe.send_bytes(READY)
    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        _bound_cpu(cpu_s)
        pipe.send_bytes(_answer(work.do, job))


def _answer(do: Callable[[Job], bytes], job: Job) -> bytes:
    try:
        return _DONE + do(job)
    except DecodeRefused as error:
        return _REFUSED + str(error).encode()
    except MemoryError:
        return _REFUSED + b"decoding takes more memory than it may"
    except Exception as error:  # noqa: BLE001 - codecs raise what they like; its class is told, its text may quote pixels
        return _REFUSED + f"the pixels cannot be decoded ({type(error).__name__})".encode()


def _bound_memory(memory_bytes: int) -> None:
    """Bound the address space to what the libraries take by now, and `memory_bytes` more."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold a patient's pixels


def _bound_cpu(cpu_s: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))

"""A process that opens foreign files, so that nobody else has to: it has no network, and its answer is plain data.

It starts with an empty environment, talks JSON over a pipe (an answer that were a pickle would carry the danger out),
and puts what it makes into a scratch folder.  What comes out is no more trusted than what went in.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from models.errors import ImportRefused, JailUnusable

_ANSWER_LIMIT_BYTES: Final = 1 << 20
_SENTENCE_LIMIT: Final = 600

Facts = dict[str, Any]
"""Plain data out of a jail: what JSON can say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a conversion may take."""

    memory_bytes: int = 4 << 30
    """Beyond what its libraries take."""
    cpu_s: int = 300
    wall_s: float = 600.0
    file_bytes: int = 4 << 30


USUAL: Final = Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a jailed function returned, and which walls stood: ``network-namespace``, ``seccomp``, ``landlock``."""

    facts: Facts
    walls: tuple[str, ...]


def run(
    work: str,
    arguments: Mapping[str, object],
    *,
    scratch: Path,
    libraries: tuple[str, ...] = (),
    limits: Limits = USUAL,
) -> Answer:
    """Call a function of ours in a jail of its own.

    Parameters
    ----------
    work
        ``module:function``, ours; it returns what JSON can say.
    arguments
        Its keyword arguments, which JSON can say too.
    scratch
        The folder it works in, the only one it may write where the kernel has Landlock.
    libraries
        Modules to load before the last walls stand.
    limits
        What it may take; beyond, it is killed.

    Raises
    ------
    ImportRefused
        The function refused its input, or took more than it may, or died.
    JailUnusable
        Nothing keeps a process from the network here.
    """
    request = {"work": work, "arguments": arguments, "scratch": str(scratch), "libraries": libraries, **asdict(limits)}
    environment = {
        "PYTHONPATH": os.pathsep.join(str(Path(place).resolve()) for place in sys.path),
        "HOME": str(scratch),
        "USER": "roi",
        "TMPDIR": str(scratch),
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "models.importers.jailed"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=scratch,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            said = _hear(process, json.dumps(request).encode(), limits.wall_s)
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            raise ImportRefused("the file's conversion did not end and was killed") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return _understood(said, process.returncode, limits)


def _hear(process: subprocess.Popen[bytes], request: bytes, wall_s: float) -> bytes:
    """Send the request and read the answer to its end, within a time and a size."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
    with suppress(BrokenPipeError):
        process.stdin.write(request)
        process.stdin.close()
    deadline, said = time.monotonic() + wall_s, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            part = os.read(process.stdout.fileno(), 1 << 16)
            said += part
            if not part:
                return said
            if len(said) > _ANSWER_LIMIT_BYTES:
                raise ImportRefused("the file's conversion says more than it may and was killed")
    raise ImportRefused(f"the file's conversion took more than {wall_s:g} s and was killed")


def _understood(said: bytes, code: int, limits: Limits) -> Answer:
    if code == -signal.SIGXCPU:
        raise ImportRefused(f"the file's conversion took more than {limits.cpu_s} s of processor time and was killed")
    try:
        read = json.loads(said)
        if isinstance(read, dict) and set(read) == {"facts", "walls"}:
            return Answer(facts=dict(read["facts"]), walls=tuple(map(str, read["walls"])))
        if isinstance(read, dict) and set(read) == {"unusable"}:
            raise JailUnusable
        if isinstance(read, dict) and set(read) == {"refused"}:
            raise ImportRefused(_plain(str(read["refused"])))
    except (ValueError, TypeError):
        pass
    raise ImportRefused(f"the file's conversion died ({code}) without an answer")


def _plain(sentence: str) -> str:
    """Give what may be shown on a terminal of a sentence that quotes a foreign file."""
    return "".join(sign if sign.isprintable() else " " for sign in sentence[:_SENTENCE_LIMIT])

"""Runs the roles as processes: starts them, restarts what dies and says so, stops them together."""

from __future__ import annotations

import ctypes
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from roi.errors import RoleFailed

logger = logging.getLogger(__name__)

READY = b"ready\n"
SAID_WHY = 2
"""Exit code of a role that has told in one sentence why it cannot go on."""

_PR_SET_PDEATHSIG = 1
_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 15.0
_LOOK_S = 0.2
_REST_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Before a role that died is started again: the first time, the second, ... ; back to the first after a good minute."""
_GOOD_S = 60.0


@dataclass(kw_only=True, slots=True)
class Role:
    """One process of the set-up, as the supervisor sees it."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    ready_pipe: int | None = None
    started_at: float = 0.0
    deaths: int = 0
    start_again_at: float = field(default=0.0)


class Supervisor:
    """Keeps roles running until told to stop."""

    def __init__(self, roles: Sequence[Role], environment: dict[str, str]) -> None:
        self._roles = list(roles)
        self._environment = environment
        self._stopping = False

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start every role, call `on_ready` once all are, then keep them running until SIGTERM or SIGINT.

        Raises
        ------
        RoleFailed
            A role ended before it was ready for the first time; it said why on standard error.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        try:
            for role in self._roles:
                self._start(role)
            self._await_ready()
            if not self._stopping:
                on_ready()
            while not self._stopping:
                self._revive()
                time.sleep(_LOOK_S)
        finally:
            self._stop_all()

    def _asked_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _start(self, role: Role) -> None:
        ours, theirs = os.pipe()
        command = [sys.executable, "-m", "roi.cli", *role.arguments, "--ready-fd", str(theirs)]
        role.process = subprocess.Popen(
            command,
            env=self._environment,
            pass_fds=(theirs,),
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - the supervisor has one thread
            start_new_session=True,
        )
        os.close(theirs)
        role.ready_pipe, role.started_at = ours, time.monotonic()
        logger.info("role starts", extra={"action": "role-starts", "role": role.name, "pid": role.process.pid})

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        for role in self._roles:
            while not self._stopping and not _said_ready(role):
                if role.process is not None and role.process.poll() is not None:
                    if role.process.returncode == SAID_WHY:
                        sys.exit(SAID_WHY)
                    raise RoleFailed(f"the {role.name} could not start")
                if time.monotonic() > deadline:
                    raise RoleFailed(f"the {role.name} was not ready within {_START_LIMIT_S:g} s")

    def _revive(self) -> None:
        now = time.monotonic()
        for role in self._roles:
            if role.process is not None and role.process.poll() is not None:
                self._note_death(role, now)
            if role.process is None and now >= role.start_again_at:
                self._start(role)

    def _note_death(self, role: Role, now: float) -> None:
        status = role.process.returncode if role.process is not None else None
        role.deaths = 1 if now - role.started_at > _GOOD_S else role.deaths + 1
        rest_s = _REST_S[min(role.deaths, len(_REST_S)) - 1]
        extra = {"action": "role-died", "role": role.name, "status": status, "seconds": rest_s}
        logger.error("role died, starting it again", extra=extra)
        _close_pipe(role)
        role.process, role.start_again_at = None, now + rest_s

    def _stop_all(self) -> None:
        running = [role for role in self._roles if role.process is not None and role.process.poll() is None]
        for role in running:
            if role.process is not None:
                role.process.terminate()
        deadline = time.monotonic() + _STOP_LIMIT_S
        for role in running:
            if role.process is None:
                continue
            try:
                role.process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning("role does not stop, killing it", extra={"action": "role-killed", "role": role.name})
                role.process.kill()
                role.process.wait()
            _close_pipe(role)


def _said_ready(role: Role) -> bool:
    if role.ready_pipe is None:
        return True
    readable, _, _ = select.select([role.ready_pipe], [], [], _LOOK_S)
    if readable and os.read(role.ready_pipe, len(READY)) == READY:
        _close_pipe(role)
        return True
    return False


def _close_pipe(role: Role) -> None:
    if role.ready_pipe is not None:
        os.close(role.ready_pipe)
        role.ready_pipe = None


def _die_with_parent() -> None:
    # A supervisor that is killed must not leave roles behind that hold its ports.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def say_ready(descriptor: int | None) -> None:
    """Tell the supervisor, where there is one, that this role serves."""
    if descriptor is not None:
        os.write(descriptor, READY)
        os.close(descriptor)


def wait_for_stop() -> None:
    """Sleep until SIGTERM or SIGINT."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    signal.sigwait(_STOPS)


_STOPS = {signal.SIGTERM, signal.SIGINT}

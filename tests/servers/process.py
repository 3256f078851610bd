"""A foreign server as a child process."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


class ServerError(RuntimeError):
    """A server did not start, or did not stop; the message ends with its log."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """How one server is run: in the foreground, its data below `folder`, its output in `folder`/log.txt."""

    name: str
    command: Sequence[str]
    folder: Path
    is_ready: Callable[[], object]
    """Returns once the server answers as its clients need it, raises while it does not."""
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    """Run as this account where we are root; it may read every folder, so a scratch folder need not be open."""
    stop_signal: signal.Signals = signal.SIGTERM
    start_s: float = 60.0
    stop_s: float = 20.0


class Server:
    """A running program.

    `kill` ends it as a power cut would, `restart` starts it again on the same port and folder, `stop` ends it in
    order.  The program dies with this process, even where that is killed.
    """

    def __init__(self, program: Program, url: str) -> None:
        self.program = program
        self.url = url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running program."""
        assert self._process, f"{self.program.name} is not running"
        return self._process.pid

    def start(self) -> Self:
        """Start the program and wait until it is ready."""
        program = self.program
        with (program.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [*guarded(program), *program.command],
                cwd=program.folder,
                env={**os.environ, **program.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        """End the program and its children at once (SIGKILL)."""
        self._signal(signal.SIGKILL)
        self._reap()

    def stop(self) -> None:
        """End the program as its manual says."""
        if self._process is None:
            return
        self._process.send_signal(self.program.stop_signal)
        try:
            self._process.wait(self.program.stop_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(f"{self.program.name} did not stop in {self.program.stop_s} s{self._log()}") from None
        self.kill()  # whatever it left behind in its process group

    def restart(self) -> None:
        """Kill the program if it runs, and start it again."""
        if self._process is not None:
            self.kill()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.program.start_s
        while True:
            try:
                self.program.is_ready()
            except Exception as error:
                if process.poll() is not None:
                    raise ServerError(f"{self.program.name} ended while starting{self._log()}") from error
                if time.monotonic() > deadline:
                    raise ServerError(f"{self.program.name} was not ready in time: {error}{self._log()}") from error
                time.sleep(0.05)
            else:
                return

    def _log(self) -> str:
        text = (self.program.folder / "log.txt").read_text(errors="replace")
        return f"\n--- log of {self.program.name}\n{text[-2000:]}"


def free_port() -> int:
    """Return a loopback port that nobody listens on now.

    It lies below the range that outgoing connections use, so that a killed server finds its port free again.
    """
    while True:
        port = 20000 + secrets.randbelow(12000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def find_program(*names: str, folders: Sequence[Path] = ()) -> Path | None:
    """Return the first of `names` on the PATH or in `folders`."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])
    for name in names:
        if found := shutil.which(name, path=path):
            return Path(found)
    return None


def go_bin() -> Path:
    """Return the folder that `go install` fills."""
    return Path(os.environ.get("GOBIN") or Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin")


def connects(port: int) -> None:
    """Raise OSError unless something listens on the loopback port."""
    socket.create_connection(("127.0.0.1", port), timeout=2).close()


def guarded(program: Program) -> list[str]:
    """Return the command prefix that runs a program as its account and ties its life to ours."""
    guard = ["setpriv", "--pdeathsig", "KILL"]
    if program.user is None or os.geteuid() != 0:
        return [*guard, "--"]
    can_read = "-all,+dac_read_search"
    account = ["--reuid", program.user, "--regid", program.user, "--init-groups"]
    return [*guard, *account, "--inh-caps", can_read, "--ambient-caps", can_read, "--"]

"""Results made again at somebody's wish, one at a time, by `roi rerun` in a process behind all others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson

from inference.loop import Loop
from models import runtime
from roi.compose import open_database
from storage.archive import utc_now
from storage.catalog import reruns

if TYPE_CHECKING:
    from roi.settings import Settings
    from storage.database import Database

_LOOK_S: Final = 2.0
_LIMIT_S: Final = 600.0
_NICE: Final = "15"


@contextmanager
def rerunning(settings: Settings) -> Iterator[None]:
    """Make results again for as long as the block lasts, where this worker can run models at all."""
    if not runtime.available():
        yield
        return
    with closing(open_database(settings)) as database, Again(settings, database).loop.beside():
        yield


class Again:
    """Looks whether a rerun waits, and has it done."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self.loop = Loop("reruns", self.step, every_s=_LOOK_S)

    def step(self) -> None:
        """Do the one that has waited longest."""
        with self._database.read() as tx:
            if not reruns.any_waits(tx, now=utc_now()):
                return
        with self._database.write() as tx:
            rerun = reruns.begin(tx, now=utc_now())
        if rerun is None:
            return
        answer = self._answer(rerun.result_id)
        with self._database.write() as tx:
            if answer is None:
                reruns.give_back(tx, rerun.id)
            else:
                reruns.end(tx, rerun.id, answer, now=utc_now())

    def _answer(self, result: str) -> dict[str, Any] | None:
        """Return the comparison, or why there is none; None where this worker is to end first."""
        words = ["nice", "-n", _NICE, sys.executable, "-m", "roi.cli", "rerun", "--json", "--", result]
        environment = self._settings.as_environment() | {"PYTHONWARNINGS": "ignore"}
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            said, wrong = self._wait(process)
        finally:
            process.kill()
            process.wait()
        if self.loop.stopped:
            return None
        if process.returncode in {0, 1} and said:
            compared: dict[str, Any] = orjson.loads(said)
            return compared
        last = wrong.decode(errors="replace").strip().rpartition(os.linesep)[2]
        return {"refused": last.removeprefix("roi: ") if last.startswith("roi: ") else "the run failed; see the log"}

    def _wait(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        for _ in range(int(_LIMIT_S / _LOOK_S)):
            try:
                return process.communicate(timeout=_LOOK_S)
            except subprocess.TimeoutExpired:
                if self.loop.stopped:
                    break
        return b"", b"roi: no answer within the time that a rerun is given"

"""Modalities that never give up: they send studies, and send again whatever was not acknowledged."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import urllib3
from pydicom.dataset import Dataset

from models.reference.dicom import head_ct_study, radiograph_study
from pacs_gateway import scu
from pacs_gateway.errors import SendFailed
from tests.acceptance.studies import SentFile, small_ct, write

_REST_S = 0.2
_GIVE_UP_S = 180.0
_PAUSES_S = (0.0, 0.0, 0.06)
"""Between two images: some studies come so slowly that models look at a part of them."""
_FEW, _ENOUGH = 4, 20
"""Slices of a study that no model may judge, and of one that it may."""


@dataclass(kw_only=True)
class Sent:
    """What the senders know: every file they made, and which of them were acknowledged."""

    files: dict[str, SentFile] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    repeated: int = 0
    """Deliveries begun again because some file had no Success yet."""
    sent_twice: int = 0
    """Files sent again although they had been acknowledged."""
    stuck: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sender(threading.Thread):
    """One modality."""

    judged_share = 0.5
    """Of the small studies, those with slices enough for a model."""

    def __init__(self, port: int, folder: Path, seed: int, numbers: count[int], sent: Sent, pool: list[list[Dataset]]):
        super().__init__(name=f"sender-{seed}", daemon=True)
        self._port, self._folder, self._numbers, self._sent, self._pool = port, folder, numbers, sent, pool
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self._pause_s = 0.0
        self.ended_well = False

    def finish(self) -> None:
        """Send the study under way to its end, then no more."""
        self._ending.set()

    def run(self) -> None:
        """Send one study after the other."""
        while not self._ending.is_set():
            number = next(self._numbers)
            data_sets = self._next_study(number)
            self._pause_s = self._random.choice(_PAUSES_S)
            late = data_sets.pop() if len(data_sets) > 1 and self._random.random() < 0.2 else None
            folder = self._folder / str(number)
            self._deliver(write(data_sets, folder), folder)
            if self._random.random() < 0.1:
                self._send_again(folder)
            self._after_delivery(data_sets, folder)
            if late is not None:
                time.sleep(self._random.uniform(0.5, 6.0))
                folder = self._folder / f"{number}-late"
                self._deliver(write([late], folder), folder)
            time.sleep(self._random.uniform(0.0, 0.8))
        self.ended_well = True

    def _after_delivery(self, data_sets: list[Dataset], folder: Path) -> None:
        """Do what else this modality does, once every one of these was acknowledged."""

    def _next_study(self, number: int) -> list[Dataset]:
        with self._sent.lock:
            if self._pool and self._random.random() < 0.1:
                return self._pool.pop()
        slices = _ENOUGH if self._random.random() < self.judged_share else _FEW
        return small_ct(number, slices=slices)

    def _deliver(self, files: Sequence[SentFile], folder: Path) -> None:
        """Send until every file is acknowledged; the state file remembers, as `roi send --state` does."""
        with self._sent.lock:
            self._sent.files |= {file.instance: file for file in files}
        state, deadline = folder.with_suffix(".sent"), time.monotonic() + _GIVE_UP_S
        while True:
            left = self._attempt(folder, state)
            self._note(files, state)
            if not left:
                return
            if time.monotonic() > deadline:
                self._sent.stuck.append(f"{folder.name}: {left} files were never acknowledged")
                return
            with self._sent.lock:
                self._sent.repeated += 1
            time.sleep(_REST_S)

    def _attempt(self, folder: Path, state: Path) -> int:
        """Return how many files are still without Success."""
        with suppress(SendFailed):
            report = scu.send([folder], "127.0.0.1", self._port, state=state, on_progress=self._rest)
            return len(report.not_sent)
        return len(list(folder.iterdir())) - len(remembered(state))

    def _rest(self, _: scu.Progress) -> None:
        time.sleep(self._pause_s)

    def _note(self, files: Sequence[SentFile], state: Path) -> None:
        done = remembered(state)
        with self._sent.lock:
            self._sent.acknowledged |= {file.instance for file in files if str(file.path.absolute()) in done}

    def _send_again(self, folder: Path) -> None:
        with suppress(SendFailed):
            report = scu.send([folder], "127.0.0.1", self._port)
            with self._sent.lock:
                self._sent.sent_twice += report.sent


class Follower(threading.Thread):
    """A reader of the change feed with a cursor of its own, as an open worklist page is one."""

    def __init__(self, http_url: str) -> None:
        super().__init__(name="follower", daemon=True)
        self._url = http_url
        self._ending = threading.Event()
        self.seen: list[int] = []
        """The `seq` of every fact, as it came."""
        self.interruptions = 0

    def finish(self) -> None:
        """Read what is there and end."""
        self._ending.set()
        self.join()

    def run(self) -> None:
        """Follow the feed over restarts of whoever serves it."""
        while True:
            ending = self._ending.is_set()
            try:
                page = self._read()
            except (urllib3.exceptions.HTTPError, OSError, ValueError):
                self.interruptions += 1
                page = []
            self.seen += page
            if ending and not page:
                return
            if not page:
                self._ending.wait(0.1)

    def _read(self) -> list[int]:
        cursor = self.seen[-1] if self.seen else 0
        answer = urllib3.request("GET", f"{self._url}/api/changes?since={cursor}", timeout=10, retries=False)
        if answer.status != 200:
            raise ValueError(answer.status)
        return [change["seq"] for change in json.loads(answer.data)["changes"]]


def phantoms(heads: int, chests: int) -> list[list[Dataset]]:
    """Draw a few real phantoms to send among the small studies."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    drawn = [head_ct_study(seed, haemorrhage=seed % 2 == 0, plain=True) for seed in range(heads)]
    return drawn + [radiograph_study(seed, findings=frozenset({"pneumothorax"})) for seed in range(chests)]


def remembered(state: Path) -> set[str]:
    """Return the paths that a state file of `scu.send` calls sent."""
    if not state.exists():
        return set()
    return {json.loads(line)[0] for line in state.read_text().splitlines() if line.strip()}

"""Modalities that are less well behaved: copies with other content, in another encoding, and one that speaks HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import urllib3
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from pacs_gateway import scu
from pacs_gateway.errors import SendFailed
from tests.acceptance.studies import write
from tests.proofs.senders import Sender, Sent, remembered

FEW_JUDGED = 0.15
"""Predictions take most of the time, and are not what is proved here."""
_CONFLICT = 0x0111
_BOUNDARY = "between two instances"
_RELATED = f'multipart/related; type="application/dicom"; boundary="{_BOUNDARY}"'

Copy = tuple[str, str]
"""SOP Instance UID and digest."""


@dataclass(kw_only=True)
class Copies:
    """Second copies under the UID of an instance that had been acknowledged, and what was said of them."""

    tried: set[Copy] = field(default_factory=set)
    """Copies with other content, answered or not."""
    refused: set[Copy] = field(default_factory=set)
    """Those whose sender heard that the first one stays: they must be in quarantine."""
    taken: set[Copy] = field(default_factory=set)
    """Those whose sender heard Success, which must not be."""
    reencoded: int = 0
    """Copies with the same content in another transfer syntax, acknowledged."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Rival(Sender):
    """A modality that sends, now and then, another copy of what it has sent."""

    judged_share = FEW_JUDGED

    def __init__(
        self,
        port: int,
        folder: Path,
        seed: int,
        numbers: count[int],
        sent: Sent,
        pool: list[list[Dataset]],
        copies: Copies,
    ) -> None:
        super().__init__(port, folder, seed, numbers, sent, pool)
        self._copies = copies

    def _after_delivery(self, data_sets: list[Dataset], folder: Path) -> None:
        dice = self._random.random()
        if dice < 0.25:
            self._contradict(deepcopy(self._random.choice(data_sets)), folder.with_name(f"{folder.name}-other"))
        elif dice < 0.5:
            self._reencode(deepcopy(self._random.choice(data_sets)), folder.with_name(f"{folder.name}-syntax"))

    def _contradict(self, data_set: Dataset, folder: Path) -> None:
        data_set.PixelData = bytes(len(data_set.PixelData))
        [file] = write([data_set], folder)
        copy = (file.instance, file.digest)
        with self._copies.lock:
            self._copies.tried.add(copy)
        answered = self._status_of(folder)
        with self._copies.lock:
            self._copies.refused |= {copy} if answered == _CONFLICT else set()
            self._copies.taken |= {copy} if answered == 0 else set()

    def _reencode(self, data_set: Dataset, folder: Path) -> None:
        data_set.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        write([data_set], folder)
        if self._status_of(folder) == 0:
            with self._copies.lock:
                self._copies.reencoded += 1

    def _status_of(self, folder: Path) -> int | None:
        """Return what was answered to the folder's only file, None where nothing was."""
        try:
            report = scu.send([folder], "127.0.0.1", self._port)
        except SendFailed:  # nobody listens: it is not sent again
            return None
        return 0 if report.sent else report.not_sent[0].status


class WebSender(Sender):
    """A modality that sends by STOW-RS; its `port` is that of the HTTP side."""

    judged_share = FEW_JUDGED

    def _attempt(self, folder: Path, state: Path) -> int:
        done = remembered(state)
        left = [path for path in sorted(folder.iterdir()) if str(path.absolute()) not in done]
        stored = self._post(left) if left else set()
        with state.open("a") as lines:
            for path in left:
                if path.stem in stored:
                    lines.write(orjson.dumps([str(path.absolute())]).decode() + "\n")
        return len([path for path in left if path.stem not in stored])

    def _send_again(self, folder: Path) -> None:
        stored = self._post(sorted(folder.iterdir()))
        with self._sent.lock:
            self._sent.sent_twice += len(stored)

    def _post(self, paths: Iterable[Path]) -> set[str]:
        """Return the SOP Instance UIDs that the answer calls stored."""
        head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(head + path.read_bytes() + b"\r\n" for path in paths) + f"--{_BOUNDARY}--\r\n".encode()
        url = f"http://127.0.0.1:{self._port}/dicom-web/studies"
        headers = {"Content-Type": _RELATED, "Accept": "application/dicom+json"}
        try:
            answer = urllib3.request("POST", url, body=body, headers=headers, timeout=60, retries=False)
        except (urllib3.exceptions.HTTPError, OSError):  # cut: sent again
            return set()
        if answer.status not in {200, 202}:
            return set()
        told: dict[str, Any] = orjson.loads(answer.data)
        return {item["00081155"]["Value"][0] for item in told.get("00081199", {}).get("Value", [])}

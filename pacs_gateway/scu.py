"""A storage SCU: sends DICOM files to a peer as they are, never transcoded (PS3.4 Annex B).

Each file is proposed in its own transfer syntax and only in that.  Reports name paths, UIDs and statuses, nothing of
what is in the files.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final, TextIO

from pynetdicom import AE, _config, evt
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.presentation import build_context

from pacs_gateway.errors import Part10Rejected, SendFailed
from pacs_gateway.header import is_uid
from pacs_gateway.part10 import MAX_META_BYTES, read_meta

MAX_CONTEXTS: Final = 128
"""Presentation contexts of one association (PS3.8 9.3.2.2: odd ids below 256)."""

_REJECTIONS: Final = {
    (1, 1): "no reason given",
    (1, 2): "application context not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""(source, reason) of an A-ASSOCIATE-RJ (PS3.8 Table 9-21) in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotSent:
    """A file that the peer did not take, and why; `status` where the peer answered one."""

    path: Path
    reason: str
    status: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a transfer is; `done` counts files sent and not sent."""

    done: int
    total: int
    sent_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SendReport:
    """What became of the files."""

    sent: int
    sent_bytes: int
    skipped: int
    """Files that the state file says were sent before."""
    not_sent: tuple[NotSent, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outgoing:
    path: Path
    size_bytes: int
    context: tuple[str, str]
    """SOP Class UID, Transfer Syntax UID."""


def send(
    paths: Iterable[Path],
    host: str,
    port: int,
    *,
    calling_aet: str = "ROI_SEND",
    called_aet: str = "ROI",
    associations: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
    state: Path | None = None,
) -> SendReport:
    """Send files, and all files below folders, to a storage SCP.

    Parameters
    ----------
    paths
        Files and folders; a folder's files keep together on one association, in the order of their names.
    associations
        How many to use at a time; folders are dealt out among them.
    on_progress
        Called after each file, one call at a time.
    state
        A file that remembers what was sent: with the same one, a transfer that was cut goes on where it stopped.

    Raises
    ------
    SendFailed
        The peer cannot be reached or takes no association.  What was sent before that is in the state file.
    """
    files = list(_files(paths))
    with _memory(state) as memory:
        fresh = [path for path in files if memory.key(path) not in memory.sent]
        tally = _Tally(len(fresh), memory, on_progress)
        outgoing = [file for path in fresh if (file := _outgoing(path, tally))]
        call = _Call(host=host, port=port, calling_aet=calling_aet, called_aet=called_aet)
        with ThreadPoolExecutor(max_workers=max(1, associations)) as pool:
            for lane in [pool.submit(_send_lane, call, lane, tally) for lane in _lanes(outgoing, associations)]:
                lane.result()
    return SendReport(
        sent=tally.sent,
        sent_bytes=tally.sent_bytes,
        skipped=len(files) - len(fresh),
        not_sent=tuple(sorted(tally.not_sent, key=lambda item: item.path)),
    )


# ------------------------------------------------------------------------------------------------- what to send
def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file())
        else:
            yield path


def _outgoing(path: Path, tally: _Tally) -> _Outgoing | None:
    """Read what a file proposes; count it as not sent where it proposes nothing."""
    try:
        with path.open("rb") as file:
            meta = read_meta(file.read(MAX_META_BYTES))
            size_bytes = os.fstat(file.fileno()).st_size
    except Part10Rejected as error:
        tally.count_not_sent(path, str(error))
        return None
    except OSError as error:
        tally.count_not_sent(path, f"cannot be read: {error.strerror}")
        return None
    if not all(map(is_uid, (meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid))):
        tally.count_not_sent(path, "the file meta information lacks a UID, or names something that is none")
        return None
    return _Outgoing(path=path, size_bytes=size_bytes, context=(meta.sop_class_uid, meta.transfer_syntax_uid))


def _lanes(outgoing: list[_Outgoing], associations: int) -> list[list[_Outgoing]]:
    """Deal folders out among associations, so that a study is not split among them."""
    folders: dict[Path, list[_Outgoing]] = {}
    for file in outgoing:
        folders.setdefault(file.path.parent, []).append(file)
    lanes: list[list[_Outgoing]] = [[] for _ in range(max(1, associations))]
    for lane, files in zip(cycle(lanes), folders.values(), strict=False):
        lane.extend(files)
    return [lane for lane in lanes if lane]


def _batches(lane: list[_Outgoing]) -> Iterator[list[_Outgoing]]:
    """Cut a lane where one more file would need more contexts than an association has."""
    contexts: set[tuple[str, str]] = set()
    batch: list[_Outgoing] = []
    for file in lane:
        if file.context not in contexts and len(contexts) == MAX_CONTEXTS:
            yield batch
            contexts, batch = set(), []
        contexts.add(file.context)
        batch.append(file)
    yield batch


# --------------------------------------------------------------------------------------------------- sending it
@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    host: str
    port: int
    calling_aet: str
    called_aet: str


def _send_lane(call: _Call, lane: list[_Outgoing], tally: _Tally) -> None:
    for batch in _batches(lane):
        _send_batch(call, batch, tally)


def _send_batch(call: _Call, batch: list[_Outgoing], tally: _Tally) -> None:
    """Send files, over a new association where one is lost: what a peer gets twice it keeps once.

    Raises
    ------
    SendFailed
        There is no association to begin with.
    """
    left, lost = batch, 0
    while left:
        try:
            with _associated(call, sorted({file.context for file in left})) as association:
                rest = _send_over(association, left, tally)
        except SendFailed:
            if left is batch:
                raise
            lost, rest = _MOST_LOST, left
        lost = 0 if len(rest) < len(left) else lost + 1
        if rest and lost >= _MOST_LOST:
            tally.count_not_sent(rest[0].path, "peer gave no answer")
            for file in rest[1:]:
                tally.count_not_sent(file.path, "the association was lost before")
            return
        left = list(rest)


_MOST_LOST: Final = 2
"""Associations lost one after the other over the same file."""


def _send_over(association: Any, files: list[_Outgoing], tally: _Tally) -> list[_Outgoing]:  # noqa: ANN401 - pynetdicom is untyped
    """Send files over one association; return those that are left where it was lost, the unanswered one first."""
    accepted = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
    for number, file in enumerate(files):
        if not _send_file(association, accepted, number % 65535 + 1, file, tally):
            return files[number:]
    return []


@contextmanager
def _associated(call: _Call, contexts: list[tuple[str, str]]) -> Iterator[Any]:
    """Open an association, and release it at the end of the block where it is there still.

    Raises
    ------
    SendFailed
        The peer cannot be reached, or rejects it.
    """
    # pynetdicom's switch, for the whole process: files are sent in pieces as they are, instead of decoded and encoded.
    _config.STORE_SEND_CHUNKED_DATASET = True
    line = _Line()
    association = AE(ae_title=call.calling_aet).associate(
        call.host,
        call.port,
        contexts=[build_context(sop_class, syntax) for sop_class, syntax in contexts],
        ae_title=call.called_aet,
        evt_handlers=[(evt.EVT_CONN_OPEN, line.opened), (evt.EVT_PDU_RECV, line.received)],
    )
    try:
        if not association.is_established:
            where = f"{call.called_aet} at {call.host} port {call.port}"
            if line.rejection is None:
                raise SendFailed(f"{where} cannot be reached, or does not speak DICOM")
            raise SendFailed(f"{where} takes no association from {call.calling_aet}: {line.rejection}")
        yield association
    finally:
        if association.is_established:
            association.release()
        line.close()


class _Line:
    """What is seen of a connection as it happens; pynetdicom itself may miss what comes right before its end."""

    def __init__(self) -> None:
        self.rejection: str | None = None
        self._socket: socket.socket | None = None

    def opened(self, event: Any) -> None:  # noqa: ANN401 - pynetdicom is untyped
        """Switch Nagle's algorithm off: with it, a peer that acknowledges late costs 40 ms an instance."""
        self._socket = event.assoc.dul.socket.socket
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def received(self, event: Any) -> None:  # noqa: ANN401
        """Note a rejection."""
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            self.rejection = _REJECTIONS.get((event.pdu.source, event.pdu.reason_diagnostic), "rejected")

    def close(self) -> None:
        """Close the socket, which pynetdicom leaves open where the peer closed first."""
        if self._socket is not None:
            self._socket.close()


def _send_file(
    association: Any,  # noqa: ANN401 - pynetdicom is untyped
    accepted: set[tuple[str, str]],
    message_id: int,
    file: _Outgoing,
    tally: _Tally,
) -> bool:
    """Send one file and count what became of it; False, and nothing counted, where the association is lost."""
    if not association.is_established:
        return False
    if file.context not in accepted:
        tally.count_not_sent(file.path, "peer takes no SOP class {} in transfer syntax {}".format(*file.context))
        return True
    try:
        answer = association.send_c_store(file.path, msg_id=message_id)
    except (OSError, RuntimeError, ValueError, AttributeError) as error:
        tally.count_not_sent(file.path, f"cannot be sent: {type(error).__name__}")
        return True
    status = answer.get("Status")
    if status is None:
        return False
    tally.count_answer(file, status)
    return True


# ------------------------------------------------------------------------------------------------ what became of it
class _Memory:
    """Which files a state file says were sent: one JSON line each, by path, size and time of change."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self.sent = {line.strip() for line in file} if file else set()

    def key(self, path: Path) -> str:
        """Return the line that stands for the file as it is now."""
        try:
            found = path.stat()
        except OSError:
            return ""
        return json.dumps([str(path.absolute()), found.st_size, found.st_mtime_ns])

    def remember(self, path: Path) -> None:
        """Note a file as sent, at once: the next moment may be a power cut."""
        if self._file:
            self._file.write(self.key(path) + "\n")
            self._file.flush()


@contextmanager
def _memory(state: Path | None) -> Iterator[_Memory]:
    if state is None:
        yield _Memory(None)
        return
    with state.open("a+", encoding="utf-8") as file:
        file.seek(0)
        yield _Memory(file)


class _Tally:
    """Counts what became of the files, from every association's thread."""

    def __init__(self, total: int, memory: _Memory, on_progress: Callable[[Progress], None] | None) -> None:
        self._total = total
        self._memory = memory
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self.sent = 0
        self.sent_bytes = 0
        self.not_sent: list[NotSent] = []

    def count_answer(self, file: _Outgoing, status: int) -> None:
        """Count a file by the status that the peer answered; success and warnings are sent (PS3.4 B.2.3)."""
        if status == 0 or status >> 12 == 0xB:
            with self._lock:
                self._memory.remember(file.path)
                self.sent += 1
                self.sent_bytes += file.size_bytes
                self._tell()
        else:
            self.count_not_sent(file.path, f"peer answered status {status:04X}", status)

    def count_not_sent(self, path: Path, reason: str, status: int | None = None) -> None:
        """Count a file that the peer does not have."""
        with self._lock:
            self.not_sent.append(NotSent(path=path, reason=reason, status=status))
            self._tell()

    def _tell(self) -> None:
        if self._on_progress:
            done = self.sent + len(self.not_sent)
            self._on_progress(Progress(done=done, total=self._total, sent_bytes=self.sent_bytes))

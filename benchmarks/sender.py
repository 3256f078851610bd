"""A C-STORE sender that costs next to no CPU, so that the server is what is measured.

It maps the files, lays every PDU out before the clock starts, and has one request outstanding at a time, as every
real modality does (PS3.7 9.1.1, PS3.8 9.3).  It is no model of a client: it trusts its corpus.
"""

from __future__ import annotations

import mmap
import multiprocessing
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Self

VERIFICATION = ("1.2.840.10008.1.1", "1.2.840.10008.1.2")
_OUR_MAX_PDU = 131072
_UNLIMITED_PDU = 1 << 20
_BUFFERS_A_CALL = 512
"""Below IOV_MAX (1024)."""


class SendError(RuntimeError):
    """A peer that did not take what was sent: the run gives no number."""


@dataclass(frozen=True, kw_only=True)
class Part10:
    """A mapped file: what its meta says, and its data set."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset: memoryview

    @classmethod
    def map(cls, path: Path) -> Self:
        """Map a file whose meta is as pydicom writes it (PS3.10 7.1)."""
        return cls.read(map_file(path))

    @classmethod
    def read(cls, view: memoryview) -> Self:
        """Take a file apart that is in memory already."""
        meta_end = 144 + int.from_bytes(view[140:144], "little")
        meta: dict[int, str] = {}
        position = 144
        while position < meta_end:
            element, vr, length = struct.unpack_from("<2xH2sH", view, position)
            position += 8
            if vr in {b"OB", b"UN", b"OW", b"UT"}:
                length = int.from_bytes(view[position : position + 4], "little")
                position += 4
            if vr == b"UI":
                meta[element] = bytes(view[position : position + length]).rstrip(b"\0").decode()
            position += length
        return cls(
            sop_class_uid=meta[0x02],
            sop_instance_uid=meta[0x03],
            transfer_syntax_uid=meta[0x10],
            dataset=view[meta_end:],
        )


def map_file(path: Path) -> memoryview:
    """Map a file into memory, to be read only."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


class Association:
    """One association as requestor."""

    def __init__(self, port: int, aet: str, contexts: Sequence[tuple[str, str]]) -> None:
        self._ids = {context: 2 * number + 1 for number, context in enumerate(contexts)}
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_associate_rq(aet, self._ids))
        kind, body = self._read_pdu()
        if kind != 0x02:
            raise SendError(f"association refused: PDU type {kind}")
        self._accepted, self._max_pdu = _read_associate_ac(body)

    def lay_out(self, part: Part10, message_id: int) -> list[bytes | memoryview]:
        """Return the PDUs of one C-STORE request as a list of buffers."""
        context = self._ids[part.sop_class_uid, part.transfer_syntax_uid]
        if context not in self._accepted:
            raise SendError(f"presentation context {part.sop_class_uid} {part.transfer_syntax_uid} was not accepted")
        command = _command(
            {
                0x0002: part.sop_class_uid.encode(),
                0x0100: struct.pack("<H", 0x0001),
                0x0110: struct.pack("<H", message_id),
                0x0700: struct.pack("<H", 0),
                0x0800: struct.pack("<H", 0x0001),
                0x1000: part.sop_instance_uid.encode(),
            }
        )
        buffers: list[bytes | memoryview] = [_data_header(context, len(command), 0x03), command]
        step = self._max_pdu - 6
        for start in range(0, len(part.dataset), step):
            piece = part.dataset[start : start + step]
            last = start + step >= len(part.dataset)
            buffers += [_data_header(context, len(piece), 0x02 if last else 0x00), piece]
        return buffers

    def exchange(self, buffers: Sequence[bytes | memoryview]) -> int:
        """Send one request and return the status of its response."""
        for start in range(0, len(buffers), _BUFFERS_A_CALL):
            self._send(buffers[start : start + _BUFFERS_A_CALL])
        kind, body = self._read_pdu()
        if kind != 0x04:
            raise SendError(f"PDU type {kind} in place of a response")
        return _status(body[6:])

    def echo(self) -> int:
        """Send a C-ECHO."""
        command = _command(
            {
                0x0002: VERIFICATION[0].encode(),
                0x0100: struct.pack("<H", 0x0030),
                0x0110: struct.pack("<H", 1),
                0x0800: struct.pack("<H", 0x0101),
            }
        )
        return self.exchange([_data_header(self._ids[VERIFICATION], len(command), 0x03), command])

    def release(self) -> None:
        """End the association in order."""
        self._socket.sendall(struct.pack(">BxIxxxx", 0x05, 4))
        self._read_pdu()
        self._socket.close()

    def _send(self, buffers: Sequence[bytes | memoryview]) -> None:
        sent = self._socket.sendmsg(buffers)
        for buffer in buffers:
            if sent < len(buffer):
                self._socket.sendall(memoryview(buffer)[sent:])
            sent = max(0, sent - len(buffer))

    def _read_pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._read(6))
        return kind, self._read(length)

    def _read(self, length: int) -> bytes:
        data = self._socket.recv(length, socket.MSG_WAITALL)
        while len(data) < length:
            more = self._socket.recv(length - len(data))
            if not more:
                raise SendError("the peer closed the connection")
            data += more
        return data


def send(
    port: int, aet: str, parts: Sequence[Sequence[Path]], started: Callable[[], None]
) -> tuple[float, list[float]]:
    """Send each part over its own association from its own process, all at once.

    Returns
    -------
    seconds, store_s
        From the common start to the last response; and per instance, from its first byte to its response.

    Raises
    ------
    SendError
        Any instance was not answered with Success or a warning.
    """
    context = multiprocessing.get_context("fork")
    go = context.Barrier(len(parts) + 1)
    answers: Queue[list[float] | str] = context.Queue()
    senders = [context.Process(target=_send_part, args=(port, aet, part, go, answers)) for part in parts]
    for sender in senders:
        sender.start()
    go.wait(120)
    started()
    began = time.perf_counter()
    results = [answers.get(timeout=600) for _ in senders]
    seconds = time.perf_counter() - began
    for sender in senders:
        sender.join()
    if failures := [result for result in results if isinstance(result, str)]:
        raise SendError("; ".join(failures))
    return seconds, [latency for result in results if isinstance(result, list) for latency in result]


def _send_part(port: int, aet: str, files: Sequence[Path], go: Barrier, answers: Queue[list[float] | str]) -> None:
    try:
        parts = [Part10.map(path) for path in files]
        contexts = sorted({(part.sop_class_uid, part.transfer_syntax_uid) for part in parts})
        association = Association(port, aet, contexts)
        requests = [association.lay_out(part, number % 65535 + 1) for number, part in enumerate(parts)]
        go.wait(120)
        answers.put(_store_all(association, requests))
    except (OSError, SendError) as error:
        go.abort()
        answers.put(f"{type(error).__name__}: {error}")


def _store_all(association: Association, requests: Sequence[Sequence[bytes | memoryview]]) -> list[float]:
    latencies = []
    for request in requests:
        began = time.perf_counter()
        status = association.exchange(request)
        latencies.append(time.perf_counter() - began)
        if status not in {0x0000, 0xB000, 0xB006, 0xB007}:
            raise SendError(f"C-STORE answered {status:#06x}")
    association.release()
    return latencies


def _associate_rq(aet: str, contexts: dict[tuple[str, str], int]) -> bytes:
    """Lay out an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    items = _item(0x10, b"1.2.840.10008.3.1.1.1")
    for (abstract, transfer), number in contexts.items():
        syntaxes = _item(0x30, abstract.encode()) + _item(0x40, transfer.encode())
        items += _item(0x20, struct.pack("Bxxx", number) + syntaxes)
    items += _item(0x50, _item(0x51, struct.pack(">I", _OUR_MAX_PDU)) + _item(0x52, b"2.25.8"))
    body = struct.pack(">Hxx16s16s32x", 1, aet.encode().ljust(16), b"BENCHMARK".ljust(16)) + items
    return struct.pack(">BxI", 0x01, len(body)) + body


def _read_associate_ac(body: bytes) -> tuple[set[int], int]:
    """Return the accepted presentation contexts and the longest PDU the peer takes (PS3.8 9.3.3)."""
    accepted, max_pdu, position = set(), _UNLIMITED_PDU, 68
    while position < len(body):
        kind, length = struct.unpack_from(">BxH", body, position)
        position += 4
        if kind == 0x21 and body[position + 2] == 0:
            accepted.add(body[position])
        elif kind == 0x50:
            max_pdu = min(struct.unpack_from(">I", body, position + 4)[0] or _UNLIMITED_PDU, _UNLIMITED_PDU)
        position += length
    return accepted, max_pdu


def _data_header(context: int, length: int, control: int) -> bytes:
    """Lay out the headers of a P-DATA-TF PDU with one presentation data value (PS3.8 9.3.5)."""
    return struct.pack(">BxIIBB", 0x04, length + 6, length + 2, context, control)


def _command(elements: dict[int, bytes]) -> bytes:
    """Lay out a command set, implicit VR little endian (PS3.7 6.3.1)."""
    body = b"".join(_element(number, value) for number, value in elements.items())
    return _element(0x0000, struct.pack("<I", len(body))) + body


def _element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0x0000, number, len(value)) + value


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _status(command: bytes) -> int:
    position = 0
    while position < len(command):
        _, element, length = struct.unpack_from("<HHI", command, position)
        if element == 0x0900:
            return int.from_bytes(command[position + 8 : position + 10], "little")
        position += 8 + length
    raise SendError("a response without a status")

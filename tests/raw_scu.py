"""An SCU made of bytes: it says whatever a test wants, in the protocol or not, and decodes what it hears.

Nothing here is shared with the gateway: PDUs and command sets are built and read from PS3.8 9.3 and PS3.7 9.3 alone.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from typing import Self

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"

RELEASE_RQ = b"\5\0\0\0\0\4\0\0\0\0"
RELEASE_RP = b"\6\0\0\0\0\4\0\0\0\0"
ABORT = b"\7\0\0\0\0\4\0\0\0\0"


def aborted(reason: int) -> bytes:
    """An A-ABORT of the service provider with this reason."""
    return b"\7\0\0\0\0\4\0\0\2" + bytes([reason])


def rejected(result: int, source: int, reason: int) -> bytes:
    """An A-ASSOCIATE-RJ."""
    return b"\3\0\0\0\0\4\0" + bytes([result, source, reason])


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBI", kind, 0, len(body)) + body


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def context(number: int, abstract: str, *transfers: str) -> bytes:
    syntaxes = b"".join(item(0x40, uid.encode()) for uid in transfers)
    return item(0x20, bytes([number, 0, 0, 0]) + item(0x30, abstract.encode()) + syntaxes)


def associate_rq(
    *contexts: bytes,
    called: bytes = b"ROI",
    calling: bytes = b"RAW",
    application: str = APPLICATION_CONTEXT,
    version: int = 1,
    max_pdu: int = 16384,
    user: bytes = b"",
) -> bytes:
    body = struct.pack(">HH16s16s32x", version, 0, called.ljust(16), calling.ljust(16))
    body += item(0x10, application.encode()) + b"".join(contexts)
    body += item(0x50, item(0x51, struct.pack(">I", max_pdu)) + item(0x52, b"1.2.3.4") + user)
    return pdu(1, body)


def pdv(number: int, payload: bytes, *, command: bool, last: bool) -> bytes:
    return struct.pack(">IBB", len(payload) + 2, number, (1 if command else 0) | (2 if last else 0)) + payload


def p_data(*pdvs: bytes) -> bytes:
    return pdu(4, b"".join(pdvs))


def command_set(elements: dict[int, bytes]) -> bytes:
    body = b""
    for number, value in sorted(elements.items()):
        padded = value + b"\0" * (len(value) % 2)
        body += struct.pack("<HHI", 0, number, len(padded)) + padded
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def us(number: int) -> bytes:
    return struct.pack("<H", number)


def c_echo(message_id: int = 1, **changes: bytes | None) -> bytes:
    return command_set(
        _changed({0x2: VERIFICATION.encode(), 0x100: us(0x30), 0x110: us(message_id), 0x800: us(0x101)}, changes)
    )


def c_store(sop_class: str, sop_instance: str, message_id: int = 1, **changes: bytes | None) -> bytes:
    """A C-STORE-RQ; `changes` such as ``x0110=None`` leave elements out or replace them."""
    elements = {
        0x2: sop_class.encode(),
        0x100: us(1),
        0x110: us(message_id),
        0x700: us(0),
        0x800: us(1),
        0x1000: sop_instance.encode("latin-1"),
    }
    return command_set(_changed(elements, changes))


def _changed(elements: dict[int, bytes], changes: dict[str, bytes | None]) -> dict[int, bytes]:
    merged = {**elements, **{int(name[1:], 16): value for name, value in changes.items()}}
    return {number: value for number, value in merged.items() if value is not None}


@dataclass(frozen=True)
class Accepted:
    """An A-ASSOCIATE-AC as read: context id -> (result, transfer syntax); user item type -> value."""

    contexts: dict[int, tuple[int, str]]
    user: dict[int, bytes]
    called: bytes
    calling: bytes


@dataclass(frozen=True)
class Response:
    """A response's command set."""

    context: int
    values: dict[int, bytes] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return struct.unpack("<H", self.values[0x900])[0]

    @property
    def comment(self) -> str:
        return self.values.get(0x902, b"").decode("ascii").rstrip(" ")


def items(data: bytes) -> list[tuple[int, bytes]]:
    found, position = [], 0
    while position < len(data):
        kind, length = struct.unpack_from(">BxH", data, position)
        found.append((kind, data[position + 4 : position + 4 + length]))
        position += 4 + length
    return found


class RawScu:
    """A connection on which PDUs are written as bytes and read as bytes."""

    def __init__(self, port: int, *, timeout_s: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *data: bytes) -> None:
        self.socket.sendall(b"".join(data))

    def read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            if not piece:
                break
            data += piece
        return data

    def receive(self) -> bytes:
        """One whole PDU; empty where the connection has ended."""
        head = self.read(6)
        return head + self.read(struct.unpack(">I", head[2:])[0]) if len(head) == 6 else b""

    def ended(self) -> bool:
        """Whether nothing more comes."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def associate(self, *contexts: bytes, **options: object) -> Accepted:
        self.send(associate_rq(*contexts, **options))  # type: ignore[arg-type]
        return self.accepted()

    def accepted(self) -> Accepted:
        answer = self.receive()
        assert answer[:1] == b"\2", answer
        found = items(answer[74:])
        contexts = {
            value[0]: (value[2], dict(items(value[4:]))[0x40].decode()) for kind, value in found if kind == 0x21
        }
        user = dict(items(next(value for kind, value in found if kind == 0x50)))
        return Accepted(contexts=contexts, user=user, called=answer[10:26], calling=answer[26:42])

    def response(self) -> Response:
        """A whole response command set, from however many PDUs it takes."""
        payload, context_id, last = b"", 0, False
        while not last:
            answer = self.receive()
            assert answer[:1] == b"\4", answer
            position = 6
            while position < len(answer):
                length, context_id, control = struct.unpack_from(">IBB", answer, position)
                assert control & 1
                payload += answer[position + 6 : position + 4 + length]
                last = bool(control & 2)
                position += 4 + length
        return Response(context=context_id, values=_elements(payload))

    def store(self, number: int, command: bytes, data_set: bytes, *, fragment: int = 16378) -> Response:
        """Send one C-STORE, every fragment a PDU of its own, and read the response."""
        self.send(p_data(pdv(number, command, command=True, last=True)))
        for start in range(0, max(len(data_set), 1), fragment):
            part, end = data_set[start : start + fragment], start + fragment >= len(data_set)
            self.send(p_data(pdv(number, part, command=False, last=end)))
        return self.response()

    def echo(self, number: int) -> Response:
        self.send(p_data(pdv(number, c_echo(), command=True, last=True)))
        return self.response()

    def release(self) -> bytes:
        self.send(RELEASE_RQ)
        return self.receive()


def _elements(data: bytes) -> dict[int, bytes]:
    values, position = {}, 0
    while position < len(data):
        group, number, length = struct.unpack_from("<HHI", data, position)
        assert group == 0
        values[number] = data[position + 8 : position + 8 + length]
        position += 8 + length
    return values


def echo_status(port: int) -> int:
    """Verify a gateway over an association of its own."""
    with RawScu(port) as scu:
        scu.associate(context(1, VERIFICATION, IMPLICIT))
        status = scu.echo(1).status
        assert scu.release() == RELEASE_RP
        return status

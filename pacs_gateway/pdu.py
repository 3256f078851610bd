"""Protocol data units of the upper layer as bytes (PS3.8 9.3, PS3.7 D.3.3).

What a peer sends is read with every length checked against what is there: a PDU that does not add up is `PduInvalid`,
whatever was wrong with it.  Written is only what an acceptor answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import Final

from pacs_gateway.errors import PduInvalid
from pacs_gateway.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"


class PduType(IntEnum):
    """The first byte of a PDU."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


HEADER: Final = Struct(">BxI")
"""PDU type and length of what follows."""

PDV_HEADER: Final = Struct(">IBB")
"""Length of what follows, presentation context id, message control header."""

COMMAND_FRAGMENT: Final = 1
LAST_FRAGMENT: Final = 2

_ITEM: Final = Struct(">BxH")
_SHORT: Final = Struct(">H")
_LONG: Final = Struct(">I")
_ASSOCIATE: Final = Struct(">Hxx16s16s32x")

RELEASE_RP: Final = HEADER.pack(PduType.RELEASE_RP, 4) + bytes(4)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProposedContext:
    """A presentation context as the requestor proposes it (PS3.8 9.3.2.2)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AnsweredContext:
    """A presentation context as the acceptor answers it (PS3.8 9.3.3.2)."""

    id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AssociateRequest:
    """What an A-ASSOCIATE-RQ says of what an acceptor heeds.

    User identity, extended negotiation and unknown items are stepped over: none of them is kept, so that none, least
    of all a passcode, can be logged.
    """

    protocol_version: int
    called_aet: str
    calling_aet: str
    application_context: str
    contexts: tuple[ProposedContext, ...]
    max_pdu: int = 0
    """The longest P-DATA-TF variable field that the requestor takes; 0 for any."""
    roles: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """SOP Class UID -> proposed (SCU role, SCP role)."""
    asynchronous: bool = False


# ----------------------------------------------------------------------------------------------------- reading
def read_associate_request(body: bytes) -> AssociateRequest:
    """Read the body of an A-ASSOCIATE-RQ.

    Raises
    ------
    PduInvalid
        Item lengths do not tile the PDU, or a presentation context id occurs twice.
    """
    if len(body) < _ASSOCIATE.size:
        raise PduInvalid("the A-ASSOCIATE-RQ is shorter than its fixed fields")
    version, called, calling = _ASSOCIATE.unpack_from(body)
    items = list(_items(body[_ASSOCIATE.size :]))
    contexts = tuple(_context(value) for kind, value in items if kind == 0x20)
    if len({context.id for context in contexts}) < len(contexts):
        raise PduInvalid("a presentation context id occurs twice")
    user = [item for kind, value in items if kind == 0x50 for item in _items(value)]
    return AssociateRequest(
        protocol_version=version,
        called_aet=_text(called),
        calling_aet=_text(calling),
        application_context=next((_text(value) for kind, value in items if kind == 0x10), ""),
        contexts=contexts,
        max_pdu=next((_unpack(_LONG, value) for kind, value in user if kind == 0x51), 0),
        roles=dict(_role(value) for kind, value in user if kind == 0x54),
        asynchronous=any(kind == 0x53 for kind, _ in user),
    )


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise PduInvalid("an item is cut short")
        kind, length = _ITEM.unpack_from(data, position)
        position += 4
        if position + length > len(data):
            raise PduInvalid("an item is longer than what holds it")
        yield kind, data[position : position + length]
        position += length


def _context(value: bytes) -> ProposedContext:
    if len(value) < 4:
        raise PduInvalid("a presentation context is shorter than its id")
    items = list(_items(value[4:]))
    return ProposedContext(
        id=value[0],
        abstract_syntax=next((_text(item) for kind, item in items if kind == 0x30), ""),
        transfer_syntaxes=tuple(_text(item) for kind, item in items if kind == 0x40),
    )


def _role(value: bytes) -> tuple[str, tuple[int, int]]:
    length = _unpack(_SHORT, value[:2])
    if len(value) < length + 4:
        raise PduInvalid("a role selection item is cut short")
    return _text(value[2 : 2 + length]), (value[2 + length], value[3 + length])


def _unpack(number: Struct, value: bytes) -> int:
    if len(value) < number.size:
        raise PduInvalid("an item is shorter than its number")
    return int(number.unpack_from(value)[0])


def _text(value: bytes) -> str:
    """Decode an AE title or UID; padding goes, anything else stays to be judged."""
    return value.decode("latin-1").strip(" \0")


# ----------------------------------------------------------------------------------------------------- writing
def write_associate_accept(
    request: AssociateRequest, contexts: tuple[AnsweredContext, ...], roles: Mapping[str, tuple[int, int]], max_pdu: int
) -> bytes:
    """Return the A-ASSOCIATE-AC that answers `request` (PS3.8 9.3.3)."""
    user = _item(0x51, _LONG.pack(max_pdu)) + _item(0x52, IMPLEMENTATION_CLASS_UID.encode("ascii"))
    if request.asynchronous:
        user += _item(0x53, _SHORT.pack(1) * 2)
    for uid, answered in roles.items():
        name = uid.encode("latin-1")
        user += _item(0x54, _SHORT.pack(len(name)) + name + bytes(answered))
    user += _item(0x55, IMPLEMENTATION_VERSION_NAME.encode("ascii"))
    titles = (request.called_aet, request.calling_aet)
    body = (
        _ASSOCIATE.pack(1, *(title.encode("latin-1").ljust(16) for title in titles))
        + _item(0x10, APPLICATION_CONTEXT.encode("ascii"))
        + b"".join(_answered(context) for context in contexts)
        + _item(0x50, user)
    )
    return HEADER.pack(PduType.ASSOCIATE_AC, len(body)) + body


def _answered(context: AnsweredContext) -> bytes:
    syntax = _item(0x40, context.transfer_syntax.encode("latin-1"))
    return _item(0x21, bytes((context.id, 0, context.result, 0)) + syntax)


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def write_associate_reject(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return HEADER.pack(PduType.ASSOCIATE_RJ, 4) + bytes((0, result, source, reason))


def write_abort(reason: int) -> bytes:
    """Return an A-ABORT of the service provider, source 2 (PS3.8 9.3.8)."""
    return HEADER.pack(PduType.ABORT, 4) + bytes((0, 0, 2, reason))


def write_message(context_id: int, command: bytes, data_set: bytes | None, max_pdu: int) -> bytes:
    """Return a DIMSE message as P-DATA-TF PDUs, none longer than the peer's `max_pdu` (PS3.8 9.3.5, Annex E)."""
    parts = [_fragments(context_id, command, COMMAND_FRAGMENT, max_pdu)]
    if data_set is not None:
        parts.append(_fragments(context_id, data_set, 0, max_pdu))
    return b"".join(parts)


def _fragments(context_id: int, payload: bytes, control: int, max_pdu: int) -> bytes:
    room = max_pdu - PDV_HEADER.size if max_pdu else max(len(payload), 1)
    starts = range(0, max(len(payload), 1), room)
    pdus = []
    for start in starts:
        fragment = payload[start : start + room]
        last = LAST_FRAGMENT if start == starts[-1] else 0
        pdv = PDV_HEADER.pack(len(fragment) + 2, context_id, control | last) + fragment
        pdus.append(HEADER.pack(PduType.P_DATA_TF, len(pdv)) + pdv)
    return b"".join(pdus)

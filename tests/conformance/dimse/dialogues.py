"""Byte streams and what an acceptor answers them: one table for our gateway and for DCMTK's storescp.

A dialogue is sent as it stands, whatever comes back, and what is heard until the end of the connection is told in
words.  Where storescp answers otherwise, the row says so and why: the differences between two readings of the standard
are written down, not smoothed over.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from tests.raw_scu import (
    ABORT,
    CT,
    EXPLICIT,
    IMPLICIT,
    RELEASE_RQ,
    VERIFICATION,
    associate_rq,
    c_echo,
    c_store,
    context,
    item,
    items,
    p_data,
    pdu,
    pdv,
    us,
)
from tests.unit.pacs_gateway.datasets import data_set, sop_uids

ECHO = context(1, VERIFICATION, IMPLICIT)
STORE = context(3, CT, EXPLICIT)
BOTH = "accepted 1:0 3:0"
REQUEST = associate_rq(ECHO, STORE)
_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_NO_SYNTAX = "1.2.840.10008.1.2.4.94"
_ECHO_RQ = p_data(pdv(1, c_echo(), command=True, last=True))
_STORE_RQ = pdv(3, c_store(*sop_uids()), command=True, last=True)
_DATA = pdv(3, data_set(), command=False, last=True)


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """What is sent, and what is answered; `theirs` and `why` only where storescp's answer is another."""

    name: str
    sent: bytes
    heard: tuple[str, ...]
    theirs: tuple[str, ...] | None = None
    why: str = ""


def _command(changes: dict[str, bytes | None], *, follows: bytes = _DATA) -> bytes:
    return p_data(pdv(3, c_store(*sop_uids(), **changes), command=True, last=True)) + p_data(follows)


ABORTS = "It aborts as service user (source 0), which has no reasons; we name the reason as service provider."
ANY_TITLE = "It answers to every called title; ours is checked unless that is switched off."
BARE = "A presentation context needs a transfer syntax: it closes without a word; we refuse that context alone."
BY_STATUS = "It aborts over a request that it does not serve; we answer a status and the association goes on."
CANCEL = "It aborts over a C-CANCEL of nothing; we ignore it (PS3.7 9.3.2.3)."
EVEN = "It accepts even context ids; we refuse them alone (PS3.8 9.3.2.2: odd)."
MISMATCH = "It says A900 of a SOP Instance UID that is no UID; we say 0117, what the command got wrong."
NO_WORD = "It closes without a word; we abort or reject, and say why."
ODD = "It takes no fragments of odd length; we do."
ROLE = "It accepts a context whose requestor will not be SCU; nobody could use it, so we refuse it."
TWICE = "It answers a context id that occurs twice once; we cannot tell which was meant, and abort."
WAITS = "It waits for what a length promised; we abort over a length that cannot be, and when the timer runs out."

_BROKEN = pdv(3, b"\0", command=False, last=True)
_ECHO_PIECES = [c_echo()[start : start + 2] for start in range(0, len(c_echo()), 2)]


def _user(number: int, value: bytes) -> bytes:
    return associate_rq(ECHO, STORE, user=item(number, value)) + RELEASE_RQ


def _role(scu: int, scp: int) -> bytes:
    return _user(0x54, struct.pack(">H", len(CT)) + CT.encode() + bytes([scu, scp]))


def _pieces(pieces: list[bytes]) -> bytes:
    last = len(pieces) - 1
    return b"".join(p_data(pdv(1, piece, command=True, last=at == last)) for at, piece in enumerate(pieces))


def _before(name: str, sent: bytes, heard: str, theirs: str | None = None, why: str = "") -> Dialogue:
    """A dialogue that gets as far as one answer, or none."""
    words = [None if word is None else tuple(filter(None, [word])) for word in (heard, theirs)]
    return Dialogue(name=name, sent=sent, heard=words[0] or (), theirs=words[1], why=why)


def _agreed(name: str, sent: bytes, accepted: str = BOTH, theirs: str | None = None, why: str = "") -> Dialogue:
    """A dialogue that asks for an association and releases it."""
    other = None if theirs is None else (theirs, "released") if theirs else ()
    return Dialogue(name=name, sent=sent, heard=(accepted, "released"), theirs=other, why=why)


def _within(name: str, sent: bytes, *heard: str, theirs: tuple[str, ...] | None = None, why: str = "") -> Dialogue:
    """A dialogue within an association that was accepted."""
    other = None if theirs is None else (BOTH, *theirs)
    return Dialogue(name=name, sent=REQUEST + sent, heard=(BOTH, *heard), theirs=other, why=why)


def _aborted(name: str, sent: bytes, reason: int) -> Dialogue:
    return _within(name, sent, f"aborted 2 {reason}", theirs=("aborted 0 0",), why=ABORTS)


def _refused(name: str, sent: bytes, answer: str) -> Dialogue:
    return _within(name, sent + RELEASE_RQ, answer, "released", theirs=("aborted 0 0",), why=BY_STATUS)


DIALOGUES = (
    # ---------------------------------------------------------------------------- the request: D-2 to D-16, R-5
    _before("another application context", associate_rq(ECHO, STORE, application="1.2.3"), "rejected 1 1 2"),
    _before("protocol version 2 alone", associate_rq(ECHO, STORE, version=2), "rejected 1 2 2"),
    _agreed("protocol versions 1 and 2", associate_rq(ECHO, STORE, version=3) + RELEASE_RQ),
    Dialogue(
        name="another called title",
        sent=associate_rq(ECHO, STORE, called=b"OTHER") + RELEASE_RQ,
        heard=("rejected 1 1 7",),
        theirs=(BOTH, "released"),
        why=ANY_TITLE,
    ),
    _before("no context", associate_rq() + RELEASE_RQ, "rejected 1 1 1", "", NO_WORD),
    _agreed(
        "contexts of which some cannot be served",
        associate_rq(
            ECHO,
            context(3, CT, EXPLICIT, IMPLICIT),
            context(5, _FIND, IMPLICIT),
            context(7, CT, _NO_SYNTAX),
            context(9, VERIFICATION, "1.2.3"),
        )
        + RELEASE_RQ,
        "accepted 1:0 3:0 5:3 7:4 9:4",
    ),
    _agreed(
        "a context without transfer syntax",
        associate_rq(ECHO, context(3, CT)) + RELEASE_RQ,
        "accepted 1:0 3:4",
        "",
        BARE,
    ),
    _agreed(
        "an even context id",
        associate_rq(ECHO, context(4, CT, EXPLICIT)) + RELEASE_RQ,
        "accepted 1:0 4:2",
        "accepted 1:0 4:0",
        EVEN,
    ),
    _agreed(
        "a context id of 0",
        associate_rq(ECHO, context(0, CT, EXPLICIT)) + RELEASE_RQ,
        "accepted 1:0 0:2",
        "accepted 1:0 0:0",
        EVEN,
    ),
    Dialogue(
        name="a context id that occurs twice",
        sent=associate_rq(ECHO, ECHO) + RELEASE_RQ,
        heard=("aborted 2 6",),
        theirs=("accepted 1:0", "released"),
        why=TWICE,
    ),
    _agreed(
        "128 contexts",
        associate_rq(*(context(number, CT, EXPLICIT) for number in range(1, 256, 2))) + RELEASE_RQ,
        " ".join(["accepted", *(f"{number}:0" for number in range(1, 256, 2))]),
    ),
    _agreed("an asynchronous window", _user(0x53, struct.pack(">HH", 8, 8))),
    _agreed("the requestor as SCP alone", _role(0, 1), "accepted 1:0 3:1", BOTH, ROLE),
    _agreed("the requestor as SCU and SCP", _role(1, 1)),
    _agreed("a user identity, no answer wanted", _user(0x58, b"\2\0\0\4user\0\6secret")),  # D-13
    _agreed("a user identity, an answer wanted", _user(0x58, b"\2\1\0\4user\0\6secret")),
    _agreed("an extended negotiation", _user(0x56, b"\0\x11" + VERIFICATION.encode() + b"\2\0\0")),  # D-11
    _agreed(
        "a common extended negotiation",  # D-12
        _user(0x57, struct.pack(">H", len(CT)) + CT.encode() + b"\0\x11" + b"1.2.840.10008.4.2" + b"\0\0"),
    ),
    _agreed("a user item that nobody knows", _user(0x99, b"unknown")),
    _agreed("a user item of no length", _user(0x58, b""), BOTH, "", NO_WORD),
    _before(
        "an item longer than its PDU",
        associate_rq(item(0x20, b"\1\0\0\0\x30\0\xff\xff1.2")),
        "aborted 2 6",
        "open",
        WAITS,
    ),
    _before("a context without its fixed fields", associate_rq(item(0x20, b"\1")), "aborted 2 6", "open", WAITS),
    _before("a request without its fixed fields", pdu(1, bytes(20)), "aborted 2 6", "open", WAITS),
    _before("a request of 4 GiB", struct.pack(">BxI", 1, 0xFFFFFFFF), "aborted 2 6", "open", WAITS),
    # ------------------------------------------------------------------------- out of place: D-15, R-6
    _before("an unrecognised PDU first", pdu(9, b"1234"), "aborted 2 1", "", NO_WORD),
    _before("P-DATA first", _ECHO_RQ, "aborted 2 2", "aborted 0 0", ABORTS),
    _before("a release first", RELEASE_RQ, "aborted 2 2", "aborted 0 0", ABORTS),
    _before("an accept first", pdu(2, b"1234"), "aborted 2 2", "aborted 0 0", ABORTS),
    _before("an abort first", ABORT, ""),
    _aborted("an unrecognised PDU", pdu(9, b""), 1),
    _within("a second request", REQUEST, "aborted 2 2"),
    _within("an answer to a release", pdu(6, bytes(4)), "aborted 2 2"),
    _within("an abort within a C-STORE", p_data(_STORE_RQ) + ABORT),
    _within("a release within a C-STORE", p_data(_STORE_RQ) + RELEASE_RQ, "released"),
    # -------------------------------------------------------------------------- P-DATA: D-7, R-2, R-6, R-8
    _aborted("P-DATA of nothing", pdu(4, b""), 6),
    _aborted("P-DATA of three bytes", pdu(4, b"\0\0\0"), 6),
    _aborted("a value without its control header", p_data(struct.pack(">IBB", 1, 3, 3)), 6),
    _aborted("a value longer than its PDU", p_data(struct.pack(">IBB", 500, 3, 3)), 6),
    _aborted("a value of 4 GiB", p_data(struct.pack(">IBB", 0xFFFFFFFF, 3, 3)), 6),
    _aborted("a PDU of 2 GiB", struct.pack(">BxI", 4, 0x7FFFFFFF), 6),
    _aborted("a context that was not accepted", p_data(pdv(5, c_echo(), command=True, last=True)), 2),
    _aborted("a data set without command", p_data(pdv(3, b"data", command=False, last=True)), 2),
    _aborted("a command within a command's data set", p_data(_STORE_RQ, _STORE_RQ), 2),
    _aborted("a data set in another context", p_data(_STORE_RQ, pdv(1, b"data", command=False, last=True)), 2),
    # --------------------------------------------------------------------- commands: D-1, D-17, D-23, R-7, R-30
    _within("C-ECHO", _ECHO_RQ + RELEASE_RQ, "8030 0000", "released"),
    _within("C-ECHO in fragments of two bytes", _pieces(_ECHO_PIECES) + RELEASE_RQ, "8030 0000", "released"),
    _within(
        "C-ECHO in fragments of one byte",
        _pieces([bytes([byte]) for byte in c_echo()]) + RELEASE_RQ,
        *("8030 0000", "released"),
        theirs=("aborted 0 0",),
        why=ODD,
    ),
    _within(
        "a group length that lies",
        p_data(pdv(1, b"\0\0\0\0\4\0\0\0\xff\xff\0\0" + c_echo()[12:], command=True, last=True)) + RELEASE_RQ,
        *("8030 0000", "released"),
    ),
    _within("C-STORE", p_data(_STORE_RQ) + p_data(_DATA) + RELEASE_RQ, "8001 0000", "released"),
    _within("C-STORE in one PDU", p_data(_STORE_RQ, _DATA) + RELEASE_RQ, "8001 0000", "released"),
    _within(
        "C-STORE whose last fragment is empty",
        p_data(_STORE_RQ, pdv(3, data_set(), command=False, last=False))
        + p_data(pdv(3, b"", command=False, last=True))
        + RELEASE_RQ,
        *("8001 0000", "released"),
    ),
    _within("C-STORE of another instance", _command({"x1000": b"1.2.3.9"}) + RELEASE_RQ, "8001 A900", "released"),
    _within(
        "C-STORE of what is no UID",
        _command({"x1000": b"../../etc/passwd"}) + RELEASE_RQ,
        *("8001 0117", "released"),
        theirs=("8001 A900", "released"),
        why=MISMATCH,
    ),
    _refused("C-STORE of what does not parse", p_data(_STORE_RQ, _BROKEN), "8001 C000"),
    _refused("C-STORE without instance", _command({"x1000": None}), "8001 0212"),
    _refused("C-STORE without message id", _command({"x0110": None}), "8001 0212"),
    _refused(
        "C-STORE without data set",
        p_data(pdv(3, c_store(*sop_uids(), x0800=us(0x101)), command=True, last=True)),
        "8001 0212",
    ),
    _refused("a command that nobody knows", _command({"x0100": us(0x7777)}), "F777 0211"),
    _refused("C-FIND in a storage context", _command({"x0100": us(0x20)}), "8020 0211"),
    _refused(
        "C-STORE in a verification context",
        p_data(pdv(1, c_store(*sop_uids()), command=True, last=True), pdv(1, data_set(), command=False, last=True)),
        "8001 0211",
    ),
    _within(
        "C-CANCEL of nothing",
        p_data(pdv(1, c_echo(x0100=us(0xFFF)), command=True, last=True)) + _ECHO_RQ + RELEASE_RQ,
        *("8030 0000", "released"),
        theirs=("aborted 0 0",),
        why=CANCEL,
    ),
    _aborted("a response to nothing", _command({"x0100": us(0x8001)}), 2),
    _aborted("a command of one byte", p_data(pdv(3, b"\0", command=True, last=True)), 6),
    _aborted("a command in explicit VR", p_data(pdv(3, b"\0\0\0\0UL\4\0\x42\0\0\0", command=True, last=True)), 6),
    _aborted("a command of nothing", p_data(pdv(3, b"", command=True, last=True)), 6),
    _aborted("a command without its field", _command({"x0100": None}), 6),
    _aborted("a command without its data set type", _command({"x0800": None}), 6),
    # ------------------------------------------------------------------------------------- timers: D-14, R-3
    _before("nothing", b"", "aborted 2 0", "", NO_WORD),
    _before("half a request", REQUEST[:40], "aborted 2 0", "open", WAITS),
)


def converse(port: int, sent: bytes, *, timeout_s: float) -> tuple[str, ...]:
    """Say `sent` and tell what is heard until the last word, or until nothing more comes.

    ``open`` stands for a connection on which nothing was heard for `timeout_s`, and which did not end.
    """
    heard = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as line:
        try:
            line.sendall(sent)
            while not _is_over(_told(heard)) and (piece := line.recv(65536)):
                heard += piece
        except TimeoutError:
            return (*_told(heard), "open")
        except OSError:  # a reset, which an acceptor may send once it has said its last word
            return _told(heard)
    return _told(heard)


def _is_over(told: tuple[str, ...]) -> bool:
    return bool(told) and told[-1].startswith(("rejected", "released", "aborted"))


def _told(heard: bytearray) -> tuple[str, ...]:
    """Tell the whole PDUs of what was heard, as far as the first last word."""
    told: tuple[str, ...] = ()
    position = 0
    while position + 6 <= len(heard) and not _is_over(told):
        kind, length = struct.unpack_from(">BxI", heard, position)
        if position + 6 + length > len(heard):
            break
        told = (*told, _WORDS[kind](bytes(heard[position + 6 : position + 6 + length])))
        position += 6 + length
    return told


def _accepted(body: bytes) -> str:
    results = (f"{value[0]}:{value[2]}" for kind, value in items(body[68:]) if kind == 0x21)
    return " ".join(["accepted", *results])


def _response(body: bytes) -> str:
    values = dict(_elements(body[6:]))
    return f"{_us(values, 0x100)} {_us(values, 0x900)}"


def _us(values: dict[int, bytes], number: int) -> str:
    return f"{struct.unpack('<H', values[number])[0]:04X}"


def _elements(command: bytes) -> list[tuple[int, bytes]]:
    found, position = [], 0
    while position < len(command):
        _, number, length = struct.unpack_from("<HHI", command, position)
        found.append((number, command[position + 8 : position + 8 + length]))
        position += 8 + length
    return found


_WORDS = {
    2: _accepted,
    3: lambda body: f"rejected {body[1]} {body[2]} {body[3]}",
    4: _response,
    6: lambda _: "released",
    7: lambda body: f"aborted {body[2]} {body[3]}",
}

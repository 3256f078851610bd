"""PDUs on a socket: read into one buffer, bounded in length and in time (PS3.8 9.1, 9.3).

The socket blocks; the kernel keeps the time (SO_RCVTIMEO), so that a PDU costs one or two system calls and no thread
waits without end.
"""

from __future__ import annotations

import socket
import time
from struct import pack
from typing import Final

from pacs_gateway.errors import PduInvalid, PduUnrecognised, PeerGone, PeerSilent
from pacs_gateway.pdu import HEADER, PduType

_LOOK_AHEAD: Final = 16 * 1024
"""What is read beyond a wanted header: small messages then take one call."""

_PIECE: Final = 64 * 1024
_TYPES: Final = frozenset(PduType)


class Connection:
    """One accepted connection, read by one thread.

    `read_header` and `read_body` alternate.  A body lies in the connection's buffer, valid until the next read; the
    buffer grows with what arrives, never with what a length promises, and not beyond `max_body`.
    """

    def __init__(self, sock: socket.socket, *, pdu_timeout_s: float) -> None:
        self._socket = sock
        self._pdu_timeout_s = pdu_timeout_s
        self._timeout_s = -1.0
        self._buffer = bytearray(_LOOK_AHEAD)
        self._start = 0
        self._end = 0
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(pdu_timeout_s))

    def read_header(self, timeout_s: float) -> tuple[PduType, int]:
        """Wait up to `timeout_s` for a PDU to begin; return its type and the length of its body.

        Raises
        ------
        PduUnrecognised
            No PDU has this type.
        PeerSilent, PeerGone
            The timer ran out, or the connection ended.
        """
        if self._end - self._start < HEADER.size:
            self._fill(HEADER.size, timeout_s)
        kind, length = HEADER.unpack_from(self._buffer, self._start)
        self._start += HEADER.size
        if kind not in _TYPES:
            raise PduUnrecognised
        return PduType(kind), length

    def read_body(self, length: int, max_length: int) -> memoryview:
        """Return the body that the header announced.

        Raises
        ------
        PduInvalid
            It would be longer than `max_length`.
        PeerSilent, PeerGone
            The whole of it did not come in time, or the connection ended.
        """
        if length > max_length:
            raise PduInvalid(f"a PDU of {length} bytes is longer than the {max_length} allowed")
        if self._end - self._start < length:
            self._fill(length, self._pdu_timeout_s)
        body = memoryview(self._buffer)[self._start : self._start + length]
        self._start += length
        return body

    def _fill(self, wanted: int, timeout_s: float) -> None:
        """Receive until `wanted` bytes are here, in `timeout_s` altogether."""
        self._make_room(wanted)
        deadline = time.monotonic() + timeout_s
        self._set_timeout(timeout_s)
        # A peer with Nagle's algorithm on holds its next small segment until we acknowledge: do so at once, not after
        # the 40 ms of a delayed acknowledgement.  The kernel forgets this whenever we send.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        while (missing := wanted - (self._end - self._start)) > 0:
            self._grow(missing)
            room = len(self._buffer) - self._end
            ahead = missing <= HEADER.size
            take, flags = (min(room, _LOOK_AHEAD), 0) if ahead else (min(missing, room), socket.MSG_WAITALL)
            got = self._receive(take, flags)
            self._end += got
            if got < missing and time.monotonic() > deadline:
                raise PeerSilent

    def _receive(self, length: int, flags: int) -> int:
        with memoryview(self._buffer) as view:
            try:
                got = self._socket.recv_into(view[self._end : self._end + length], length, flags)
            except BlockingIOError as error:
                raise PeerSilent from error
            except OSError as error:
                raise PeerGone from error
        if not got:
            raise PeerGone
        return got

    def _make_room(self, wanted: int) -> None:
        """Move what is left to the front where the rest would not fit behind it."""
        left = self._end - self._start
        if self._start and (not left or self._start + wanted > len(self._buffer)):
            self._buffer[:left] = self._buffer[self._start : self._end]
            self._start, self._end = 0, left

    def _grow(self, missing: int) -> None:
        """Enlarge a full buffer by a piece: memory follows bytes that came, not a length that was claimed."""
        if self._end == len(self._buffer):
            self._buffer = self._buffer + bytes(min(max(missing, _LOOK_AHEAD), max(_PIECE, self._end)))

    def _set_timeout(self, timeout_s: float) -> None:
        if timeout_s != self._timeout_s:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(timeout_s))
            self._timeout_s = timeout_s

    def send(self, data: bytes) -> None:
        """Send all of `data`.

        Raises
        ------
        PeerGone
            The connection ended, or the peer stopped reading.
        """
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise PeerGone from error

    def interrupt(self, *, at_once: bool) -> None:
        """Make the reading thread see the end: of what has arrived, or `at_once` (from any thread)."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR if at_once else socket.SHUT_RD)
        except OSError:
            return  # it has ended by itself

    def close_after(self, seconds: float) -> None:
        """Let the peer close first for up to `seconds`, then close (PS3.8 9.1.5, ARTIM).

        Closing over unread bytes would reset the connection, and the peer might lose our last word; some peers lose
        it even where the end follows it too soon.
        """
        deadline = time.monotonic() + seconds
        try:
            self._set_timeout(seconds)
            while time.monotonic() < deadline and self._socket.recv_into(self._buffer):
                pass
        except OSError:
            pass  # it has ended, or the time is over: either way it is closed now
        finally:
            self._socket.close()


def _timeval(seconds: float) -> bytes:
    return pack("ll", int(seconds), int(seconds % 1 * 1_000_000))

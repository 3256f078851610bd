"""A TCP line between a client and a server that can be cut at any byte, and be led to another server."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from contextlib import suppress
from enum import Enum

from tests.servers.process import free_port

_LOOK_S = 0.05
_PART = 65536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes `close` send RST, as a pulled plug or a firewall that forgets does."""


class Way(Enum):
    """The two directions of a line."""

    THERE = "to the server"
    BACK = "to the client"


class Line:
    """Listens on a port of its own and forwards to `target`, a loopback port; use as a context manager."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._lock = threading.Lock()
        self._fuse: tuple[Way, int] | None = None
        self._generation = 0
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.cuts = 0
        """Connections that were cut so far."""
        self.passed = dict.fromkeys(Way, 0)
        """Bytes that have gone each way so far."""

    def __enter__(self) -> Line:
        threading.Thread(target=self._accept, name="line", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._listener.close()

    def lead_to(self, target: int) -> None:
        """Forward to another port from now on; what is open ends."""
        with self._lock:
            self._target = target
            self._generation += 1

    def cut(self, way: Way, after_bytes: int, *, limit_s: float) -> bool:
        """Reset the next connection over which this many more bytes have gone this way.

        The byte before the cut is delivered, the one behind it is not.  False where nothing came along within the
        limit.
        """
        with self._lock:
            before, self._fuse = self.cuts, (way, after_bytes)
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and self.cuts == before:
            time.sleep(0.01)
        with self._lock:
            self._fuse = None
            return self.cuts > before

    # ------------------------------------------------------------------------------------------------ its threads
    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        with self._lock:
            target, generation = self._target, self._generation
        try:
            server = socket.create_connection(("127.0.0.1", target), timeout=5)
        except OSError:
            client.close()  # as a server that is away would
            return
        for end in (client, server):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):  # one of the two reset it
            self._pass_on(client, server, generation)
        for end in (client, server):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()

    def _pass_on(self, client: socket.socket, server: socket.socket, generation: int) -> None:
        """Return once the line is to end; one thread for both ways, so that a reset is one for both."""
        ways = {client: (server, Way.THERE), server: (client, Way.BACK)}
        while not self._ended.is_set() and generation == self._generation:
            ready, _, _ = select.select(list(ways), [], [], _LOOK_S)
            for source in ready:
                target, way = ways[source]
                part = source.recv(_PART)
                if not part:
                    del ways[source]
                    target.shutdown(socket.SHUT_WR)
                    continue
                whole = self._burn(way, part)
                target.sendall(whole)
                if len(whole) < len(part):
                    return
            if not ways:
                return

    def _burn(self, way: Way, part: bytes) -> bytes:
        """Return what of the part gets through."""
        with self._lock:
            self.passed[way] += len(part)
            if self._fuse is None or self._fuse[0] is not way:
                return part
            left = self._fuse[1]
            if len(part) <= left:
                self._fuse = (way, left - len(part))
                return part
            self._fuse = None
            self.cuts += 1
            return part[:left]

"""A listener on the line to a broker: passes every byte on, and remembers it."""

from __future__ import annotations

import base64
import re
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from tests.servers.process import free_port

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")


class Tap:
    """Listens on a port of its own and forwards to a broker; `url` is the broker's as clients should use it."""

    def __init__(self, broker_url: str) -> None:
        parts = urlsplit(broker_url)
        self._broker = (parts.hostname or "127.0.0.1", parts.port or 0)
        port = free_port()
        self.url = broker_url.replace(f":{self._broker[1]}", f":{port}")
        self._seen = bytearray()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def heard(self) -> bytes:
        """Return all that passed, both ways, with what was base64 in it decoded behind."""
        with self._lock:
            seen = bytes(self._seen)
        decoded = [seen]
        for run in _BASE64.findall(seen):
            with suppress(ValueError):
                decoded.append(base64.b64decode(run[: len(run) // 4 * 4]))
        return b"\n".join(decoded)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        try:
            broker = socket.create_connection(self._broker, timeout=5)
        except OSError:
            client.close()  # as a broker that is away would
            return
        broker.settimeout(None)
        threading.Thread(target=self._pass_on, args=(broker, client), daemon=True).start()
        self._pass_on(client, broker)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                with self._lock:
                    self._seen += part
                target.sendall(part)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

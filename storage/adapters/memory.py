"""Objects in this process's memory: for tests and trials, gone when the process ends."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, BinaryIO

from storage.errors import ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.records import ObjectKey

SCHEMES = ("memory",)


class MemoryStore:
    """An `ObjectStore` in a dict."""

    def __init__(self) -> None:
        self._objects: dict[ObjectKey, bytes] = {}
        self._lock = threading.Lock()

    def put(self, key: ObjectKey, source: BinaryIO) -> int:
        """Keep what `source` yields; see the port."""
        content = source.read()
        with self._lock:
            return len(self._objects.setdefault(key, content))

    def open(self, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open a stream over a range of the object; see the port."""
        content = self._content(key)
        return io.BytesIO(content[offset : None if length is None else offset + length])

    def size(self, key: ObjectKey) -> int:
        """Return the object's size in bytes."""
        return len(self._content(key))

    def remove(self, key: ObjectKey) -> None:
        """Forget the object."""
        with self._lock:
            self._objects.pop(key, None)

    def keys(self) -> Iterator[ObjectKey]:
        """Yield every key once."""
        with self._lock:
            return iter(list(self._objects))

    def ping(self) -> None:
        """Memory always answers."""

    def _content(self, key: ObjectKey) -> bytes:
        with self._lock:
            try:
                return self._objects[key]
            except KeyError:
                raise ObjectMissing(f"no object under {key}") from None


def open_store(url: str, *, access_key: str | None = None, secret_key: str | None = None) -> MemoryStore:  # noqa: ARG001 - the adapters' common form
    """Open a new, empty store."""
    return MemoryStore()

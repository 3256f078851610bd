"""The quick check of a whole read: the XXH3-128 of a data set's bytes, noted when their SHA-256 was taken.

It finds what decays, not what somebody forges: the SHA-256 stays the name of the object, and what a scrub, a
verification and every model hold it against.  An instance without a checksum is checked by its SHA-256 on every read.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from xxhash import xxh3_128

from storage.errors import ObjectCorrupt

if TYPE_CHECKING:
    from storage.records import InstanceRecord


Part = bytes | bytearray | memoryview


class Running(Protocol):
    """A digest that grows with the bytes."""

    def update(self, part: Part, /) -> None:
        """Take further bytes in."""
        ...

    def digest(self) -> bytes:
        """Return the digest of the bytes so far."""
        ...


def begun() -> Running:
    """Return a checksum of nothing yet."""
    return xxh3_128()


class Check:
    """Tells whether the data set that passes by is the one that was received."""

    def __init__(self, instance: InstanceRecord) -> None:
        self._key = instance.object_key
        self.is_quick = instance.checksum is not None
        self._running = begun() if self.is_quick else hashlib.sha256()
        self._expected = instance.checksum or bytes.fromhex(instance.object_key)

    def update(self, part: Part) -> None:
        """Take the next bytes of the data set in."""
        self._running.update(part)

    def finish(self) -> None:
        """Return if these were all bytes, and the right ones; `storage.errors.ObjectCorrupt` if not."""
        if self._running.digest() != self._expected:
            raise ObjectCorrupt(f"object {self._key} no longer has its digest")

"""What the archive asks of a place that keeps bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol

from storage.records import ObjectKey


class ObjectStore(Protocol):
    """Immutable bytes under a digest.

    `put` of a key that exists is a no-op; after it returns the bytes survive a power cut.  A missing key raises
    `ObjectMissing`; a store that does not answer raises `ObjectStoreUnavailable`, a full one `OutOfSpace`.  A put
    that fails or dies leaves either nothing or the whole object, never a part.  All methods may be called from any
    number of threads and processes at once.
    """

    def put(self, key: ObjectKey, source: BinaryIO) -> int:
        """Keep what `source` yields from its current position to its end; return the size of what is kept, in bytes.

        Where the key was there, that is the size of what was: the same data set may have come with other file meta.
        """
        ...

    def open(self, key: ObjectKey, *, offset: int = 0, length: int | None = None) -> BinaryIO:
        """Open a stream over `length` bytes from `offset`; both are cut at the object's end."""
        ...

    def size(self, key: ObjectKey) -> int:
        """Return the object's size in bytes."""
        ...

    def remove(self, key: ObjectKey) -> None:
        """Forget the object; a missing key is a no-op."""
        ...

    def keys(self) -> Iterator[ObjectKey]:
        """Yield every key once, in no particular order."""
        ...

    def ping(self) -> None:
        """Return if the store answers, raise `Unavailable` with a reason if it does not."""
        ...

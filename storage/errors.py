"""Errors of the archive.

StorageError
├── Rejected                 the sender's fault
│   └── CatalogueUnknown     a study, series, instance, job or result that is not here
│       └── CatalogueGone    it was here, and was removed for good
├── Damaged                  ours: what is kept is not what was received
│   ├── ObjectMissing
│   └── ObjectCorrupt
├── Misconfigured            ours: a URL or a folder that cannot work
└── Unavailable              the world's, for now: try again later
    ├── ObjectStoreUnavailable
    ├── ObjectOnItsWay
    ├── LandingFull
    ├── OutOfSpace
    │   └── HighWaterReached
    └── CatalogueUnavailable
"""

from __future__ import annotations


class StorageError(Exception):
    """The archive could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class Rejected(StorageError):
    """What was asked does not fit what is kept."""


class CatalogueUnknown(Rejected):
    """The catalogue holds nothing under this identifier."""


class CatalogueGone(CatalogueUnknown):
    """It was removed for good, on a person's word."""


class Damaged(StorageError):
    """What is kept is not what was received."""


class ObjectMissing(Damaged):
    """The object store holds nothing under this key."""


class ObjectCorrupt(Damaged):
    """The bytes under this key do not have the digest they were stored with."""


class Misconfigured(StorageError):
    """A storage setting cannot work; the message says which and what is expected."""


class Unavailable(StorageError):
    """Storage cannot answer at the moment; the same call may succeed later."""


class ObjectStoreUnavailable(Unavailable):
    """The object store does not answer; the same call may succeed later."""


class ObjectOnItsWay(Unavailable):
    """The object is still in the landing zone of another host; the same call will succeed once it is uploaded."""


class LandingFull(Unavailable):
    """The landing zone is full: the object store does not keep up, or is away; what is kept can be read."""


class OutOfSpace(Unavailable):
    """The object store has no room left; free some or add some."""


class HighWaterReached(OutOfSpace):
    """Less room is free than the high-water mark keeps; what is kept can be read, nothing more is taken in."""


class CatalogueUnavailable(Unavailable):
    """The catalogue database does not answer; the same call may succeed later."""

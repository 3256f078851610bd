"""A kept object read as a whole, and held against its digest before anybody uses it."""

from __future__ import annotations

import hashlib
from struct import unpack_from
from typing import TYPE_CHECKING

from storage.errors import ObjectCorrupt

if TYPE_CHECKING:
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord

_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
"""(0002,0000) File Meta Information Group Length, which stands first after preamble and prefix (PS3.10 7.1)."""
_AT = 132


def read_whole(objects: ObjectStore, instance: InstanceRecord) -> bytes:
    """Return the Part 10 bytes of a kept instance.

    Raises
    ------
    ObjectCorrupt
        They are not what was received (R-66).
    """
    with objects.open(instance.object_key) as stream:
        content = stream.read()
    view = memoryview(content)
    # A copy in a landing zone may have file meta of another length than the one that the row was entered with.
    for start in {instance.meta_bytes: None, meta_length(content): None}:
        if hashlib.sha256(view[start:]).hexdigest() == instance.object_key:
            return content
    raise ObjectCorrupt(f"object {instance.object_key} no longer has its digest")


def meta_length(content: bytes | memoryview) -> int:
    """Return where the data set begins, as the file itself says; its end where it does not."""
    if content[_AT : _AT + 8] != _GROUP_LENGTH or len(content) < _AT + 12:
        return len(content)
    return int(_AT + 12 + unpack_from("<I", content, _AT + 8)[0])

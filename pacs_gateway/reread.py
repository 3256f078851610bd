"""Reads a kept object again, for a catalogue that is made anew: our file meta information, then the header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pacs_gateway.errors import GatewayError
from pacs_gateway.header import HEAD_BYTES, read_header
from pacs_gateway.part10 import read_meta
from storage.rebuild import Found, Unreadable
from storage.records import Arrival, Origin

if TYPE_CHECKING:
    from pacs_gateway.part10 import FileMeta
    from storage.ports import ObjectStore
    from storage.records import ObjectKey

_META_BYTES = 4096
"""More than our own file meta information ever takes."""


def read_object(objects: ObjectStore, key: ObjectKey) -> Found:
    """Read an object as it arrived; `Unreadable` where it is no file that we would take in today."""

    def read(offset: int, length: int) -> bytes:
        with objects.open(key, offset=offset, length=length) as stream:
            return stream.read(length)

    start = read(0, _META_BYTES + HEAD_BYTES)
    try:
        meta = read_meta(start)
        header = read_header(
            start[meta.length :][:HEAD_BYTES],
            meta.transfer_syntax_uid,
            lambda offset, length: read(meta.length + offset, length),
        )
    except GatewayError as error:
        raise Unreadable(str(error)) from error
    arrival = Arrival(
        key=key, size_bytes=objects.size(key), meta_bytes=meta.length, header=header, origin=_origin(meta)
    )
    return Found(arrival=arrival, received=meta.received)


def _origin(meta: FileMeta) -> Origin:
    """Return where the instance came from, as far as its file tells: never the address or the user."""
    via = meta.via or ("dimse" if meta.calling_aet else "import")
    return Origin(via=via, calling_aet=meta.calling_aet, called_aet=meta.called_aet)

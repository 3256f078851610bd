"""The places of frames, remembered: in memory those asked for last, in the catalogue what was made ready."""

from __future__ import annotations

import threading
import zlib
from array import array
from collections import OrderedDict
from dataclasses import astuple
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

import orjson

from api.dicomweb.places import Places, locate
from api.dicomweb.source import reader
from api.dicomweb.walk import Kind, Step
from imaging.jobs import FrameForm
from storage.catalog import extracts

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.records import InstanceRecord

FORM: Final = 1
"""Of what is made once after ingest: raise it with whatever changes what metadata or `as_note` say, or `locate` finds.

What was made in another form is passed over, and made anew.
"""
MAX_REMEMBERED: Final = 500_000
"""Offsets kept in memory, 8 bytes each."""


class Atlas:
    """The places of the objects asked for last: objects never change, so these stay true.  For any thread."""

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        self._most = most
        self._held = 0
        self._known: OrderedDict[tuple[str, str], Places | None] = OrderedDict()
        self._lock = threading.Lock()

    def places(self, archive: Archive, instance: InstanceRecord) -> Places | None:
        """Return where an instance's frames are, None where it has none.

        Raises
        ------
        DataSetUnreadable
            The data set does not parse to its pixels, or they are not what its attributes say.
        """
        key = (instance.object_key, instance.transfer_syntax_uid)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = _noted(archive, instance) or locate(*reader(archive, instance), instance.transfer_syntax_uid)
        with self._lock:
            if key not in self._known:
                self._known[key] = found
                self._held += _weight(found)
            while self._held > self._most and len(self._known) > 1:
                self._held -= _weight(self._known.popitem(last=False)[1])
        return found


def _weight(places: Places | None) -> int:
    return 64 + (len(places.borders) if places else 0)


def _noted(archive: Archive, instance: InstanceRecord) -> Places | None:
    with archive.database.read() as tx:
        note = extracts.places_of(tx, instance, form=FORM)
    return None if note is None else from_note(note)


# ------------------------------------------------------------------------------------------------- in the catalogue
def as_note(places: Places) -> bytes:
    """Return places in few bytes: JSON, and behind it, squeezed, how far each border is from the one before."""
    step = places.pixels
    said = orjson.dumps(
        [
            astuple(places.form),
            places.count,
            places.header_bytes,
            [step.kind.name, *step[1:]],
            places.representative,
            places.burned_in,
        ]
    )
    if places.is_native:
        return said
    apart = array("Q", [places.borders[0], *(after - before for before, after in pairwise(places.borders))])
    return said + b"\n" + zlib.compress(b"".join(number.to_bytes(8, "little") for number in apart))


def from_note(note: bytes) -> Places:
    """Return the places that `as_note` wrote."""
    said, _, packed = note.partition(b"\n")
    form, count, header_bytes, (kind, *step), representative, burned_in = orjson.loads(said)
    apart = zlib.decompress(packed) if packed else b""
    numbers = (int.from_bytes(apart[at : at + 8], "little") for at in range(0, len(apart), 8))
    return Places(
        form=FrameForm(**dict(zip(FrameForm.__slots__, form, strict=True))),
        count=count,
        header_bytes=header_bytes,
        pixels=Step(Kind[kind], *step),
        borders=array("Q", accumulate(numbers)),
        representative=representative,
        burned_in=burned_in,
    )

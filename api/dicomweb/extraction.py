"""An extract: the metadata of consecutive instances as it leaves, made once after ingest and squeezed.

Addresses in metadata begin with the public base URL, which is a setting.  The text holds the one that was set when it
was made, and knows where: for another one it is put together anew, without being parsed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from struct import pack, unpack
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from api.dicomweb.atlas import FORM, as_note
from api.dicomweb.compression import Squeezed, squeezed
from api.dicomweb.kept import model_of
from api.dicomweb.places import Places, locate
from api.dicomweb.source import WINDOW, Read, Source, reader
from api.errors import DataSetUnreadable
from pacs_gateway.elements import Encoding, encoding_of
from storage.catalog.extracts import Extract
from storage.errors import Damaged

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.records import InstanceRecord, ObjectKey

MEMBERS: Final = 64
TEXT_BYTES: Final = 1024 * 1024
"""What one extract holds at most, but for a single instance: enough to squeeze well, little enough to cut from."""
LONGEST: Final = 8 * 1024 * 1024
"""Data sets with more than this before their pixels are left to the request that asks for them."""


class Made(NamedTuple):
    """One instance's metadata, its addresses still beginning with `token`, and where its frames are."""

    instance: InstanceRecord
    text: bytes
    token: bytes
    places: bytes | None


class Draft(NamedTuple):
    """An extract that is not kept yet."""

    instances: tuple[InstanceRecord, ...]
    extract: Extract
    content: bytes
    places: dict[ObjectKey, bytes]


def drafts(archive: Archive, series: Iterable[InstanceRecord], dicomweb_url: str) -> Iterator[Draft]:
    """Yield the extracts of a series' instances; those whose data set is not read ahead of requests are left out."""
    held: list[Made] = []
    for instance in series:
        made = make(archive, instance)
        if made is None:
            continue
        if held and (len(held) == MEMBERS or sum(len(one.text) for one in held) + len(made.text) > TEXT_BYTES):
            yield _draft(held, dicomweb_url)
            held = []
        held.append(made)
    if held:
        yield _draft(held, dicomweb_url)


def make(archive: Archive, instance: InstanceRecord) -> Made | None:
    """Return one instance's metadata and places; None where a request has to read the data set itself.

    That is where it is damaged, does not parse, is deflated as a whole, or has megabytes of attributes.
    """
    if encoding_of(instance.transfer_syntax_uid) is Encoding.DEFLATED:
        return None
    token = secrets.token_hex(16)  # what no data set can hold
    try:
        read, size = reader(archive, instance)
        read = _head_once(read)
        places = _places(read, size, instance)
        if (size if places is None else places.header_bytes) > LONGEST:
            return None
        model = model_of(archive, instance, token, source=Source(read, size))
    except (DataSetUnreadable, Damaged):
        return None
    return Made(instance, orjson.dumps(model), token.encode(), None if places is None else as_note(places))


def _places(read: Read, size: int, instance: InstanceRecord) -> Places | None:
    """Return where the frames are, None where there are none, or they cannot be found."""
    try:
        return locate(read, size, instance.transfer_syntax_uid)
    except DataSetUnreadable:
        return None


def _head_once(read: Read) -> Read:
    """Read the start of the data set once, for whoever begins there again."""
    head = read(0, WINDOW)

    def again(offset: int, length: int) -> bytes:
        within = head[offset : offset + length]
        return within if len(within) == length or len(head) < WINDOW else read(offset, length)

    return again


def _draft(made: Sequence[Made], dicomweb_url: str) -> Draft:
    base = in_text(dicomweb_url)
    texts: list[bytes] = []
    marks: list[int] = []
    position = 0
    for one in made:
        parts = one.text.split(one.token)
        ends = accumulate((len(part) + len(base) for part in parts[:-1]), initial=position)
        marks += [end + len(part) for end, part in zip(ends, parts[:-1], strict=False)]
        texts.append(base.join(parts))
        position += len(texts[-1]) + 1
    whole = squeezed(b",".join(texts))
    extract = Extract(
        form=FORM,
        members=tuple(one.instance.object_key for one in made),
        lengths=pack(f"<{len(texts)}I", *map(len, texts)),
        marks=pack(f"<{len(marks)}I", *marks),
        base_url=dicomweb_url,
        text_bytes=whole.text_bytes,
        crc=whole.crc,
        digest=hashlib.blake2b(whole.content, digest_size=16).digest(),
    )
    places = {one.instance.object_key: one.places for one in made if one.places is not None}
    return Draft(tuple(one.instance for one in made), extract, whole.content, places)


# ----------------------------------------------------------------------------------------------------- reading
def in_text(dicomweb_url: str) -> bytes:
    """Return a base URL as it stands in JSON."""
    return orjson.dumps(dicomweb_url)[1:-1]


def part_of(extract: Extract, content: bytes, start: int, stop: int, dicomweb_url: str) -> bytes | Squeezed:
    """Return the text of some of an extract's members, as it was squeezed where that is all of it."""
    whole = Squeezed(content, extract.crc, extract.text_bytes)
    is_ours = extract.base_url == dicomweb_url
    if is_ours and (start, stop) == (0, len(extract.members)):
        return whole
    begins = list(accumulate((length + 1 for length in _numbers(extract.lengths)), initial=0))
    first, last = begins[start], begins[stop] - 1
    text = whole.text
    if is_ours:
        return text[first:last]
    old, new = in_text(extract.base_url), in_text(dicomweb_url)
    pieces = []
    for mark in _numbers(extract.marks):
        if first <= mark < last:
            pieces.append(text[first:mark])
            first = mark + len(old)
    return new.join([*pieces, text[first:last]])


def _numbers(packed: bytes) -> tuple[int, ...]:
    return unpack(f"<{len(packed) // 4}I", packed)

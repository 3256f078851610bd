"""Where the frames of an object are, found by ranged reads; and one frame's bytes, with little else read for it.

Native frames are computed.  Encapsulated ones are found by the Extended Offset Table or the Basic Offset Table where
they tell of every frame, else by walking from fragment to fragment (PS3.5 A.4).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from struct import Struct
from typing import Final, NamedTuple

from api.dicomweb.explicit import value_pieces
from api.dicomweb.source import Read, Source
from api.dicomweb.walk import ITEM, PIXELS, SEQUENCE_END, UNDEFINED, Kind, Step, walk
from api.errors import PixelsUnreadable
from imaging.errors import DecodeRefused
from imaging.jobs import FrameForm
from imaging.syntaxes import syntax_of
from pacs_gateway.elements import encoding_of

MAX_FRAGMENTS: Final = 100_000
MAX_FRAMES: Final = 1_000_000
"""What is located of an encapsulated object; native frames are computed, however many there are."""

_FIRST_READ: Final = 16 * 1024
_LONGEST_READ: Final = 1024 * 1024
_HEAD_READ: Final = 4 * 1024
_ONE_READ: Final = 4 * 1024 * 1024
_LONGEST_UNIT: Final = 8
_HEAD: Final = Struct("<HHI")
_MAX_VALUE: Final = 64
_EXTENDED_OFFSETS: Final = 0x7FE00001
_FLOATING: Final = frozenset({0x7FE00008, 0x7FE00009})
_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")
"""What a frame of JPEG, JPEG-LS and JPEG 2000 begins with: the next frame's fragments begin there."""

_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
_ROWS, _COLUMNS, _ALLOCATED, _STORED, _HIGH = 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102
_SIGN, _BURNED_IN, _REPRESENTATIVE = 0x00280103, 0x00280301, 0x00286010
_WANTED: Final = frozenset(
    {
        *(_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES, _ROWS, _COLUMNS, _ALLOCATED, _STORED, _HIGH, _SIGN),
        *(_BURNED_IN, _REPRESENTATIVE),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the frames of one object are; offsets count from the start of its data set.

    `borders` holds the start of each encapsulated frame's first item, and the end of the last; it is empty where the
    frames are native.
    """

    form: FrameForm
    count: int
    header_bytes: int
    """The length of the data set before its pixels."""
    pixels: Step
    borders: Sequence[int]
    representative: int
    burned_in: bool
    has_icon_fragments: bool = False
    """Whether a sequence before the pixels holds compressed pixels too."""

    @property
    def is_native(self) -> bool:
        """Whether samples stand in the object as they are."""
        return not self.borders


# ----------------------------------------------------------------------------------------------------- finding
def locate(read: Read, size: int, transfer_syntax_uid: str) -> Places | None:
    """Return where the frames are, None where the data set has no pixels.

    Raises
    ------
    DataSetUnreadable
        The data set does not parse to its pixels, or they are not what its attributes say.
    """
    source = Source(_growing(read), size, window=1)
    values: dict[int, bytes] = {}
    offsets = pixels = None
    depth, has_icon_fragments = 0, False
    for step in walk(source, encoding_of(transfer_syntax_uid), until_pixels=True):
        depth += {Kind.SEQUENCE: 1, Kind.SEQUENCE_END: -1}.get(step.kind, 0)
        if depth or step.kind not in {Kind.VALUE, Kind.ENCAPSULATED}:
            has_icon_fragments |= step.kind is Kind.ENCAPSULATED
            continue
        if step.tag in PIXELS:
            pixels = step
        elif step.tag == _EXTENDED_OFFSETS:
            offsets = step
        elif step.tag in _WANTED and step.length <= _MAX_VALUE:
            values[step.tag] = source.take(step.start, step.length)
    if pixels is None or _ROWS not in values:
        return None
    return replace(
        _places(read, size, _Told(values, pixels, offsets, transfer_syntax_uid)), has_icon_fragments=has_icon_fragments
    )


def _growing(read: Read) -> Read:
    """Read a little, and more each time: most headers are short, some hold a megabyte of functional groups."""
    least = _FIRST_READ

    def grown(offset: int, length: int) -> bytes:
        nonlocal least
        given = read(offset, max(length, least))
        least = min(least * 2, _LONGEST_READ)
        return given

    return grown


class _Told(NamedTuple):
    """What the data set says before its pixels: attributes, where the pixels and extended offsets begin."""

    values: dict[int, bytes]
    pixels: Step
    offsets: Step | None
    transfer_syntax_uid: str

    def number(self, tag: int, default: int) -> int:
        """Return an attribute of VR US, in the byte order of the data set."""
        value = self.values.get(tag, b"")
        return int.from_bytes(value[:2], self.pixels.order) if len(value) >= 2 else default


def _places(read: Read, size: int, told: _Told) -> Places:
    syntax, pixels = syntax_of(told.transfer_syntax_uid), told.pixels
    count = _frame_count(told.values)
    if syntax.media_type.startswith("video/"):
        count = 1  # a stream as a whole: its frames lean on each other
    try:
        form = _form(told).check()
    except DecodeRefused as error:
        raise PixelsUnreadable(str(error)) from error
    borders: Sequence[int] = ()
    if pixels.kind is Kind.ENCAPSULATED:
        if count > MAX_FRAMES:
            raise PixelsUnreadable(f"more than {MAX_FRAMES} encapsulated frames")
        borders = _borders(read, size, told, count)
    chosen = told.number(_REPRESENTATIVE, 0)
    return Places(
        form=form,
        count=count,
        header_bytes=pixels.start - (12 if encoding_of(told.transfer_syntax_uid).explicit else 8),
        pixels=pixels,
        borders=borders,
        representative=chosen if 0 < chosen <= count else (count + 1) // 2,
        burned_in=told.values.get(_BURNED_IN, b"").strip() == b"YES",
    )


def _form(told: _Told) -> FrameForm:
    syntax, number = syntax_of(told.transfer_syntax_uid), told.number
    bits = number(_ALLOCATED, 0)
    stored = number(_STORED, bits)
    return FrameForm(
        codec=syntax.codec,
        rows=number(_ROWS, 0),
        columns=number(_COLUMNS, 0),
        samples=number(_SAMPLES, 1),
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=number(_HIGH, stored - 1),
        signed=number(_SIGN, 0) == 1,
        floating=told.pixels.tag in _FLOATING,
        photometric=told.values.get(_PHOTOMETRIC, b"").decode("ascii", "replace").strip("\0 "),
        planar=number(_PLANAR, 0) == 1,
        lossy=syntax.lossy,
    )


def _frame_count(values: dict[int, bytes]) -> int:
    """Return (0028,0008) Number of Frames; 1 where it is absent or empty."""
    text = values.get(_FRAMES, b"").strip(b"\0 ")
    if not text:
        return 1
    if not text.isdigit() or not 0 < int(text[:12]) <= 0x7FFFFFFF:
        raise PixelsUnreadable("the number of frames is not one that an image has")
    return int(text[:12])


def _borders(read: Read, size: int, told: _Told, count: int) -> Sequence[int]:
    """Return where each encapsulated frame begins, and where the last one ends at the latest."""
    pixels, offsets = told.pixels, told.offsets
    heads = Source(read, size, window=_HEAD_READ)
    table_length = item_length(heads, pixels.start)
    if table_length is None:
        raise PixelsUnreadable("the pixels have no offset table item")
    first = pixels.start + 8 + table_length
    if count == 1:  # all there is; the fragments end with their delimiter
        return (first, size)
    if offsets is not None and offsets.length == 8 * count:
        return _from_table(_array("Q", _exactly(read, offsets.start, offsets.length)), first, size)
    if table_length == 4 * count:
        return _from_table(_array("I", _exactly(read, pixels.start + 8, table_length)), first, size)
    return _walked(heads, first, count)


def _exactly(read: Read, offset: int, length: int) -> bytes:
    given = read(offset, length)
    if len(given) < length:
        raise PixelsUnreadable
    return given


def _array(code: str, content: bytes) -> array[int]:
    return array(code, content)


def _from_table(table: array[int], first: int, size: int) -> Sequence[int]:
    borders = array("Q", [first + offset for offset in table if offset < size])
    borders.append(size)
    if len(borders) != len(table) + 1 or table[0] != 0 or any(after <= before for before, after in pairwise(borders)):
        raise PixelsUnreadable("the offset table does not tell where the frames are")
    return borders


def _walked(heads: Source, position: int, count: int) -> Sequence[int]:
    """Return the borders of `count` frames by their fragments: one each, or begun by what an image begins with."""
    fragments, starts = array("Q"), array("Q")
    while (length := item_length(heads, position)) is not None:
        fragments.append(position)
        if heads.take(position + 8, min(length, 8)).startswith(_STARTS):
            starts.append(position)
        if len(fragments) > MAX_FRAGMENTS:
            raise PixelsUnreadable(f"more than {MAX_FRAGMENTS} fragments, and no offset table")
        position += 8 + length
    borders = fragments if len(fragments) == count else starts
    if len(borders) != count:
        raise PixelsUnreadable(f"{len(fragments)} fragments for {count} frames, and no offset table")
    borders.append(position)
    return borders


def item_length(heads: Source, position: int) -> int | None:
    """Return the length of a fragment, None at the delimiter behind the last one."""
    group, element, length = _HEAD.unpack(heads.take(position, 8))
    tag = group << 16 | element
    if tag == SEQUENCE_END:
        return None
    if tag != ITEM or length == UNDEFINED or position + 8 + length > heads.size:
        raise PixelsUnreadable("the pixels are not in fragments that can be followed")
    return int(length)


# ----------------------------------------------------------------------------------------------------- reading
def stored_pieces(read: Read, places: Places, number: int) -> Iterator[bytes]:
    """Yield frame `number`, from 1, as it is stored: encapsulated without item heads, native in little endian.

    Raises
    ------
    PixelsUnreadable
        The pixels end before the frame does, or its fragments cannot be followed.
    """
    if places.is_native:
        return _native_pieces(read, places, (number - 1) * places.form.native_bits, places.form.native_bits)
    return _fragments(read, places.borders[number - 1], places.borders[number])


def whole_value(read: Read, places: Places) -> Iterator[bytes]:
    """Yield all native frames, in little endian."""
    return _native_pieces(read, places, 0, places.count * places.form.native_bits)


def _fragments(read: Read, start: int, end: int) -> Iterator[bytes]:
    heads = Source(_until(read, end), end, window=min(end - start, _ONE_READ))
    position = start
    while position < end and (length := item_length(heads, position)) is not None:
        yield from heads.pieces(position + 8, length)
        position += 8 + length


def _until(read: Read, end: int) -> Read:
    return lambda offset, length: read(offset, min(length, end - offset))


def _native_pieces(read: Read, places: Places, first_bit: int, bits: int) -> Iterator[bytes]:
    """Yield bits of the value from a bit on; what does not begin at a byte is moved there (PS3.5 8.1.1)."""
    if first_bit + bits > places.pixels.length * 8:
        raise PixelsUnreadable("the pixels end before this frame does")
    begin, end = first_bit // 8, (first_bit + bits + 7) // 8
    # In big endian a frame may begin inside a word whose bytes are to be turned.
    over = begin % _LONGEST_UNIT if places.pixels.order == "big" else 0
    last = min(places.pixels.length, end + (-end) % _LONGEST_UNIT) if places.pixels.order == "big" else end
    step = places.pixels._replace(start=places.pixels.start + begin - over, length=last - begin + over)
    stop = step.start + step.length
    pieces = value_pieces(Source(_until(read, stop), stop, window=min(step.length, _ONE_READ)), step)
    if not over and last == end and not first_bit % 8 and not bits % 8:
        return iter(pieces)
    return iter((_moved(b"".join(pieces)[over : over + end - begin], first_bit % 8, bits),))


def _moved(content: bytes, shift: int, bits: int) -> bytes:
    """Return `bits` bits of `content` from bit `shift` on, the last byte filled with zeros."""
    number = int.from_bytes(content, "little") >> shift & ((1 << bits) - 1)
    return number.to_bytes((bits + 7) // 8, "little")

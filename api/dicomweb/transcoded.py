"""An instance in another transfer syntax: its pixels decoded and compressed anew without a loss, its data set kept.

What must change with the pixels changes (PS3.5 8.2, A.4): photometric interpretation, planar configuration, fragments
and offset tables.  The SOP Instance UID stays, because the pixels do.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from struct import Struct
from typing import TYPE_CHECKING, Final

from api.dicomweb.explicit import EXPLICIT_LITTLE_UID, head, is_for_web, reframed, value_pieces
from api.dicomweb.kept import signed
from api.dicomweb.places import item_length
from api.dicomweb.source import Checked, Source, stored
from api.dicomweb.streams import gathered
from api.dicomweb.walk import ITEM, PIXELS, SEQUENCE_END, UNDEFINED, Kind, Step, walk
from api.errors import PixelsUnreadable
from imaging import Decode, Encode
from imaging.jobs import MAX_FRAME_BYTES
from imaging.syntaxes import syntax_of
from imaging.targets import TARGETS, is_by_pixel, photometric_of, unfit
from pacs_gateway.elements import Encoding, encoding_of
from pacs_gateway.part10 import write_meta
from storage.records import Origin

if TYPE_CHECKING:
    from api.context import ApiContext
    from api.dicomweb.places import Places
    from storage.records import InstanceRecord

MADE: Final = frozenset({EXPLICIT_LITTLE_UID, *TARGETS})
"""The transfer syntaxes that instances can be asked for in, whatever they are kept in."""

_PIXEL_DATA: Final = 0x7FE00010
_PHOTOMETRIC, _PLANAR, _LOSSY = 0x00280004, 0x00280006, 0x00282110
_OFFSETS: Final = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003})
"""Extended Offset Table, its lengths, and the length of all: true of the fragments that were."""
_ITEM: Final = Struct("<HHI")
_NO_OFFSETS: Final = _ITEM.pack(ITEM >> 16, ITEM & 0xFFFF, 0)
_END: Final = _ITEM.pack(SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)
_ALWAYS_LOSSY: Final = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55))


def refusal(context: ApiContext, one: InstanceRecord, transfer_syntax_uid: str) -> str:
    """Return why an instance is not given in another transfer syntax, empty where it is.

    Raises
    ------
    DataSetUnreadable
        It does not parse to its pixels.
    """
    if transfer_syntax_uid not in MADE:
        return "that is not made here"
    places = context.atlas.places(context.archive, one)
    if places is None:
        return "" if transfer_syntax_uid == EXPLICIT_LITTLE_UID else "it has no pixels to compress"
    return _pixel_refusal(one, places, TARGETS.get(transfer_syntax_uid, ""))


def _pixel_refusal(one: InstanceRecord, places: Places, encoder: str) -> str:
    if places.has_icon_fragments:
        return "an image within its sequences is compressed as well"
    if not places.form.codec:
        return f"its frames are not decoded: {syntax_of(one.transfer_syntax_uid).reason}"
    if encoder:
        return unfit(places.form, encoder)
    length = 0 if places.is_native else places.count * places.form.decoded_bits // 8
    return "its pixels are too long to stand in one value" if length >= UNDEFINED - 1 else ""


def transcoded(context: ApiContext, one: InstanceRecord, transfer_syntax_uid: str) -> Iterator[bytes]:
    """Yield an instance as a DICOM file in another transfer syntax; `refusal` must have found nothing against it.

    One frame is held at a time.  The object's digest is checked before the last piece.

    Raises
    ------
    DataSetUnreadable
        The data set, or its fragments, cannot be followed to the end.
    imaging.errors.ImagingError
        A frame is not what its attributes say, or finds no decoder.
    storage.errors.ObjectCorrupt
        The object's bytes are not those that were received.
    """
    is_signed = not is_for_web(one.transfer_syntax_uid) and signed(context.archive, one)
    places = context.atlas.places(context.archive, one)
    yield write_meta(transfer_syntax_uid, one.sop_class_uid, one.sop_instance_uid, Origin(via="self"))
    if encoding_of(one.transfer_syntax_uid) is Encoding.DEFLATED:
        checked, source = None, stored(context.archive, one)  # checked while it was inflated
    else:
        checked = Checked(context.archive, one)
        source = Source(checked, one.size_bytes - one.meta_bytes)
    writing = _Writing(context, one, places, TARGETS.get(transfer_syntax_uid, ""))
    yield from gathered(writing.data_set(source, is_signed=is_signed))
    if checked is not None:
        checked.finish()


class _Writing:
    """One instance on its way out, its frames compressed by `encoder`, or native where that is empty."""

    def __init__(self, context: ApiContext, one: InstanceRecord, places: Places | None, encoder: str) -> None:
        self._context = context
        self._encoding = encoding_of(one.transfer_syntax_uid)
        self._places = places
        self._encoder = encoder
        self._changes = {} if places is None else _changes(one, places, encoder)

    def data_set(self, source: Source, *, is_signed: bool) -> Iterator[bytes]:
        """Yield the data set: what stands before the pixels, the pixels, and what stands behind them."""
        depth, end = 0, source.size
        for step in walk(source, self._encoding, signed=is_signed, until_pixels=True):
            if depth == 0:
                yield from self._due(step.tag)
            if depth or step.kind is Kind.SEQUENCE:
                depth += {Kind.SEQUENCE: 1, Kind.SEQUENCE_END: -1}.get(step.kind, 0)
                yield from reframed(source, step)
            elif step.tag in PIXELS:
                end = yield from self._pixels(source, step)
            else:
                yield from self._top(source, step)
        behind = Source(
            lambda offset, length: source.take(end + offset, min(length, source.size - end - offset)), source.size - end
        )
        for step in walk(behind, self._encoding, signed=is_signed):
            yield from reframed(behind, step)

    def _due(self, tag: int) -> Iterator[bytes]:
        """Yield what is new and stands before `tag`."""
        for new in sorted(new for new in self._changes if new < tag):
            yield self._changes.pop(new)

    def _top(self, source: Source, step: Step) -> Iterator[bytes]:
        """Yield an attribute as it is, or what it has become."""
        changed = self._changes.pop(step.tag, None)
        if changed is not None and not (step.tag == _LOSSY and step.length):
            yield changed
        elif step.tag not in _OFFSETS:
            yield from reframed(source, step)

    def _pixels(self, source: Source, step: Step) -> Generator[bytes, None, int]:
        """Yield the pixels in their new form; return where they end in the old one."""
        places = self._places
        if step.kind is Kind.ENCAPSULATED:
            if places is None:
                raise PixelsUnreadable
            fragments = _Fragments(source, places)
            yield from self._compressed(fragments) if self._encoder else self._native(fragments, places)
            return fragments.position
        if self._encoder and places is not None:
            yield from self._compressed(_native_frames(source, step, places))
        else:
            yield from reframed(source, step)
        return step.start + step.length

    def _compressed(self, frames: Iterable[bytes]) -> Iterator[bytes]:
        """Yield each frame as one fragment, behind an empty Basic Offset Table: where they begin is not known yet."""
        yield head(_PIXEL_DATA, b"OB", UNDEFINED) + _NO_OFFSETS
        for frame in frames:
            made = self._run(frame)
            yield _ITEM.pack(ITEM >> 16, ITEM & 0xFFFF, len(made) + len(made) % 2) + made + bytes(len(made) % 2)
        yield _END

    def _native(self, frames: Iterable[bytes], places: Places) -> Iterator[bytes]:
        """Yield all frames as one value, frames of 1-bit pixels without a gap between them (PS3.5 8.1.1)."""
        bits = places.form.decoded_bits
        length = (places.count * bits + 7) // 8
        yield head(_PIXEL_DATA, b"OW" if places.form.bits_allocated > 8 else b"OB", length + length % 2)
        made = map(self._run, frames)
        yield from made if bits % 8 == 0 else _closed_up(made, bits)
        yield bytes(length % 2)

    def _run(self, frame: bytes) -> bytes:
        assert self._places is not None  # noqa: S101 - there are frames
        form = self._places.form
        job = Encode(form=form, frame=frame, encoder=self._encoder) if self._encoder else Decode(form=form, frame=frame)
        return self._context.decoders.run(job, patient=True)


def _changes(one: InstanceRecord, places: Places, encoder: str) -> dict[int, bytes]:
    """Return the attributes that change with the pixels, as elements: replaced, or put where they were missing."""
    if places.is_native and not encoder:
        return {}
    form, made = places.form, {}
    photometric = photometric_of(form, encoder)
    if photometric != form.photometric:
        made[_PHOTOMETRIC] = _element(_PHOTOMETRIC, b"CS", photometric.encode() + b" " * (len(photometric) % 2))
    if encoder and form.planar and is_by_pixel(form, encoder):
        made[_PLANAR] = _element(_PLANAR, b"US", b"\0\0")
    if one.transfer_syntax_uid in _ALWAYS_LOSSY:  # what only the transfer syntax told so far
        made[_LOSSY] = _element(_LOSSY, b"CS", b"01")
    return made


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    return head(tag, vr, len(value)) + value


# ----------------------------------------------------------------------------------------------------- frames, forward
class _Fragments:
    """The frames of encapsulated pixels, read forward; `position` is where the pixels end, once all have been read."""

    def __init__(self, source: Source, places: Places) -> None:
        self._source = source
        self._borders = places.borders
        self.position = places.borders[0]

    def __iter__(self) -> Iterator[bytes]:
        """Yield each frame, without item heads."""
        for end in self._borders[1:]:
            held = bytearray()
            while self.position < end and (length := item_length(self._source, self.position)) is not None:
                if len(held) + length > MAX_FRAME_BYTES:
                    raise PixelsUnreadable(f"a frame of more than {MAX_FRAME_BYTES} compressed bytes")
                for piece in self._source.pieces(self.position + 8, length):
                    held += piece
                self.position += 8 + length
            yield bytes(held)
        while (length := item_length(self._source, self.position)) is not None:
            self.position += 8 + length
        self.position += 8


def _native_frames(source: Source, step: Step, places: Places) -> Iterator[bytes]:
    """Yield each frame of native pixels, in little endian; what is compressed has whole bytes."""
    size = places.form.native_bits // 8
    pieces, held = iter(value_pieces(source, step)), bytearray()
    for _ in range(places.count):
        while len(held) < size and (piece := next(pieces, b"")):
            held += piece
        if len(held) < size:
            raise PixelsUnreadable("the pixels end before the last frame does")
        yield bytes(memoryview(held)[:size])
        del held[:size]
    for _ in pieces:  # padding behind the last frame: read, for the digest is over it too
        pass


def _closed_up(frames: Iterable[bytes], bits: int) -> Iterator[bytes]:
    """Yield frames of `bits` bits without the gaps that round each up to a byte."""
    held, count = 0, 0
    for frame in frames:
        held |= (int.from_bytes(frame, "little") & ((1 << bits) - 1)) << count
        whole, count = divmod(count + bits, 8)
        yield (held & ((1 << 8 * whole) - 1)).to_bytes(whole, "little")
        held >>= 8 * whole
    yield held.to_bytes((count + 7) // 8, "little")

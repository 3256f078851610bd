"""One image of a stack: an instance, or a frame of an enhanced multi-frame one, with what its header says of it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from inference.errors import NotSuitable
from storage.whole import read_whole

if TYPE_CHECKING:
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord

READERS = 8
HEAD_BYTES = 64 * 1024
"""How much of an object is read for its header; an object whose header is longer is read whole."""

PARSE_ERRORS = (
    InvalidDicomError, ValueError, KeyError, NotImplementedError, AttributeError, EOFError, TypeError, OSError,
    IndexError, OverflowError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""What pydicom and its plug-ins raise for a file that lies, breaks off or needs a decoder that is not here."""

_TAGS = [
    "AcquisitionNumber",
    "BitsAllocated",
    "BitsStored",
    "BodyPartExamined",
    "BurnedInAnnotation",
    "Columns",
    "ContrastBolusAgent",
    "ContrastBolusAgentSequence",
    "ConvolutionKernel",
    "EchoNumbers",
    "HighBit",
    "ImageType",
    "KVP",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "Modality",
    "NumberOfFrames",
    "PatientAge",
    "PatientBirthDate",
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PerFrameFunctionalGroupsSequence",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "PixelRepresentation",
    "PixelSpacing",
    "PresentationIntentType",
    "ProtocolName",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "Rows",
    "SamplesPerPixel",
    "SeriesDescription",
    "SharedFunctionalGroupsSequence",
    "StudyDate",
    "StudyDescription",
    "TemporalPositionIdentifier",
    "ViewPosition",
    "ViewCodeSequence",
]

Place = tuple[float, ...]
_Said = tuple[str, tuple[tuple[int, str | None, object], ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """One image that may be part of a stack.

    `frame` counts from zero within a multi-frame instance and is None for a single-frame one.  Position and
    orientation are (0020,0032) and (0020,0037), LPS millimetres, None where the header lacks them.  `head` is the
    header without pixels, shared by the frames of an instance, and `opening` the bytes that it was parsed from: what
    follows them in the file begins with the pixels.
    """

    instance: InstanceRecord
    frame: int | None
    image_position_patient: Place | None
    image_orientation_patient: Place | None
    image_type: tuple[str, ...]
    kernel: str
    acquisition: str
    energy: str
    phase: str
    head: Dataset
    opening: bytes


def read_slices(instances: Sequence[InstanceRecord], objects: ObjectStore) -> list[Slice]:
    """Give every image of some instances, in their order.

    Raises
    ------
    NotSuitable
        ``decode_error``: a header does not parse; ``multi_frame``: its frames are not told apart.
    """
    known: dict[_Said, Dataset] = {}
    with ThreadPoolExecutor(READERS) as pool:
        heads = list(pool.map(lambda instance: read_head(instance, objects, known), instances))
    try:
        return [one for instance, head in zip(instances, heads, strict=True) for one in _images(instance, *head)]
    except PARSE_ERRORS as error:
        raise NotSuitable("decode_error", type(error).__name__) from error


def read_head(instance: InstanceRecord, objects: ObjectStore, known: dict[_Said, Dataset]) -> tuple[Dataset, bytes]:
    """Read a header, and give the bytes it was parsed from; `NotSuitable` (decode_error) where it does not parse.

    Of what `known` holds a header that says the same is given: the slices of a series mostly do.
    The first bytes are not held against the digest: what is chosen by them is read whole, and is, before a model sees
    it.  A header that seems damaged or long is read whole at once.
    """
    with objects.open(instance.object_key, length=HEAD_BYTES) as stream:
        content = stream.read()
    try:
        head, opening = _parse(content, known)
        if len(opening) < len(content):
            return head, opening
    except PARSE_ERRORS:
        pass  # told below, where the whole of it does not parse either
    try:
        return _parse(read_whole(objects, instance), known)
    except PARSE_ERRORS as error:
        raise NotSuitable("decode_error", type(error).__name__) from error


def _parse(content: bytes, known: dict[_Said, Dataset]) -> tuple[Dataset, bytes]:
    """Parse a header with every value in it: pydicom would else find out at first use that one is malformed."""
    buffer = io.BytesIO(content)
    head = pydicom.dcmread(buffer, stop_before_pixels=True, specific_tags=list(_TAGS))
    opening = content[: buffer.tell()]
    said = _said(head)
    if said is not None and said in known:
        return known[said], opening
    for _ in head.iterall():
        pass
    if said is not None:
        known[said] = head
    return head, opening


def _said(head: Dataset) -> _Said | None:
    """Give all that a header that was just parsed says, as it lies in the file; None where it has sequences."""
    elements = list(head.values())
    if any(element.VR == "SQ" for element in elements):
        return None
    syntax = str(head.file_meta.get("TransferSyntaxUID", ""))
    raw = [isinstance(element, RawDataElement) for element in elements]
    values = [each.value if as_it_lies else str(each.value) for each, as_it_lies in zip(elements, raw, strict=True)]
    return syntax, tuple((int(each.tag), each.VR, value) for each, value in zip(elements, values, strict=True))


# ------------------------------------------------------------------------------------------------ functional groups
def functional(head: Dataset, frame: int, name: str) -> Dataset:
    """Give a frame's functional group (PS3.3 C.7.6.16), its own before the shared one; empty where neither is there."""
    per_frame = head.get("PerFrameFunctionalGroupsSequence") or ()
    own = per_frame[frame] if frame < len(per_frame) else Dataset()
    shared = (head.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for groups in (own, shared):
        if items := groups.get(name):
            return items[0]  # type: ignore[no-any-return]
    return Dataset()


def _images(instance: InstanceRecord, head: Dataset, opening: bytes) -> Iterator[Slice]:
    if "PerFrameFunctionalGroupsSequence" not in head:
        if (instance.number_of_frames or 1) > 1:
            raise NotSuitable("multi_frame", "frames without functional groups have no place")
        yield _single(instance, head, opening)
        return
    for frame in range(instance.number_of_frames or len(head.PerFrameFunctionalGroupsSequence)):
        yield _frame(instance, head, opening, frame)


def _single(instance: InstanceRecord, head: Dataset, opening: bytes) -> Slice:
    return Slice(
        instance=instance,
        frame=None,
        image_position_patient=instance.image_position_patient,
        image_orientation_patient=instance.image_orientation_patient,
        image_type=instance.image_type,
        kernel=first_text(head, "ConvolutionKernel"),
        acquisition=first_text(head, "AcquisitionNumber"),
        energy=first_text(head, "KVP"),
        phase="/".join(first_text(head, name) for name in ("TemporalPositionIdentifier", "EchoNumbers")),
        head=head,
        opening=opening,
    )


def _frame(instance: InstanceRecord, head: Dataset, opening: bytes, frame: int) -> Slice:
    content = functional(head, frame, "FrameContentSequence")
    kind = functional(head, frame, "CTImageFrameTypeSequence").get("FrameType") or instance.image_type
    return Slice(
        instance=instance,
        frame=frame,
        image_position_patient=_floats(functional(head, frame, "PlanePositionSequence"), "ImagePositionPatient"),
        image_orientation_patient=_floats(
            functional(head, frame, "PlaneOrientationSequence"), "ImageOrientationPatient"
        ),
        image_type=tuple(kind),
        kernel=first_text(functional(head, frame, "CTReconstructionSequence"), "ConvolutionKernel"),
        acquisition=first_text(content, "FrameAcquisitionNumber"),
        energy=first_text(functional(head, frame, "CTXRayDetailsSequence"), "KVP"),
        phase="/".join(first_text(content, name) for name in ("TemporalPositionIndex", "StackID")),
        head=head,
        opening=opening,
    )


def first_text(head: Dataset, name: str) -> str:
    """Give an attribute's first value as text, empty where it is absent."""
    value = head.get(name)
    if value is None or value == "":
        return ""
    return str(value if isinstance(value, str) or not isinstance(value, Sequence) else next(iter(value), ""))


def _floats(group: Dataset, name: str) -> Place | None:
    values = group.get(name)
    return tuple(float(value) for value in values) if values else None

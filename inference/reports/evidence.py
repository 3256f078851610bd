"""The images that a result speaks of: the headers that its objects take over, and the key image as it is displayed."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError

from imaging import FrameForm, Picture, Render
from imaging.errors import DecodeRefused, DecoderLost
from imaging.syntaxes import syntax_of
from inference.errors import ReportImpossible
from storage.whole import meta_length, read_whole

if TYPE_CHECKING:
    from imaging import Decoders
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord

_TRIES: Final = 4
"""So many images are asked for the study's identity before a result is given up."""
_DECODERS: Final = 2
"""So many decoders may be lost over a key image."""
_SIDE: Final = 1024
"""Pixels of the longer side of a key image: a preview, not the image."""
_ALWAYS: Final = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName"),
)
"""Type 2 of patient and study (PS3.3 C.7.1.1, C.7.2.1): there, if empty, whatever the image lacks."""
_UNREADABLE: Final = (InvalidDicomError, ValueError, KeyError, NotImplementedError, AttributeError, EOFError, TypeError)


def images_of(
    instances: Sequence[InstanceRecord], objects: ObjectStore, *, whole: Collection[str] = ()
) -> list[Dataset]:
    """Return the data sets of instances without their pixels, in order.

    The first that can be read and those named in `whole` have every attribute, and the first of these stands first;
    of the others only what names them is there, so that a CT is not read a second time.

    Raises
    ------
    ReportImpossible
        None of the first few can be read.
    Damaged, Unavailable
        An object is not what was received, or cannot be had for now.
    """
    teller, told = _teller(instances, objects)
    read = {teller.sop_instance_uid: told}
    for instance in instances:
        if instance.sop_instance_uid in whole and instance is not teller:
            read[instance.sop_instance_uid] = _header(read_whole(objects, instance))
    named = [read.get(instance.sop_instance_uid) or _name_of(instance) for instance in instances]
    return [told, *(each for each in named if each is not told)]


def picture_of(instance: InstanceRecord, objects: ObjectStore, decoders: Decoders) -> npt.NDArray[np.uint8] | None:
    """Return an image as a viewer first shows it, uint8, rows x columns x 3; None where it cannot be displayed."""
    content = read_whole(objects, instance)
    file = io.BytesIO(content)
    header = pydicom.dcmread(file, stop_before_pixels=True)
    start, end = meta_length(content), file.tell()
    image = pydicom.dcmread(io.BytesIO(content))
    syntax = header.file_meta.TransferSyntaxUID
    pixels = image.get("PixelData")
    if pixels is None:
        return None
    job = Render(
        form=_form(image, str(syntax)),
        frame=next(generate_frames(pixels, number_of_frames=1)) if syntax.is_encapsulated else pixels,
        header=content[start:end],
        implicit=syntax.is_implicit_VR,
        little=syntax.is_little_endian,
        number=1,
        picture=Picture(media_type="image/png", viewport=_viewport(image)),
    )
    shown = _shown(job, decoders)
    return None if shown is None else np.asarray(Image.open(io.BytesIO(shown)).convert("RGB"), dtype=np.uint8)


def _shown(job: Render, decoders: Decoders) -> bytes | None:
    """Return a picture, None where no decoder takes the frame: the finding stands without one."""
    for _ in range(_DECODERS):
        try:
            return decoders.run(job, patient=True)
        except DecodeRefused:
            return None
        except DecoderLost:  # by this frame, or by somebody's kill: the next one tells
            continue
    return None


def _teller(instances: Sequence[InstanceRecord], objects: ObjectStore) -> tuple[InstanceRecord, Dataset]:
    last: Exception | None = None
    for instance in instances[:_TRIES]:
        try:
            return instance, _header(read_whole(objects, instance))
        except _UNREADABLE as error:
            last = error
    raise ReportImpossible("no image tells whose study it is") from last


def _header(content: bytes) -> Dataset:
    header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    for keyword in _ALWAYS:
        if keyword not in header:
            setattr(header, keyword, None)
    return header


def _name_of(instance: InstanceRecord) -> Dataset:
    named = Dataset()
    named.SOPClassUID, named.SOPInstanceUID = instance.sop_class_uid, instance.sop_instance_uid
    named.StudyInstanceUID, named.SeriesInstanceUID = instance.study_instance_uid, instance.series_instance_uid
    return named


def _form(image: Dataset, transfer_syntax_uid: str) -> FrameForm:
    syntax = syntax_of(transfer_syntax_uid)
    bits = int(image.BitsAllocated)
    stored = int(image.get("BitsStored", bits))
    return FrameForm(
        codec=syntax.codec,
        rows=int(image.Rows),
        columns=int(image.Columns),
        samples=int(image.get("SamplesPerPixel", 1)),
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=int(image.get("HighBit", stored - 1)),
        signed=image.get("PixelRepresentation", 0) == 1,
        photometric=str(image.get("PhotometricInterpretation", "")),
        planar=image.get("PlanarConfiguration", 0) == 1,
        lossy=syntax.lossy,
    )


def _viewport(image: Dataset) -> tuple[int, int] | None:
    return (_SIDE, _SIDE) if max(int(image.Rows), int(image.Columns)) > _SIDE else None

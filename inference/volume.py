"""Stored instances to the arrays a model takes: Hounsfield units with geometry, or a radiograph as it is displayed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from inference.displayed import decoded, displayed_radiograph
from inference.errors import NotSuitable
from inference.geometry import slice_normal, slice_positions_mm
from inference.pixels import Stored, pixels_after, stored_pixels
from inference.slices import PARSE_ERRORS, READERS, Slice, first_text, functional
from inference.stored import is_padding, stored_values
from inference.voxels import MEMORY, Floats
from models.contract import Radiograph, Volume
from storage.whole import read_whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from inference.selection import Selected
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord

_AIR_HU = -1024.0


def load_volume(selected: Selected, objects: ObjectStore) -> Volume:
    """Read the slices of a stack, several at a time, and stack them in the order selected.

    Where one slice is missing and the card allows it, the mean of its neighbours stands in, under the name of the one
    below.

    Raises
    ------
    NotSuitable
        ``decode_error``, ``not_grayscale``, ``mixed_matrix`` or ``no_geometry``.
    """
    images = selected.images
    spacings = {_pixel_spacing(image) for image in images}
    if len(spacings) != 1:
        raise NotSuitable("mixed_matrix")
    if (spacing := spacings.pop()) is None:
        raise NotSuitable("no_geometry")
    order = sorted([*range(len(images)), *selected.filled])
    voxels = _read_all(images, selected.instances, order, objects)
    for at in selected.filled:
        place = order.index(at)
        voxels[place + 1] = (voxels[place] + voxels[place + 2]) / 2
    return Volume(
        voxels=voxels,
        spacing_mm=(_step_mm(images), *spacing),
        affine_lps=_affine(images, len(order), *spacing),
        instance_uids=tuple(str(images[at].instance.sop_instance_uid) for at in order),
    )


def _read_all(
    images: Sequence[Slice], instances: Sequence[InstanceRecord], order: Sequence[int], objects: ObjectStore
) -> Floats:
    """Read the instances, several at a time, each slice to its place: the stack is in memory once."""
    slices_of: dict[str, list[int]] = defaultdict(list)
    for at, image in enumerate(images):
        slices_of[image.instance.sop_instance_uid].append(at)
    place_of = {at: order.index(at) for at in range(len(images))}  # the first: where one is filled, it comes after

    def planes(instance: InstanceRecord) -> Iterator[tuple[int, _Plane]]:
        here = slices_of[instance.sop_instance_uid]
        yield from zip(here, _planes([images[at] for at in here], objects), strict=True)

    first, *others = instances
    known = list(planes(first))
    shape = known[0][1].stored.shape
    voxels = MEMORY.lend((len(order), *shape))

    def place(found: Iterable[tuple[int, _Plane]]) -> None:
        for at, plane in found:
            if plane.stored.shape != shape:
                raise NotSuitable("mixed_matrix")
            plane.write_hounsfield(voxels[place_of[at]])

    place(known)
    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(lambda instance: place(planes(instance)), others))
    return voxels


def load_radiograph(selected: Selected, objects: ObjectStore) -> Radiograph:
    """Read one radiograph as it is displayed, turned upright where the pixels told how it lies.

    Raises
    ------
    NotSuitable
        ``decode_error``, ``not_grayscale`` or ``flat_image``.
    """
    (image,) = selected.images
    pixels = displayed_radiograph(image.instance, objects)
    if selected.upright is not None:
        pixels = selected.upright.turn(pixels)
    view = first_text(image.head, "ViewPosition") or None
    return Radiograph(pixels=pixels, instance_uid=str(image.instance.sop_instance_uid), view=view)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plane:
    """One slice as stored: values x (0028,1053) Rescale Slope + (0028,1052) Rescale Intercept are Hounsfield units."""

    stored: Stored
    slope: float
    intercept: float
    padding: npt.NDArray[np.bool_] | None

    def write_hounsfield(self, out: Floats) -> None:
        """Write Hounsfield units to float32 `out` of the same shape, padding and what is below air as air."""
        np.multiply(self.stored, np.float32(self.slope), out=out, dtype=np.float32, casting="unsafe")
        out += np.float32(self.intercept)
        if self.padding is not None:
            out[self.padding] = _AIR_HU
        np.maximum(out, np.float32(_AIR_HU), out=out)


def _planes(images: Sequence[Slice], objects: ObjectStore) -> Iterator[_Plane]:
    """Read one instance, held against its digest, and give the slices that it holds.

    Where its header still stands as it was parsed and the pixels lie plainly after it, nothing is parsed again.
    """
    image = images[0]
    content = read_whole(objects, image.instance)
    if image.frame is None and content.startswith(image.opening):
        pixels = pixels_after(image.head, content, len(image.opening))
        if pixels is not None:
            yield _plane(image.head, None, pixels)
            return
    data_set = decoded(content)
    for one in images:
        yield _plane_of(data_set, one.frame)


def _plane_of(data_set: Dataset, frame: int | None) -> _Plane:
    try:
        pixels = stored_pixels(data_set)
        one = pixels if frame is None or pixels.ndim == 2 else pixels[frame]  # a single frame has no axis of its own
        stored = stored_values(data_set, one)
    except PARSE_ERRORS as error:
        raise NotSuitable("decode_error", type(error).__name__) from error
    return _plane(data_set, frame, stored)


def _plane(head: Dataset, frame: int | None, stored: Stored) -> _Plane:
    try:
        scale = head if frame is None else functional(head, frame, "PixelValueTransformationSequence")
        slope, intercept = float(scale.get("RescaleSlope", 1)), float(scale.get("RescaleIntercept", 0))
        padding = is_padding(head, stored)
    except PARSE_ERRORS as error:
        raise NotSuitable("decode_error", type(error).__name__) from error
    if stored.ndim != 2:
        raise NotSuitable("not_grayscale")
    return _Plane(stored=stored, slope=slope, intercept=intercept, padding=padding)


def _pixel_spacing(image: Slice) -> tuple[float, float] | None:
    where = image.head if image.frame is None else functional(image.head, image.frame, "PixelMeasuresSequence")
    told = where.get("PixelSpacing")
    return (round(float(told[0]), 6), round(float(told[1]), 6)) if told else None


def _step_mm(images: Sequence[Slice]) -> float:
    positions = slice_positions_mm(images)
    if positions is None:
        raise NotSuitable("no_geometry")
    return float(np.median(np.abs(np.diff(positions))))


def _affine(images: Sequence[Slice], count: int, row_mm: float, column_mm: float) -> npt.NDArray[np.float64]:
    """Return the map from (column, row, slice) to LPS millimetres (PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1)."""
    orientation = images[0].image_orientation_patient or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    first = np.array(images[0].image_position_patient, dtype=np.float64)
    last = np.array(images[-1].image_position_patient, dtype=np.float64)
    affine = np.eye(4)
    affine[:3, 0] = np.array(orientation[:3]) * column_mm
    affine[:3, 1] = np.array(orientation[3:]) * row_mm
    affine[:3, 2] = (last - first) / (count - 1) if count > 1 else slice_normal(orientation)
    affine[:3, 3] = first
    return affine

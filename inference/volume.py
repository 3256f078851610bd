"""Stored instances to the arrays a model takes: Hounsfield units with geometry, or a radiograph as it is displayed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from inference.displayed import displayed_radiograph, read_image
from inference.errors import NotSuitable
from inference.geometry import slice_normal, slice_positions_mm
from inference.pixels import stored_pixels
from inference.slices import PARSE_ERRORS, READERS, Slice, first_text, functional
from inference.stored import is_padding, stored_values
from models.contract import Radiograph, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from inference.selection import Selected
    from storage.ports import ObjectStore
    from storage.records import InstanceRecord

Floats = npt.NDArray[np.float32]

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

    def planes(instance: InstanceRecord) -> Iterator[tuple[int, Floats]]:
        data_set = read_image(instance, objects)
        for at in slices_of[instance.sop_instance_uid]:
            yield order.index(at), _hounsfield(data_set, images[at].frame)

    first, *others = instances
    known = list(planes(first))
    shape = known[0][1].shape
    voxels = np.empty((len(order), *shape), dtype=np.float32)

    def place(found: Iterable[tuple[int, Floats]]) -> None:
        for at, plane in found:
            if plane.shape != shape:
                raise NotSuitable("mixed_matrix")
            voxels[at] = plane

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


def _hounsfield(data_set: Dataset, frame: int | None) -> Floats:
    """Return stored values x (0028,1053) Rescale Slope + (0028,1052) Rescale Intercept, padding as air."""
    try:
        pixels = stored_pixels(data_set)
        one = pixels if frame is None or pixels.ndim == 2 else pixels[frame]  # a single frame has no axis of its own
        stored = stored_values(data_set, one)
        scale = data_set if frame is None else functional(data_set, frame, "PixelValueTransformationSequence")
        slope, intercept = float(scale.get("RescaleSlope", 1)), float(scale.get("RescaleIntercept", 0))
        padding = is_padding(data_set, stored)
    except PARSE_ERRORS as error:
        raise NotSuitable("decode_error", type(error).__name__) from error
    if stored.ndim != 2:
        raise NotSuitable("not_grayscale")
    hounsfield = stored.astype(np.float32)
    hounsfield *= np.float32(slope)
    hounsfield += np.float32(intercept)
    if padding is not None:
        hounsfield[padding] = _AIR_HU
    return np.maximum(hounsfield, np.float32(_AIR_HU), out=hounsfield)


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

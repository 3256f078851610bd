"""Presentation states: which images they present, and what a decoder needs of them (PS3.3 A.33, C.11.11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from api.dicomweb.kept import instances_of, model_of
from api.dicomweb.source import reader
from api.errors import NotAcceptable, PixelsUnreadable
from imaging import Presentation
from pacs_gateway.elements import encoding_of

if TYPE_CHECKING:
    from api.context import ApiContext
    from api.dicomweb.model import DataSet
    from storage.records import InstanceRecord

PRESENTATIONS: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.11.1",
        "1.2.840.10008.5.1.4.1.1.11.2",
    }
)
"""Grayscale and Color Softcopy Presentation State Storage."""

MAX_STATE_BYTES: Final = 16 * 1024 * 1024

_REFERENCED_SERIES: Final = "00081115"
_REFERENCED_IMAGES: Final = "00081140"
_SOP_INSTANCE: Final = "00081155"
_FRAMES: Final = "00081160"


def state_of(context: ApiContext, one: InstanceRecord) -> Presentation:
    """Return a state as a decoder takes it; `PixelsUnreadable` where it is longer than is read."""
    read, size = reader(context.archive, one)
    if size > MAX_STATE_BYTES:
        raise PixelsUnreadable("the presentation state is longer than is read for a picture")
    encoding = encoding_of(one.transfer_syntax_uid)
    return Presentation(
        key=one.object_key,
        content=read(0, size),
        implicit=not encoding.explicit,
        little=encoding.byteorder == "little",
    )


def named_by(context: ApiContext, state: InstanceRecord) -> Mapping[str, tuple[int, ...]]:
    """Return the SOP Instance UIDs of the images that a state presents, each with its frames; none means all."""
    model = model_of(context.archive, state, context.dicomweb_url)
    images = [image for series in _items(model, _REFERENCED_SERIES) for image in _items(series, _REFERENCED_IMAGES)]
    return {str(uid): _frames(image) for image in images for uid in _values(image, _SOP_INSTANCE)}


def presented_by(context: ApiContext, state: InstanceRecord) -> list[tuple[InstanceRecord, int]]:
    """Return the images and frames that a state presents and that are kept here, in the order of its study.

    Raises
    ------
    NotAcceptable
        None of them is kept here.
    """
    named = named_by(context, state)
    found = [one for one in instances_of(context, state.study_instance_uid) if one.sop_instance_uid in named]
    shown = [(one, number) for one in found for number in named[one.sop_instance_uid] or (1,)]
    shown = [(one, number) for one, number in shown if 1 <= number <= (one.number_of_frames or 1)]
    if not shown:
        raise NotAcceptable("none of the images that the presentation state refers to is kept here")
    return shown


def _frames(image: DataSet) -> tuple[int, ...]:
    numbers = (str(value) for value in _values(image, _FRAMES))
    return tuple(int(number) for number in numbers if number.isdecimal() and len(number) < 10)


def _items(model: DataSet, tag: str) -> list[DataSet]:
    return [item for item in _values(model, tag) if isinstance(item, dict)]


def _values(model: DataSet, tag: str) -> list[object]:
    found = model.get(tag, {}).get("Value", [])
    return found if isinstance(found, list) else []

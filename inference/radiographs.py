"""Whether an image is a frontal chest radiograph for people to look at; where the header is silent, the pixels say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.displayed import displayed_radiograph
from inference.errors import NotSuitable
from inference.frontal import Upright, find_frontal
from inference.slices import Slice, first_text, read_slices

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from storage.ports import ObjectStore
    from storage.records import InstanceRecord

__all__ = ["Upright", "consider_image"]

_CHEST = ("CHEST", "THORAX", "LUNG", "NGUC", "PHOI")
_LATERAL = frozenset({"LL", "RL", "LAT", "LATERAL", "LLD", "RLD"})
_HUMAN = frozenset({"HUMAN", "HOMO SAPIENS"})
_HUMAN_CODES = frozenset({"337915000", "L-85B00"})
"""Homo sapiens in SNOMED CT and, of old, in SNOMED RT."""
_WEIGHTS = {"PA": 1.0, "AP": 0.9, "": 0.8}
"""How much an image of each view is wanted; the least where only the pixels tell that it is frontal."""


def consider_image(instance: InstanceRecord, objects: ObjectStore) -> tuple[Slice, float, Upright | None]:
    """Give an image, how much it is wanted, and how it is turned upright where the header does not tell its view.

    Raises
    ------
    NotSuitable
        ``multi_frame``, ``for_processing``, ``not_human``, ``other_body_part``, ``view_lateral``, ``view_unknown``,
        ``not_grayscale``, ``flat_image`` or ``decode_error``.
    """
    if (instance.number_of_frames or 1) > 1:
        raise NotSuitable("multi_frame")
    (image,) = read_slices([instance], objects)
    view, part = _judge_header(image.head)
    if view and part:
        return image, _WEIGHTS[view], None
    upright = find_frontal(displayed_radiograph(instance, objects))
    if upright is None:
        raise NotSuitable("view_unknown")
    return image, _WEIGHTS[""], upright


def _judge_header(head: Dataset) -> tuple[str, str]:
    """Give view and body part as far as the header tells them."""
    if first_text(head, "PresentationIntentType") == "FOR PROCESSING":
        raise NotSuitable("for_processing")
    if not _is_human(head):
        raise NotSuitable("not_human")
    part = first_text(head, "BodyPartExamined").upper()
    if part and not any(word in part for word in _CHEST):
        raise NotSuitable("other_body_part")
    view = first_text(head, "ViewPosition").upper().strip()
    if view in _LATERAL:
        raise NotSuitable("view_lateral")
    return view if view in _WEIGHTS else "", part


def _is_human(head: Dataset) -> bool:
    """Tell whether (0010,2201), (0010,2202) Patient Species name a person; they are absent for nearly every person."""
    described = first_text(head, "PatientSpeciesDescription").upper()
    codes = {first_text(item, "CodeValue") for item in head.get("PatientSpeciesCodeSequence") or ()}
    return (not described or described in _HUMAN) and codes <= _HUMAN_CODES

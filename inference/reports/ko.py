"""A result's key images as a Key Object Selection (TID 2010, title Of Interest), for what was flagged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.sr.codedict import codes

from inference.reports.told import Told, finished

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FORM: Final = "ko"
DESCRIPTION: Final = "key images (not diagnostic)"


def build(told: Told) -> Dataset | None:
    """Return the selection of a result's key images; None where nothing was flagged, or no image is key."""
    wanted = {finding.key_instance_uid for finding in told.positive}
    images = [image for image in told.images if str(image.SOPInstanceUID) in wanted]
    if not images:
        return None
    selection = KeyObjectSelection(
        document_title=codes.DCM.OfInterest,
        referenced_objects=images,
        observer_device_context=told.observer(),
        description=_words(told),
    )
    dataset = KeyObjectSelectionDocument(
        evidence=images, content=selection, **told.series(FORM, 2, description=DESCRIPTION), **told.equipment()
    )
    return finished(dataset, told, description=DESCRIPTION)


def _words(told: Told) -> str:
    """Return the marks of the result and what was found, in both languages: all that a key object's text can hold."""
    english, vietnamese = (
        " ".join([*(mark[which] for mark in told.marks), f"{', '.join(names)}."])
        for which, names in enumerate(
            zip(*((finding.name_en, finding.name_vi) for finding in told.positive), strict=True)
        )
    )
    return f"{english} {vietnamese}"

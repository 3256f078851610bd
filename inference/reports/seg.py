"""Where a model sees its findings, as a binary segmentation: for models that give masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.sr.codedict import codes

from inference.errors import ReportImpossible
from inference.reports.told import MANUFACTURER, Told, code_of, finished

if TYPE_CHECKING:
    import numpy.typing as npt
    from pydicom.dataset import Dataset

    from storage.records import Finding

FORM: Final = "seg"
DESCRIPTION: Final = "regions (not diagnostic)"


def build(told: Told) -> Dataset | None:
    """Return the segmentation of what was flagged; None where no flagged finding has a mask with anything in it."""
    found = [finding for finding in told.positive if finding.code in told.masks and told.masks[finding.code].any()]
    if not found:
        return None
    dataset = Segmentation(
        source_images=list(told.images),
        pixel_array=_stacked(told, found),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(told, finding, number) for number, finding in enumerate(found, start=1)],
        content_label="AI_REGIONS",
        content_creator_name="AI^Roi",
        **told.series(FORM, 4, description=DESCRIPTION),
        **told.equipment(),
    )
    if "ImagePositionPatient" not in told.images[0]:
        dataset.PatientOrientation = told.images[0].get("PatientOrientation")  # type 2C where no plane is known
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = told.uid("dimensions")  # the library draws one
    return finished(dataset, told, description=DESCRIPTION)


def _stacked(told: Told, found: list[Finding]) -> npt.NDArray[np.uint8]:
    """Return the masks, images x rows x columns x segments."""
    expected = (len(told.images), int(told.images[0].Rows), int(told.images[0].Columns))
    masks = [told.masks[finding.code] for finding in found]
    if any(mask.shape != expected for mask in masks):
        raise ReportImpossible(f"a mask is not of the images' {expected}")
    return np.stack(masks, axis=-1).astype(np.uint8)


def _segment(told: Told, finding: Finding, number: int) -> SegmentDescription:
    tracking = told.tracking(finding)
    return SegmentDescription(
        segment_number=number,
        segment_label=finding.name_en,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=code_of(finding),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=told.model_id,
            family=codes.DCM.ArtificialIntelligence,
            version=told.model_version,
            source=MANUFACTURER,
            parameters={"digest": told.model_digest},
        ),
        tracking_uid=str(tracking[1].value),
        tracking_id=finding.code,
    )

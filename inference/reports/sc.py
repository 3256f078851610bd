"""A flagged result as a picture that every viewer shows: a secondary capture with a banner burned into it (A-9)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from highdicom.sc import SCImage
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from imaging.lettering import font
from inference.reports.told import Told, finished

FORM: Final = "sc"
DESCRIPTION: Final = "preview (not diagnostic)"

_SMALLEST: Final = 512
"""Pixels of the shorter side: a small picture is enlarged, so that the banner can be read."""
_YELLOW: Final = (255, 221, 0)
_DARK: Final = (0, 0, 0)


def build(told: Told) -> Dataset | None:
    """Return the key image of the strongest finding with its banner; None where nothing was flagged or can be shown."""
    shown = [finding for finding in told.positive if finding.key_instance_uid in told.pictures]
    if not shown:
        return None
    strongest = max(shown, key=lambda finding: finding.score)
    (source,) = [image for image in told.images if str(image.SOPInstanceUID) == strongest.key_instance_uid][:1]
    lines = [
        "AI TRIAGE PREVIEW - NOT FOR DIAGNOSTIC USE",
        "ẢNH XEM TRƯỚC CỦA AI - KHÔNG DÙNG ĐỂ CHẨN ĐOÁN",
        f"{told.model_id} {told.model_version}",
        f"{strongest.name_en} / {strongest.name_vi}: {strongest.score:.2f}",
        *(text for mark in told.marks for text in mark),
    ]
    pixels = with_banner(told.pictures[strongest.key_instance_uid or ""], lines)
    dataset = SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=source.StudyInstanceUID,
        patient_id=source.get("PatientID"),
        patient_name=source.get("PatientName"),
        patient_birth_date=source.get("PatientBirthDate") or None,
        patient_sex=source.get("PatientSex") or None,
        accession_number=source.get("AccessionNumber"),
        study_id=source.get("StudyID"),
        study_date=source.get("StudyDate") or None,
        study_time=source.get("StudyTime") or None,
        referring_physician_name=source.get("ReferringPhysicianName"),
        patient_orientation=["L", "P"],
        **told.series(FORM, 3, description=DESCRIPTION),
        **told.equipment(),
    )
    _say_derived(dataset, source)
    return finished(dataset, told, description=DESCRIPTION)


def with_banner(picture: npt.NDArray[np.uint8], lines: list[str]) -> npt.NDArray[np.uint8]:
    """Return the picture with lines of text on a dark band above it, burned in.

    Parameters
    ----------
    picture
        uint8, rows x columns x 3; enlarged by a whole factor where it is small.

    Returns
    -------
    uint8, rows x columns x 3
        The picture below the band; no pixel of it is covered.
    """
    factor = max(1, -(-_SMALLEST // min(picture.shape[:2])))
    image = Image.fromarray(picture.repeat(factor, axis=0).repeat(factor, axis=1))
    size = _fitting(lines, image.width)
    letters = font(size)
    band = Image.new("RGB", (image.width, round(size * (1.35 * len(lines) + 0.5))), _DARK)
    draw = ImageDraw.Draw(band)
    for number, line in enumerate(lines):
        draw.text((size * 0.4, size * (0.25 + 1.35 * number)), line, fill=_YELLOW, font=letters)
    return np.concatenate([np.asarray(band), np.asarray(image)])


def _fitting(lines: list[str], width: int) -> float:
    """Return the largest size of the font, within reason, at which every line is as wide as the picture at most."""
    unit = max(font(100).getlength(line) for line in lines) / 100
    return max(8.0, min(width / 24, (width * 0.97) / (unit + 0.8)))


def _say_derived(dataset: Dataset, source: Dataset) -> None:
    """Say what the picture is and what it was made of (A-7)."""
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"
    dataset.Laterality = None  # type 2C (PS3.3 C.7.3.1): not known of a body part that may be paired
    dataset.RecognizableVisualFeatures = source.get("RecognizableVisualFeatures") or "NO"
    if str(source.get("LossyImageCompression", "")) == "01":
        dataset.LossyImageCompression = "01"
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if source.get(keyword):
                setattr(dataset, keyword, source.get(keyword))
    dataset.DerivationDescription = "Key image of an AI triage result, with a banner"
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    purpose = Dataset()
    purpose.CodeValue = codes.DCM.SourceImageForImageProcessingOperation.value
    purpose.CodingSchemeDesignator = "DCM"
    purpose.CodeMeaning = codes.DCM.SourceImageForImageProcessingOperation.meaning
    reference.PurposeOfReferenceCodeSequence = [purpose]
    dataset.SourceImageSequence = [reference]

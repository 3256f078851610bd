"""What is written into the corners of a picture: whose it is, and how it was made (PS3.18 8.3.5.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw
from pydicom.valuerep import PersonName

from imaging.lettering import font, writable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydicom.dataset import Dataset

    from imaging.display import Shown

KINDS: Final = ("patient", "technique")
_PATIENT: Final = (
    ("PatientName", "{}"),
    ("PatientID", "ID {}"),
    ("PatientBirthDate", "* {}"),
    ("PatientSex", "{}"),
)
_TECHNIQUE: Final = (
    ("Modality", "{}"),
    ("StudyDate", "{}"),
    ("StudyTime", "{}"),
    ("SeriesDescription", "{}"),
    ("BodyPartExamined", "{}"),
    ("ViewPosition", "{}"),
    ("KVP", "{} kV"),
    ("ExposureTime", "{} ms"),
    ("XRayTubeCurrent", "{} mA"),
    ("SliceThickness", "{} mm"),
    ("RepetitionTime", "TR {} ms"),
    ("EchoTime", "TE {} ms"),
    ("InstanceNumber", "# {}"),
)
_LONGEST: Final = 64
_SHARE: Final = 40
"""A line is this part of the picture's height."""
_LETTERS: Final = (9, 32)


def annotated(image: Shown, header: Dataset, kinds: Iterable[str]) -> Shown:
    """Return the picture with the patient at the top left and the technique at the bottom left, as asked."""
    sheet = Image.fromarray(image)
    pen, size = ImageDraw.Draw(sheet), min(max(image.shape[0] // _SHARE, _LETTERS[0]), _LETTERS[1])
    step = size + 2
    lines = {"patient": _lines(header, _PATIENT), "technique": _lines(header, _TECHNIQUE)}
    starts = {"patient": 2, "technique": image.shape[0] - 2 - step * len(lines["technique"])}
    for kind in kinds:
        for number, line in enumerate(lines[kind]):
            pen.text(
                (4, starts[kind] + number * step),
                writable(line),
                fill=_white(sheet),
                font=font(size),
                stroke_width=1,
                stroke_fill=_black(sheet),
            )
    return np.asarray(sheet)


def _lines(header: Dataset, wanted: Iterable[tuple[str, str]]) -> list[str]:
    found = ((form, _text(header.get(keyword))) for keyword, form in wanted)
    return [form.format(text)[:_LONGEST] for form, text in found if text]


def _text(value: object) -> str:
    if isinstance(value, PersonName):
        return " ".join(part for part in (value.family_name, value.given_name, value.middle_name) if part)
    return "" if value is None else str(value).strip()


def _white(sheet: Image.Image) -> int | tuple[int, int, int]:
    return 255 if sheet.mode == "L" else (255, 255, 255)


def _black(sheet: Image.Image) -> int | tuple[int, int, int]:
    return 0 if sheet.mode == "L" else (0, 0, 0)

"""Result objects over modalities, geometries, character sets and outcomes, for whoever checks them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from inference.reports.making import Made, make
from inference.reports.told import Told
from models.reference.dicom import head_ct_study, radiograph_study
from storage.records import Outcome
from tests.builders import part10
from tests.unit.inference.test_reports import told_of

FORMS: Final = ("sr", "ko", "sc", "seg")

NAMES: Final[Mapping[str, tuple[str | list[str], str]]] = {
    "vietnamese": ("ISO_IR 192", "Nguyễn^Thị Đào"),
    "decomposed": ("ISO_IR 192", "Nguye\u0302\u0303n^Thi\u0323 A\u0301nh"),
    "latin": ("ISO_IR 100", "Müller^Jérôme"),
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
    "empty": ("ISO_IR 192", ""),
}
"""Case -> (0008,0005) Specific Character Set of the images, and the patient's name."""

STUDIES: Final[Mapping[str, tuple[str, Callable[[], list[Dataset]]]]] = {
    "head": ("head-ct-haemorrhage", lambda: head_ct_study(1, haemorrhage=True)[:5]),
    "tilted head": ("head-ct-haemorrhage", lambda: head_ct_study(4, haemorrhage=True, tilt_deg=15.0)[:5]),
    "radiograph": ("chest-radiograph", lambda: radiograph_study(3, findings=frozenset({"effusion"}))),
    "inverted radiograph": (
        "chest-radiograph",
        lambda: radiograph_study(5, findings=frozenset({"opacity"}), photometric="MONOCHROME1"),
    ),
}
"""Case -> the model, and the images that it looked at."""


def images_of(study: str, name: str) -> list[Dataset]:
    """Return a study's images as a reader finds them, written in the name's character set."""
    charset, patient = NAMES[name]
    return [_written(image, charset, patient) for image in _drawn(study)]


@lru_cache
def _drawn(study: str) -> list[Dataset]:
    return STUDIES[study][1]()


def told(study: str, name: str) -> dict[str, Told]:
    """Return a result of every kind, all of one study, each of a revision of its own."""
    images, model = images_of(study, name), STUDIES[study][0]
    key = len(images) // 2

    def of(revision: int, outcome: Outcome, reason: str | None = None) -> Told:
        return told_of(images, model=model, outcome=outcome, reason=reason, key=key, revision=revision)

    flagged = replace(of(1, Outcome.FLAGGED), masks=masks(images, of(1, Outcome.FLAGGED)))
    first = make(flagged, ["sr"])[0].named
    moves_nothing = replace(flagged.result.result, raises=False)
    return {
        "flagged": flagged,
        "not flagged": of(2, Outcome.NOT_FLAGGED),
        "not suitable": of(3, Outcome.NOT_SUITABLE, "contrast"),
        "failed": of(4, Outcome.FAILED, "timeout"),
        "shadow": replace(flagged, result=replace(flagged.result, revision=5, result=moves_nothing), follows=first),
        "retracted": replace(flagged, follows=first, is_retracted=True),
        "model gone": replace(of(6, Outcome.FAILED, "weights"), card=None),
    }


def masks(images: Sequence[Dataset], of: Told) -> dict[str, np.ndarray]:
    """Return a box for every finding."""
    mask = np.zeros((len(images), images[0].Rows, images[0].Columns), dtype=bool)
    mask[:, 8:30, 9:40] = True
    return {finding.code: mask for finding in of.result.result.findings}


def objects(study: str, name: str) -> dict[str, Made]:
    """Return every object of every kind of result."""
    return {f"{kind} {made.named.form}": made for kind, each in told(study, name).items() for made in make(each, FORMS)}


def write(made: Mapping[str, Made], folder: Path) -> dict[str, Path]:
    """Write objects as files."""
    paths = {label: folder / f"{label.replace(' ', '-')}.dcm" for label in made}
    for label, path in paths.items():
        path.write_bytes(made[label].content)
    return paths


def _written(image: Dataset, charset: str | list[str], patient: str) -> Dataset:
    image.SpecificCharacterSet = charset
    image.PatientName = patient
    return pydicom.dcmread(io.BytesIO(part10(image)))

"""Studies to send: small synthetic ones, and phantoms, as files with the digest that the archive must come to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from models.reference.identity import PHANTOM_UID_ROOT
from tests import builders


@dataclass(frozen=True, kw_only=True)
class SentFile:
    """A DICOM file on disk; `digest` is the SHA-256 of its data set bytes, which names its object."""

    path: Path
    study: str
    series: str
    instance: str
    digest: str


def small_ct(number: int, *, slices: int = 4, first: int = 1, **attributes: object) -> list[Dataset]:
    """A CT study of few slices, 16 x 16: complete, too small for any model, and quickly sent."""
    study = f"{PHANTOM_UID_ROOT}7.{number}"
    told = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.1",
        "PatientID": f"SMALL-{number}",
        "PatientName": f"Small^Study {number}",
        **attributes,
    }
    return [builders.ct_slice(at, SOPInstanceUID=f"{study}.1.{at}", **told) for at in range(first, first + slices)]


def final(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those that are no provisional flags: what is sent slowly may have one first."""
    return [each for each in results if each["provisional"] is None]


def write(data_sets: Iterable[Dataset], folder: Path) -> list[SentFile]:
    """Write data sets as DICOM files into a folder, made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(data_set, folder / f"{data_set.SOPInstanceUID}.dcm") for data_set in data_sets]


def data_set_bytes(encoded: bytes) -> bytes:
    """What follows preamble and file meta information; (0002,0000), which stands first, tells their length."""
    return encoded[144 + int.from_bytes(encoded[140:144], "little") :]


def _write(data_set: Dataset, path: Path) -> SentFile:
    encoded = builders.part10(data_set)
    path.write_bytes(encoded)
    return SentFile(
        path=path,
        study=str(data_set.StudyInstanceUID),
        series=str(data_set.SeriesInstanceUID),
        instance=str(data_set.SOPInstanceUID),
        digest=hashlib.sha256(data_set_bytes(encoded)).hexdigest(),
    )

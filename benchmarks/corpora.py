"""Synthetic DICOM to measure with: the same name and seed always give the same bytes.

Headers are as long as a scanner writes them (private blocks, sequences, Vietnamese text in ISO_IR 192), because the
cost of an archive lies as much in the header as in the pixels.  Nobody's data is in it.

    python -m benchmarks.corpora ct --out FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)
from rich.progress import track


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a corpus is made of."""

    modality: str
    sop_class_uid: UID
    matrix: int
    studies: int
    instances: int
    """Per study, one series each."""


RECIPES: Mapping[str, Recipe] = {
    "ct": Recipe(modality="CT", sop_class_uid=CTImageStorage, matrix=512, studies=4, instances=250),
    "series": Recipe(modality="CT", sop_class_uid=CTImageStorage, matrix=512, studies=1, instances=600),
    "tiny": Recipe(modality="CT", sop_class_uid=CTImageStorage, matrix=16, studies=25, instances=200),
    "dx": Recipe(
        modality="DX", sop_class_uid=DigitalXRayImageStorageForPresentation, matrix=2048, studies=60, instances=1
    ),
}
"""Long enough to be in the steady state: 0.53 GB, 5000 headers, 0.5 GB."""

SMALL: Mapping[str, tuple[int, int]] = {"ct": (4, 10), "series": (1, 30), "tiny": (4, 50), "dx": (4, 1)}
"""Studies and instances of a smoke run."""

_FAMILY = ("Nguyễn", "Trần", "Lê", "Phạm", "Huỳnh", "Võ", "Đặng", "Bùi", "Đỗ", "Ngô")
_GIVEN = ("An", "Bình", "Dũng", "Hạnh", "Hương", "Khánh", "Ngân", "Phúc", "Quỳnh", "Thảo", "Tuấn", "Yến")

_STUDY: Mapping[str, object] = {
    "SpecificCharacterSet": "ISO_IR 192",
    "Manufacturer": "Hãng Mô Phỏng",
    "ManufacturerModelName": "Sphere 64",
    "InstitutionName": "Bệnh viện Giả Lập",
    "InstitutionAddress": "1 Đường Không Có Thật, Huế",
    "InstitutionalDepartmentName": "Khoa Chẩn đoán hình ảnh",
    "StationName": "PHONG3",
    "ReferringPhysicianName": "Lê^Hạnh",
    "PhysiciansOfRecord": "Đỗ^Khánh",
    "PerformingPhysicianName": "Ngô^Yến",
    "NameOfPhysiciansReadingStudy": "Bùi^An",
    "OperatorsName": "KTV^Phúc",
    "PatientSize": "1.62",
    "PatientWeight": "57",
    "PatientComments": "dữ liệu tạo bằng máy",
    "EthnicGroup": "Kinh",
    "DeviceSerialNumber": "0042",
    "SoftwareVersions": ["3.1", "p7"],
    "ProtocolName": "2.3 Thường quy",
    "BodyPartExamined": "CHEST",
    "PerformedProcedureStepID": "1",
    "PerformedProcedureStepDescription": "Chụp ngực",
    "RequestedProcedureDescription": "Chụp ngực",
    "PositionReferenceIndicator": "SN",
    "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00",
}

_OF_MODALITY: Mapping[str, Mapping[str, object]] = {
    "CT": {
        "StudyDescription": "CT NGỰC",
        "SeriesDescription": "Cửa sổ phổi 1.25",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientPosition": "HFS",
        "ScanOptions": "HELICAL",
        "SliceThickness": "1.25",
        "KVP": "120",
        "DataCollectionDiameter": "500",
        "ReconstructionDiameter": "350",
        "DistanceSourceToDetector": "950",
        "DistanceSourceToPatient": "540",
        "GantryDetectorTilt": "0",
        "TableHeight": "148",
        "RotationDirection": "CW",
        "ExposureTime": 600,
        "XRayTubeCurrent": 220,
        "Exposure": 132,
        "FilterType": "BODY",
        "GeneratorPower": 30,
        "FocalSpots": ["1.2"],
        "ConvolutionKernel": "LUNG",
        "SingleCollimationWidth": 0.625,
        "TotalCollimationWidth": 40.0,
        "TableSpeed": 55.0,
        "TableFeedPerRotation": 33.0,
        "SpiralPitchFactor": 0.825,
        "CTDIvol": 8.1,
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "PixelSpacing": ["0.68359375", "0.68359375"],
        "PixelRepresentation": 1,
        "BitsStored": 16,
        "HighBit": 15,
        "WindowCenter": ["-600", "40"],
        "WindowWidth": ["1500", "400"],
        "RescaleType": "HU",
    },
    "DX": {
        "StudyDescription": "X-QUANG NGỰC THẲNG",
        "SeriesDescription": "Ngực thẳng PA",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "KVP": "115",
        "ExposureTime": 10,
        "XRayTubeCurrent": 320,
        "Exposure": 3,
        "DistanceSourceToDetector": "1800",
        "ViewPosition": "PA",
        "ImagerPixelSpacing": ["0.15", "0.15"],
        "PresentationIntentType": "FOR PRESENTATION",
        "PresentationLUTShape": "IDENTITY",
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": 1,
        "ImageLaterality": "U",
        "PatientOrientation": ["L", "F"],
        "PixelRepresentation": 0,
        "BitsStored": 14,
        "HighBit": 13,
        "WindowCenter": "8192",
        "WindowWidth": "16384",
        "RescaleType": "US",
    },
}


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Part 10 files of one recipe, grouped by study."""

    name: str
    studies: Mapping[str, tuple[Path, ...]]
    """Study Instance UID -> its files."""
    instances: frozenset[str]
    """SOP Instance UIDs."""
    size_bytes: int

    @property
    def files(self) -> list[Path]:
        """Every file, study by study."""
        return [path for files in self.studies.values() for path in files]

    def sample(self) -> list[Path]:
        """Return files from all over the corpus whose bytes are to be compared: some 200 MB at most, never none."""
        files = self.files
        wanted = max(2, min(20, int(200e6 * len(files) / self.size_bytes)))
        return files[:: max(1, len(files) // wanted)]

    def parts(self, number: int) -> list[list[Path]]:
        """Deal the studies out to `number` senders, as evenly as they go."""
        parts: list[list[Path]] = [[] for _ in range(number)]
        for files in sorted(self.studies.values(), key=len, reverse=True):
            min(parts, key=len).extend(files)
        return [part for part in parts if part]


def make_corpus(
    name: str, folder: Path, *, small: bool = False, seed: int = 1, most_studies: int | None = None
) -> Corpus:
    """Write the corpus `name` below `folder`, or read what an earlier call wrote there."""
    recipe = RECIPES[name]
    studies, instances = SMALL[name] if small else (recipe.studies, recipe.instances)
    studies = min(studies, most_studies or studies)
    root = folder / f"{name}-{studies}x{instances}-seed{seed}"
    written: dict[str, tuple[Path, ...]] = {}
    uids: set[str] = set()
    for study in track(range(studies), description=f"corpus {name}", transient=True):
        study_uid = _uid(seed, name, study)
        files = []
        for number in range(instances):
            uid = _uid(seed, name, study, number)
            path = root / f"{study:05d}" / f"{number:05d}.dcm"
            files.append(path)
            uids.add(uid)
        if not all(path.exists() for path in files):
            files[0].parent.mkdir(parents=True, exist_ok=True)
            for path, content in zip(files, _study(recipe, name, seed, study, instances), strict=True):
                content.save_as(path, enforce_file_format=True)
        written[study_uid] = tuple(files)
    size = sum(path.stat().st_size for files in written.values() for path in files)
    return Corpus(name=name, studies=written, instances=frozenset(uids), size_bytes=size)


def make_long(folder: Path, *, number: int, pixel_bytes: int, seed: int = 1) -> Corpus:
    """Write `number` instances whose pixels are a hole in the file: long to send, quick to make."""
    root = folder / f"long-{number}x{pixel_bytes}-seed{seed}"
    recipe = Recipe(modality="CT", sop_class_uid=CTImageStorage, matrix=16, studies=number, instances=1)
    written: dict[str, tuple[Path, ...]] = {}
    uids: set[str] = set()
    for study in range(number):
        path = root / f"{study:05d}.dcm"
        written[_uid(seed, "long", study)] = (path,)
        uids.add(_uid(seed, "long", study, 0))
        if not path.exists():
            root.mkdir(parents=True, exist_ok=True)
            [content] = _study(recipe, "long", seed, study, 1)
            content.NumberOfFrames = pixel_bytes // 512
            content.PixelData = b""
            content.save_as(path, enforce_file_format=True)
            with path.open("r+b") as file:
                file.seek(-4, os.SEEK_END)  # Pixel Data comes last; its length is the last thing there (PS3.5 7.1.2)
                file.write(pixel_bytes.to_bytes(4, "little"))
                file.truncate(file.tell() + pixel_bytes)
    size = sum(path.stat().st_size for files in written.values() for path in files)
    return Corpus(name="long", studies=written, instances=frozenset(uids), size_bytes=size)


def make_multiframe(folder: Path, *, frames: int, seed: int = 1) -> Corpus:
    """Write one instance of many native frames of 512 KiB, each of which begins with its number."""
    recipe = Recipe(modality="CT", sop_class_uid=CTImageStorage, matrix=512, studies=1, instances=1)
    path = folder / f"multiframe-{frames}-seed{seed}" / "00000.dcm"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        [content] = _study(recipe, "multiframe", seed, 0, 1)
        content.NumberOfFrames = frames
        first = content.PixelData
        content.PixelData = b"".join(number.to_bytes(4, "little") + first[4:] for number in range(1, frames + 1))
        content.save_as(path, enforce_file_format=True)
    uid = _uid(seed, "multiframe", 0)
    instances = frozenset({_uid(seed, "multiframe", 0, 0)})
    return Corpus(name="multiframe", studies={uid: (path,)}, instances=instances, size_bytes=path.stat().st_size)


def _study(recipe: Recipe, name: str, seed: int, study: int, instances: int) -> Iterator[Dataset]:
    rng = random.Random(f"{seed}/{name}/{study}")
    dataset = _header(recipe, rng, _uid(seed, name, study))  # one for all: copying it costs more than writing it
    pixels = _pixels(recipe, rng.randrange(1 << 30))
    for number in range(instances):
        uid = _uid(seed, name, study, number)
        dataset.SOPClassUID, dataset.SOPInstanceUID = recipe.sop_class_uid, uid
        dataset.InstanceNumber = number + 1
        if recipe.modality == "CT":
            dataset.ImagePositionPatient = ["-175", "-175", f"{number * 1.25:.2f}"]
            dataset.SliceLocation = f"{number * 1.25:.2f}"
        dataset.ReferencedImageSequence = [_reference(recipe.sop_class_uid, _uid(uid, part)) for part in range(2)]
        dataset.PixelData = np.roll(pixels, number * 37).tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = recipe.sop_class_uid
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        yield dataset


def _header(recipe: Recipe, rng: random.Random, study_uid: str) -> Dataset:
    dataset = Dataset()
    for keyword, value in (_STUDY | _OF_MODALITY[recipe.modality]).items():  # type: ignore[operator]
        setattr(dataset, keyword, value)
    day = f"{rng.randint(2020, 2026)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    clock = f"{rng.randint(0, 23):02d}{rng.randint(0, 59):02d}{rng.randint(0, 59):02d}.5"
    for stage in ("Study", "Series", "Acquisition", "Content", "InstanceCreation", "PerformedProcedureStepStart"):
        setattr(dataset, f"{stage}Date", day)
        setattr(dataset, f"{stage}Time", clock)
    dataset.Modality = recipe.modality
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study_uid, _uid(study_uid, "series")
    dataset.FrameOfReferenceUID = _uid(study_uid, "frame")
    dataset.StudyID, dataset.SeriesNumber, dataset.AcquisitionNumber = "1", 1, 1
    dataset.AccessionNumber = f"A{rng.randrange(10**9):09d}"
    dataset.PatientName = f"{rng.choice(_FAMILY)}^{rng.choice(_GIVEN)}"
    dataset.PatientID, dataset.IssuerOfPatientID = f"BN{rng.randrange(10**7):07d}", "GIALAP"
    dataset.PatientBirthDate = f"{rng.randint(1935, 2020)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    dataset.PatientSex, dataset.PatientAge = rng.choice("FM"), f"{rng.randint(1, 90):03d}Y"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = recipe.matrix
    dataset.BitsAllocated = 16
    dataset.RescaleIntercept, dataset.RescaleSlope = "0", "1"
    _add_sequences(dataset, study_uid)
    _add_private(dataset, rng)
    return dataset


def _add_sequences(dataset: Dataset, study_uid: str) -> None:
    request = Dataset()
    request.ScheduledProcedureStepDescription = dataset.StudyDescription
    request.ScheduledProtocolCodeSequence = [_code("NGUC", "99GIALAP", "Ngực")]
    request.ScheduledProcedureStepID = request.RequestedProcedureID = "7"
    dataset.RequestAttributesSequence = [request]
    dataset.ProcedureCodeSequence = [_code("399208008", "SCT", "Chest X-ray")]
    dataset.ReferencedStudySequence = [_reference("1.2.840.10008.3.1.2.3.1", _uid(study_uid, "ref"))]
    dataset.ReferencedPerformedProcedureStepSequence = [
        _reference("1.2.840.10008.3.1.2.3.3", _uid(study_uid, "performed"))
    ]


def _add_private(dataset: Dataset, rng: random.Random) -> None:
    """Vendors' own elements: a few texts, rows of numbers, and a 4 KiB block."""
    acquisition = dataset.private_block(0x0019, "GIALAP ACQ", create=True)
    for offset in range(0x02, 0x2A):
        acquisition.add_new(offset, "DS", f"{offset * 1.375:.4f}")
    parameters = dataset.private_block(0x0043, "GIALAP PARM", create=True)
    for offset in range(0x10, 0x38):
        parameters.add_new(offset, "SS", offset * 3)
    block = dataset.private_block(0x0029, "GIALAP BLOCK", create=True)
    block.add_new(0x10, "OB", rng.randbytes(4096))
    block.add_new(0x11, "LO", "VERSION 4")


def _pixels(recipe: Recipe, seed: int) -> NDArray[np.int16]:
    """Draw an ellipse in noise."""
    y, x = np.mgrid[-1 : 1 : complex(recipe.matrix), -1 : 1 : complex(recipe.matrix)]
    inside = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
    noise = np.random.default_rng(seed).normal(0, 20, inside.shape)
    low, high = (-1000, 40) if recipe.modality == "CT" else (2000, 9000)
    return np.ravel(np.where(inside, high, low) + noise).astype(np.int16)


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item


def _uid(*parts: object) -> str:
    """Return a UID derived from a UUID (PS3.5 B.2) that depends on the parts only."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def main() -> None:
    """Write one corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="a few instances of each study")
    parser.add_argument("--seed", type=int, default=1)
    wish = parser.parse_args()
    corpus = make_corpus(wish.name, wish.out, small=wish.small, seed=wish.seed)
    print(f"{len(corpus.instances)} instances in {len(corpus.studies)} studies, {corpus.size_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

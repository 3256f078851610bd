"""The listed studies as the smallest files that an archive takes, a series for each modality and an image in each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from rich.progress import track

from benchmarks.corpora import Corpus
from benchmarks.patients import Listed, nth


def make_listed(folder: Path, studies: int) -> Corpus:
    """Write the studies below `folder`, or read what an earlier call wrote there."""
    root = folder / f"listed-files-{studies}"
    done = root / "written"
    written: dict[str, tuple[Path, ...]] = {}
    uids: set[str] = set()
    for number in track(range(studies), description="listed studies", transient=True):
        one = nth(number)
        paths = []
        for path, data_set in _files(one, root / f"{number:06d}"):
            paths.append(path)
            uids.add(data_set.SOPInstanceUID)
            if not done.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                data_set.save_as(path, enforce_file_format=True)
        written[one.study_instance_uid] = tuple(paths)
    done.touch()
    size_bytes = sum(path.stat().st_size for paths in written.values() for path in paths)
    return Corpus(name="listed", studies=written, instances=frozenset(uids), size_bytes=size_bytes)


def _files(one: Listed, folder: Path) -> Iterator[tuple[Path, Dataset]]:
    for place, modality in enumerate(one.modalities, start=1):
        yield folder / f"{place}.dcm", _data_set(one, place, modality)


def _data_set(one: Listed, place: int, modality: str) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"2.25.{7_000_000_000 + one.number}.{place}"
    made.StudyDate, made.StudyTime = one.study_date, one.study_time
    made.AccessionNumber, made.Modality = one.accession_number, modality
    made.ReferringPhysicianName, made.StudyDescription = one.referring_physician_name, one.study_description
    made.PatientName, made.PatientID = one.patient_name, one.patient_id
    made.PatientBirthDate, made.PatientSex = one.patient_birth_date, one.patient_sex
    made.StudyInstanceUID = one.study_instance_uid
    made.SeriesInstanceUID = one.series_instance_uid + (f".{place}" if place > 1 else "")
    made.StudyID, made.SeriesNumber, made.InstanceNumber = str(one.number % 10_000), place, 1
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows = made.Columns = 2
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    made.PixelData = bytes(4)
    return made

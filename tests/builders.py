"""Data sets, arrivals and archives built in code: no real patient, no file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
)

from models.contract import (
    FindingSpec,
    InputRules,
    ModelCard,
    OperatingPoint,
    Prediction,
    Progressive,
    Radiograph,
    Urgency,
    Volume,
)
from storage.adapters.memory import MemoryStore
from storage.archive import Archive
from storage.database import Database
from storage.migrate import migrate
from storage.records import Arrival, Header, InstanceUid, Origin, SeriesUid, StudyUid, Verdict
from storage.spool import Spool

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
CT = str(CTImageStorage)
DX = str(DigitalXRayImageStorageForPresentation)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class Clock:
    """A clock that goes only when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def go(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


def archive(folder: Path, clock: Clock | None = None) -> Archive:
    """An archive of memory objects and a SQLite catalogue."""
    database = Database(f"sqlite:///{folder / 'catalogue.sqlite'}")
    migrate(database)
    return Archive(objects=MemoryStore(), database=database, spool_folder=folder, clock=clock or Clock())


def header(number: int = 1, **fields: Any) -> Header:
    """The header of slice `number` of one CT series; `fields` replaces what it names."""
    told: dict[str, Any] = {
        "sop_class_uid": CT,
        "sop_instance_uid": InstanceUid(f"2.25.1.1.{number}"),
        "series_instance_uid": SeriesUid("2.25.1.1"),
        "study_instance_uid": StudyUid("2.25.1"),
        "transfer_syntax_uid": str(ExplicitVRLittleEndian),
        "patient_id": "P1",
        "patient_name": "Nguyễn^Văn Đạt",
        "modality": "CT",
        "instance_number": number,
        "image_position_patient": (0.0, 0.0, 5.0 * number),
        "image_orientation_patient": AXIAL,
    }
    return Header(**{**told, **fields})


def keep(into: Archive, told: Header, content: bytes | None = None, *, via: str = "dimse") -> Verdict:
    """Keep an instance whose data set bytes are `content`, or follow from its UID."""
    with Spool(into.spool_folder) as spool:
        spool.write_meta(b"\0" * 132)
        spool.write(content if content is not None else told.sop_instance_uid.encode())
        arrival = Arrival(
            key=spool.key,
            size_bytes=spool.size_bytes,
            meta_bytes=spool.meta_bytes,
            header=told,
            origin=Origin(via=via),
            checksum=spool.checksum,
        )
        return into.keep(spool, arrival)


def keep_data_set(into: Archive, data_set: Dataset) -> Verdict:
    """Keep a whole data set, header read from it by hand."""
    encoded = part10(data_set)
    meta_bytes = len(encoded) - len(_data_set_bytes(encoded))
    with Spool(into.spool_folder) as spool:
        spool.write_meta(encoded[:meta_bytes])
        spool.write(encoded[meta_bytes:])
        told = Header(
            sop_class_uid=data_set.SOPClassUID,
            sop_instance_uid=data_set.SOPInstanceUID,
            series_instance_uid=data_set.SeriesInstanceUID,
            study_instance_uid=data_set.StudyInstanceUID,
            transfer_syntax_uid=data_set.file_meta.TransferSyntaxUID,
            modality=data_set.Modality,
            series_number=data_set.get("SeriesNumber"),
            instance_number=data_set.get("InstanceNumber"),
            image_type=tuple(data_set.get("ImageType", ())),
            number_of_frames=data_set.get("NumberOfFrames"),
            image_position_patient=_floats(data_set, "ImagePositionPatient"),
            image_orientation_patient=_floats(data_set, "ImageOrientationPatient"),
        )
        arrival = Arrival(
            key=spool.key,
            size_bytes=spool.size_bytes,
            meta_bytes=spool.meta_bytes,
            header=told,
            origin=Origin(via="dimse"),
            checksum=spool.checksum,
        )
        return into.keep(spool, arrival)


def part10(data_set: Dataset) -> bytes:
    """The data set as a DICOM file."""
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


def ct_slice(number: int = 1, *, value_hu: float = 40.0, size: int = 16, **attributes: Any) -> Dataset:
    """Slice `number` of a head-like CT series: a disc of `value_hu` in air."""
    data_set = _image(CT, f"2.25.1.1.{number}", "CT")
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    disc = np.hypot(rows, columns) < size / 3
    data_set.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data_set.InstanceNumber = number
    data_set.ImagePositionPatient = [0, 0, 5 * number]
    data_set.ImageOrientationPatient = list(AXIAL)
    data_set.PixelSpacing = [12, 12]
    data_set.SliceThickness = 5
    data_set.RescaleSlope, data_set.RescaleIntercept = 1, -1024
    _set_pixels(data_set, np.where(disc, value_hu + 1024, 24).astype(np.int16))
    return _with(data_set, attributes)


def enhanced_ct(
    numbers: Sequence[float],
    *,
    intercepts: Sequence[float] | None = None,
    frame_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE"),
) -> Dataset:
    """One enhanced CT object: frame k shows a disc of ten times `numbers[k]` HU at that many steps of 5 mm."""
    frames = [ct_slice(1, value_hu=10.0 * number) for number in numbers]
    data_set = frames[0]
    data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    data_set.NumberOfFrames = len(frames)
    data_set.PixelData = b"".join(frame.PixelData for frame in frames)
    data_set.PerFrameFunctionalGroupsSequence = [
        _groups(
            PlanePositionSequence={"ImagePositionPatient": [0, 0, 5 * number]},
            PixelValueTransformationSequence={
                "RescaleSlope": 1,
                "RescaleIntercept": intercepts[index] if intercepts else -1024,
                "RescaleType": "HU",
            },
        )
        for index, number in enumerate(numbers)
    ]
    data_set.SharedFunctionalGroupsSequence = [
        _groups(
            PlaneOrientationSequence={"ImageOrientationPatient": list(AXIAL)},
            PixelMeasuresSequence={"PixelSpacing": [12, 12], "SliceThickness": 5},
            CTImageFrameTypeSequence={"FrameType": list(frame_type)},
            CTReconstructionSequence={"ConvolutionKernel": "H30s"},
        )
    ]
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(data_set, name)
    return data_set


def _groups(**groups: dict[str, Any]) -> Dataset:
    found = Dataset()
    for name, attributes in groups.items():
        setattr(found, name, [_with(Dataset(), attributes)])
    return found


def radiograph(pixels: np.ndarray | None = None, **attributes: Any) -> Dataset:
    """A chest radiograph for presentation, PA, 12 bits in a window over its whole range."""
    data_set = _image(DX, "2.25.2.1.1", "DX")
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = "2.25.2", "2.25.2.1"
    data_set.ImageType = ["ORIGINAL", "PRIMARY"]
    data_set.PresentationIntentType = "FOR PRESENTATION"
    data_set.ViewPosition, data_set.BodyPartExamined = "PA", "CHEST"
    data_set.InstanceNumber = 1
    data_set.WindowCenter, data_set.WindowWidth = 2048, 4096
    shade = np.linspace(0, 4095, 16 * 16).reshape(16, 16).astype(np.uint16) if pixels is None else pixels
    _set_pixels(data_set, shade)
    data_set.BitsStored, data_set.HighBit = 12, 11
    return _with(data_set, attributes)


def card(
    model_id: str = "trial",
    *,
    kind: str = "volume",
    root: str | None = "2.25.",
    threshold: float = 0.5,
    slices: int = 4,
    progressive: Progressive | None = None,
) -> ModelCard:
    """A card that accepts CT stacks, or DX images; with no `root` a site must enable it before it moves anything."""
    rules = {
        "volume": InputRules(kind="volume", modalities=("CT",), sop_class_uids=(CT,), min_slices=slices, max_slices=99),
        "radiograph": InputRules(kind="radiograph", modalities=("DX", "CR"), sop_class_uids=(DX,)),
    }
    point = OperatingPoint(
        name="balanced",
        threshold=threshold,
        sensitivity=0.9,
        sensitivity_interval=(0.8, 0.95),
        specificity=0.9,
        specificity_interval=(0.8, 0.95),
        dataset="trial",
    )
    spec = FindingSpec(
        code="trial-finding",
        name_en="trial finding",
        name_vi="dấu hiệu thử",
        urgency=Urgency.CRITICAL,
        operating_point=point,
    )
    return ModelCard(
        id=model_id,
        version="1",
        digest=model_id.encode().hex().ljust(64, "0")[:64],
        title="Trial",
        intended_use="tests",
        not_for="patients",
        label_en="Trial model",
        label_vi="Mô hình thử",
        regulatory_status="not-a-device",
        input_rules=rules[kind],
        findings=(spec,),
        weights_sha256="0" * 64,
        weights_file="none",
        evidence={},
        limits=(),
        raises_only_uid_root=root,
        progressive=progressive,
    )


class TrialModel:
    """Answers one score, whatever it is shown; `shown` keeps the inputs."""

    def __init__(self, of: ModelCard, score: float = 0.9) -> None:
        self.card = of
        self.score = score
        self.shown: list[Volume | Radiograph] = []

    def predict(self, image: Volume | Radiograph) -> Prediction:
        self.shown.append(image)
        key = image.instance_uids[0] if isinstance(image, Volume) else image.instance_uid
        return Prediction(scores={"trial-finding": self.score}, key_instance_uids={"trial-finding": key})


def _image(sop_class: str, uid: str, modality: str) -> Dataset:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.file_meta.MediaStorageSOPClassUID = sop_class
    data_set.file_meta.MediaStorageSOPInstanceUID = uid
    data_set.SOPClassUID, data_set.SOPInstanceUID = sop_class, uid
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = "2.25.1", "2.25.1.1"
    data_set.Modality, data_set.PatientID, data_set.PatientName = modality, "P1", "Nguyen^Van"
    return data_set


def _set_pixels(data_set: Dataset, pixels: np.ndarray) -> None:
    data_set.Rows, data_set.Columns = pixels.shape
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 16, 15
    data_set.PixelRepresentation = int(pixels.dtype.kind == "i")
    data_set.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()


def _with(data_set: Dataset, attributes: dict[str, Any]) -> Dataset:
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    if "SOPInstanceUID" in attributes:
        data_set.file_meta.MediaStorageSOPInstanceUID = attributes["SOPInstanceUID"]
    if "SOPClassUID" in attributes:
        data_set.file_meta.MediaStorageSOPClassUID = attributes["SOPClassUID"]
    return data_set


def _floats(data_set: Dataset, keyword: str) -> Any:
    return tuple(float(value) for value in data_set[keyword].value) if keyword in data_set else None


def _data_set_bytes(encoded: bytes) -> bytes:
    # Group length (0002,0000) stands first in the file meta: 132 bytes of preamble, then 12 of that element.
    length = int.from_bytes(encoded[140:144], "little")
    return encoded[144 + length :]

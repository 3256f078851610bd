"""Writes phantoms as real DICOM: a head CT study and a chest radiograph study, complete data sets with file meta.

All identifiers follow from the arguments, so the same call gives the same bytes.  Every UID lies below
`PHANTOM_UID_ROOT`, the only studies a reference model may move in a reading list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from models.reference.chest import FIELD_OF_VIEW_MM as CHEST_FIELD_MM
from models.reference.chest import draw_chest, render_chest
from models.reference.head import FIELD_OF_VIEW_MM as HEAD_FIELD_MM
from models.reference.head import draw_head, make_plain, render_head
from models.reference.identity import PHANTOM_UID_ROOT
from models.reference.shapes import Grid, enlarge

__all__ = ["PHANTOM_UID_ROOT", "head_ct_study", "radiograph_study", "store_grey", "store_hu"]

STORED_LOW, STORED_HIGH = 400, 3600
"""Stored values of black and white in a radiograph: the window does not span the 12 bits, so it must be applied."""

_CODES = {
    "head": ("69536005", "SCT", "Head"),
    "chest": ("816094009", "SCT", "Chest"),
    "postero-anterior": ("399348003", "SCT", "postero-anterior"),
}


def head_ct_study(
    seed: int,
    *,
    haemorrhage: bool,
    slices: int = 32,
    step_mm: float = 5.0,
    patient_name: str = "Nguyễn^Văn Mô Phỏng",
    patient_id: str | None = None,
    study_date: str = "20250102",
    study_time: str = "081500",
    accession_number: str | None = None,
    kind: str | None = None,
    plain: bool = False,
    domain: str = "base",
    tilt_deg: float = 0.0,
    missing: Sequence[int] = (),
    localizer: bool = False,
    bone_copy: bool = False,
    contrast_copy: bool = False,
    priority: str | None = None,
) -> list[Dataset]:
    """Give a head CT study: one axial series of 512 x 512 slices, and what else is asked for.

    Parameters
    ----------
    seed
        Which head.
    haemorrhage
        Whether it bleeds.
    slices, step_mm
        How many axial slices, feet to head, and the distance between them.
    patient_name, patient_id, study_date, study_time, accession_number
        As in the header; the name may use any script (written as ISO_IR 192).
    kind
        ``IPH``, ``SDH``, ``EDH``, ``SAH`` or ``IVH`` to ask for one kind of bleed.
    plain
        Draw a large dense bleed that nobody overlooks.
    domain
        A key of `models.reference.head.HEAD_DOMAINS`.
    tilt_deg
        Gantry tilt (0018,1120): slices lean, positions step along the table.
    missing
        Zero-based indices of slices left out, as if they never arrived.
    localizer, bone_copy, contrast_copy
        Add a localizer image, the same slices in a bone kernel, the same slices after contrast, each its own series.
    priority
        (0040,1003) Requested Procedure Priority of the request, where given.

    Returns
    -------
    list[Dataset]
        Localizer first, then the axial series, then the copies; ready for ``save_as(..., enforce_file_format=True)``.
    """
    arguments = {**locals()}
    identity = _Identity(arguments, patient_id=patient_id, accession_number=accession_number)
    scene = draw_head(seed, haemorrhage=haemorrhage, domain=domain, kind=kind)
    scene = make_plain(scene) if plain else scene
    z_mm = [(index - (slices - 1) / 2) * step_mm for index in range(slices)]
    hu = enlarge(render_head(scene, z_mm, tilt_deg=tilt_deg).hu)
    study = _study(identity, patient_name, study_date, study_time, priority)
    study.Modality = "CT"
    kept = [index for index in range(slices) if index not in set(missing)]
    found = [_localizer(study, identity, hu, step_mm)] if localizer else []
    series: list[tuple[int, str, str, str | None, Grid]] = [(1, "Axial brain", "H30s", None, hu)]
    if bone_copy:
        series.append((2, "Axial bone", "H60s", None, _sharpen(hu)))
    if contrast_copy:
        series.append((3, "Axial brain C+", "H30s", "Iodinated contrast (simulated)", _enhance(hu)))
    for number, description, kernel, agent, voxels in series:
        head = _ct_series(study, identity, number=number, description=description, kernel=kernel, agent=agent)
        for i in kept:
            uid = identity.uid(number, i + 1)
            found.append(
                _ct_slice(head, uid, voxels[i], number=i + 1, z_mm=z_mm[i], step_mm=step_mm, tilt_deg=tilt_deg)
            )
    return found


def radiograph_study(
    seed: int,
    *,
    findings: frozenset[str],
    photometric: str = "MONOCHROME2",
    voi: str = "window",
    matrix: int = 640,
    patient_name: str = "Trần^Thị Mô Phỏng",
    patient_id: str | None = None,
    study_date: str = "20250102",
    study_time: str = "081500",
    accession_number: str | None = None,
    domain: str = "base",
    priority: str | None = None,
) -> list[Dataset]:
    """Give a chest radiograph study: one DX image for presentation, PA.

    Parameters
    ----------
    seed
        Which chest.
    findings
        Any of ``pneumothorax``, ``effusion``, ``opacity``; empty for a normal chest.
    photometric
        ``MONOCHROME2`` or ``MONOCHROME1``; a reader sees the same image.
    voi
        ``window`` for Window Center and Width, ``lut`` for a VOI LUT Sequence (PS3.3 C.11.2).
    matrix
        640 or 1280 rows and columns.
    patient_name, patient_id, study_date, study_time, accession_number
        As in the header; the name may use any script (written as ISO_IR 192).
    domain
        A key of `models.reference.chest.CHEST_DOMAINS`.
    priority
        (0040,1003) Requested Procedure Priority of the request, where given.
    """
    arguments = {**locals(), "findings": sorted(findings)}
    identity = _Identity(arguments, patient_id=patient_id, accession_number=accession_number)
    if photometric not in {"MONOCHROME1", "MONOCHROME2"} or voi not in {"window", "lut"} or matrix not in {640, 1280}:
        raise ValueError(f"no radiograph phantom for {photometric}, VOI {voi}, {matrix} pixels")
    image = render_chest(draw_chest(seed, findings=findings, domain=domain))
    while image.shape[0] < matrix:
        image = enlarge(image)
    found = _study(identity, patient_name, study_date, study_time, priority)
    found.Modality = "DX"
    _dx_series(found, identity)
    _dx_image(found, identity, image, photometric, voi)
    return [found]


# ------------------------------------------------------------------ identity


class _Identity:
    """UIDs, numbers and dates that follow from the arguments of one call."""

    def __init__(self, arguments: dict[str, object], *, patient_id: str | None, accession_number: str | None) -> None:
        text = repr(sorted(arguments.items())).encode()
        self._number = int.from_bytes(hashlib.sha256(text).digest()[:4]) + 1
        self.patient_id = patient_id or f"PHANTOM-{self._number:010d}"
        self.accession_number = accession_number or f"A{self._number:010d}"
        self.study_id = f"S{self._number:010d}"

    def uid(self, series: int = 0, instance: int = 0) -> str:
        """Give the UID of the study (0, 0), a series (n, 0) or an instance (n, m), at most 64 characters."""
        parts = [self._number, *([series] if series else []), *([instance] if instance else [])]
        return PHANTOM_UID_ROOT + ".".join(map(str, parts))


def _study(identity: _Identity, name: str, date: str, time: str, priority: str | None) -> Dataset:
    found = Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    found.PatientName = name
    found.PatientID = identity.patient_id
    found.PatientBirthDate = ""
    found.PatientSex = "O"
    found.PatientAge = "050Y"
    found.StudyInstanceUID = identity.uid()
    found.StudyDate = found.SeriesDate = found.AcquisitionDate = found.ContentDate = date
    found.StudyTime = found.SeriesTime = found.AcquisitionTime = found.ContentTime = time
    found.StudyID = identity.study_id
    found.AccessionNumber = identity.accession_number
    found.ReferringPhysicianName = ""
    found.InstitutionName = "Computer-drawn phantom"
    found.Manufacturer = "Roi phantom generator"
    found.ManufacturerModelName = "models.reference"
    found.DeviceSerialNumber = "1"
    found.SoftwareVersions = "1"
    found.PatientIdentityRemoved = "YES"
    found.DeidentificationMethod = "Computer drawn, no patient"
    if priority is not None:
        request = Dataset()
        request.RequestedProcedureID = identity.study_id
        found.RequestedProcedurePriority = priority
        found.RequestAttributesSequence = Items([request])
    return found


def _finish(found: Dataset, sop_class_uid: UID, sop_instance_uid: str) -> Dataset:
    found.SOPClassUID = sop_class_uid
    found.SOPInstanceUID = UID(sop_instance_uid)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class_uid
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(PHANTOM_UID_ROOT + "1")
    meta.ImplementationVersionName = "ROI_PHANTOM_1"
    found.file_meta = meta
    return found


def _code(name: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = _CODES[name]
    return item


def _copy(found: Dataset) -> Dataset:
    twin = Dataset()
    twin.update(found)
    return twin


# ------------------------------------------------------------------ CT


def _ct_series(
    study: Dataset, identity: _Identity, *, number: int, description: str, kernel: str, agent: str | None
) -> Dataset:
    found = _copy(study)
    found.SeriesInstanceUID = identity.uid(number)
    found.SeriesNumber = number
    found.SeriesDescription = description
    found.StudyDescription = "CT head (computer-drawn phantom)"
    found.BodyPartExamined = "HEAD"
    found.PatientPosition = "HFS"
    found.FrameOfReferenceUID = identity.uid(99)
    found.PositionReferenceIndicator = ""
    found.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    found.AcquisitionNumber = 1
    found.ConvolutionKernel = kernel
    found.KVP = "120"
    if agent is not None:
        found.ContrastBolusAgent = agent
    found.RescaleIntercept, found.RescaleSlope, found.RescaleType = "-1024", "1", "HU"
    bone = kernel == "H60s"
    found.WindowCenter, found.WindowWidth = ("600", "2800") if bone else ("40", "80")
    _pixels(found, 512, 512, bits_stored=16, signed=True)
    return found


def _ct_slice(
    series: Dataset, uid: str, hu: Grid, *, number: int, z_mm: float, step_mm: float, tilt_deg: float
) -> Dataset:
    found = _copy(series)
    pixel_mm = HEAD_FIELD_MM / hu.shape[0]
    lean = np.deg2rad(tilt_deg)
    corner = -(hu.shape[0] - 1) / 2 * pixel_mm
    found.InstanceNumber = number
    found.SliceThickness = f"{step_mm:g}"
    found.PixelSpacing = [f"{pixel_mm / np.cos(lean):.8g}", f"{pixel_mm:.8g}"]
    found.ImageOrientationPatient = ["1", "0", "0", "0", f"{np.cos(lean):.8g}", f"{-np.sin(lean):.8g}"]
    found.ImagePositionPatient = [f"{at:.8g}" for at in (corner, corner, z_mm - corner * np.tan(lean))]
    found.SliceLocation = f"{z_mm:.8g}"
    found.GantryDetectorTilt = f"{tilt_deg:g}"
    found.PixelData = store_hu(hu).astype("<i2").tobytes()
    return _finish(found, CTImageStorage, uid)


def store_hu(hu: Grid) -> npt.NDArray[np.int16]:
    """Give Hounsfield units as stored: value - 1024 = HU, whole numbers, clipped to what a scanner reports."""
    return (np.rint(np.clip(hu, -1024, 3071)) + 1024).astype(np.int16)


def _localizer(study: Dataset, identity: _Identity, hu: Grid, step_mm: float) -> Dataset:
    found = _ct_series(study, identity, number=9, description="Topogram", kernel="T20s", agent=None)
    found.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    found.RescaleType = "US"
    side = np.repeat(hu.mean(axis=2)[::-1], 8, axis=0)
    _pixels(found, *side.shape, bits_stored=16, signed=True)
    pixel_mm = HEAD_FIELD_MM / hu.shape[1]
    found.InstanceNumber = 1
    found.SliceThickness = f"{pixel_mm:.8g}"
    found.PixelSpacing = [f"{step_mm / 8:.8g}", f"{pixel_mm:.8g}"]
    found.ImageOrientationPatient = ["0", "1", "0", "0", "0", "-1"]
    top = (len(hu) - 1) / 2 * step_mm
    found.ImagePositionPatient = ["0", f"{-HEAD_FIELD_MM / 2:.8g}", f"{top:.8g}"]
    found.PixelData = store_hu(side).astype("<i2").tobytes()
    return _finish(found, CTImageStorage, identity.uid(9, 1))


def _sharpen(hu: Grid) -> Grid:
    around: Grid = (np.roll(hu, 2, -1) + np.roll(hu, -2, -1) + np.roll(hu, 2, -2) + np.roll(hu, -2, -2)) * np.float32(
        0.25
    )
    sharp: Grid = hu + np.float32(1.5) * (hu - around)
    return sharp


def _enhance(hu: Grid) -> Grid:
    """Give the head after contrast: blood and brain a little brighter, dense blood most."""
    return hu + np.where((hu > 15) & (hu < 100), np.clip(hu - 25, 2, 60), 0).astype(np.float32)


# ------------------------------------------------------------------ DX


def _dx_series(found: Dataset, identity: _Identity) -> None:
    found.SeriesInstanceUID = identity.uid(1)
    found.SeriesNumber = 1
    found.SeriesDescription = "Chest PA"
    found.StudyDescription = "Chest radiograph (computer-drawn phantom)"
    found.PresentationIntentType = "FOR PRESENTATION"
    found.BodyPartExamined = "CHEST"
    found.ViewPosition = "PA"
    found.AnatomicRegionSequence = Items([_code("chest")])
    view = _code("postero-anterior")
    view.ViewModifierCodeSequence = Items([])
    found.ViewCodeSequence = Items([view])
    found.ImageLaterality = "U"
    found.PatientOrientation = ["L", "F"]
    found.PatientPosition = ""
    found.AcquisitionContextSequence = Items([])
    found.KVP = "120"
    found.PositionerType = "NONE"
    found.DetectorType = "DIRECT"
    found.DetectorConfiguration = "AREA"


def _dx_image(found: Dataset, identity: _Identity, image: Grid, photometric: str, voi: str) -> None:
    found.InstanceNumber = 1
    found.AcquisitionNumber = 1
    found.ImageType = ["ORIGINAL", "PRIMARY", ""]
    _pixels(found, *image.shape, bits_stored=12, signed=False)
    found.PhotometricInterpretation = photometric
    found.PresentationLUTShape = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    found.ImagerPixelSpacing = [f"{CHEST_FIELD_MM / side:.8g}" for side in image.shape]
    found.PixelIntensityRelationship = "LOG"
    found.PixelIntensityRelationshipSign = -1 if photometric == "MONOCHROME2" else 1
    found.RescaleIntercept, found.RescaleSlope, found.RescaleType = "0", "1", "US"
    found.LossyImageCompression = "00"
    found.BurnedInAnnotation = "NO"
    stored = store_grey(image)
    if photometric == "MONOCHROME1":
        stored = (STORED_LOW + STORED_HIGH - stored).astype(np.uint16)
    width = STORED_HIGH - STORED_LOW
    if voi == "lut":
        table = Dataset()
        table.LUTDescriptor = [width + 1, STORED_LOW, 16]
        table.LUTExplanation = "Black to white, linear"
        table.add_new("LUTData", "OW", np.rint(np.arange(width + 1) / width * 65535).astype("<u2").tobytes())
        found.VOILUTSequence = Items([table])
    else:
        found.WindowCenter, found.WindowWidth = f"{(STORED_LOW + STORED_HIGH) / 2 + 0.5:g}", f"{width + 1}"
        found.VOILUTFunction = "LINEAR"
    found.PixelData = stored.astype("<u2").tobytes()
    _finish(found, DigitalXRayImageStorageForPresentation, identity.uid(1, 1))


def store_grey(image: Grid) -> npt.NDArray[np.uint16]:
    """Give an image in 0..1 as stored: `STORED_LOW` is black, `STORED_HIGH` white."""
    grey: Grid = np.clip(image, 0, 1) * np.float32(STORED_HIGH - STORED_LOW)
    return np.rint(STORED_LOW + grey).astype(np.uint16)


def _pixels(found: Dataset, rows: int, columns: int, *, bits_stored: int, signed: bool) -> None:
    found.SamplesPerPixel = 1
    found.PhotometricInterpretation = "MONOCHROME2"
    found.Rows, found.Columns = rows, columns
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, bits_stored, bits_stored - 1
    found.PixelRepresentation = int(signed)

"""What an AI, or a reader, writes about a CT series: a segmentation, a measured region, a picture, a report."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import highdicom as hd
import numpy as np
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/MediaBox[0 0 200 200]/Parent 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n"
).ljust(2048)
"""One empty page, long enough to go out as bulk data."""

_OF_THE_STUDY = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
)
_MADE_BY = {
    "manufacturer": "Rọi tests",
    "manufacturer_model_name": "derived",
    "software_versions": "1",
    "device_serial_number": "1",
}
_HAEMORRHAGE = CodedConcept("50960005", "SCT", "Hemorrhage")


def segmentation(series: Sequence[Dataset], *, near: int, radius: int = 60) -> Dataset:
    """A binary segmentation: a disc around the image's middle in the slices around `near`."""
    rows, columns = np.mgrid[: series[0].Rows, : series[0].Columns]
    disc = np.hypot(rows - series[0].Rows / 2, columns - series[0].Columns / 2) < radius
    mask = np.zeros((len(series), *disc.shape), np.uint8)
    mask[max(0, near - 2) : near + 3] = disc
    described = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Haemorrhage (drawn)",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=_HAEMORRHAGE,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="disc", version="1", family=codes.DCM.ArtificialIntelligence
        ),
    )
    return hd.seg.Segmentation(
        source_images=series,
        pixel_array=mask,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[described],
        series_instance_uid=f"{series[0].StudyInstanceUID}.50",
        series_number=50,
        sop_instance_uid=f"{series[0].StudyInstanceUID}.50.1",
        instance_number=1,
        series_description="Segmentation",
        **_MADE_BY,
    )


def measured_region(series: Sequence[Dataset], *, at: int, radius: int = 60) -> Dataset:
    """A TID 1500 report with one planar region, a polygon on one slice, and its area."""
    image = series[at]
    turns = np.linspace(0, 2 * np.pi, 25)
    middle = image.Columns / 2
    points = np.stack([middle + radius * np.cos(turns), middle + radius * np.sin(turns)], axis=1)
    points[-1] = points[0]
    region = hd.sr.ImageRegion(
        graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
        graphic_data=points,
        source_image=hd.sr.SourceImageForRegion(
            referenced_sop_class_uid=image.SOPClassUID, referenced_sop_instance_uid=image.SOPInstanceUID
        ),
    )
    group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=f"{image.StudyInstanceUID}.61", identifier="Cornerstone3DTools@^0.1.0:PlanarFreehandROI"
        ),
        referenced_region=region,
        finding_type=_HAEMORRHAGE,
        measurements=[hd.sr.Measurement(name=codes.SCT.Area, value=791.7, unit=codes.UCUM.SquareMillimeter)],
    )
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(
            observer_device_context=hd.sr.ObserverContext(
                observer_type=codes.DCM.Device,
                observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
                    uid=f"{image.StudyInstanceUID}.62"
                ),
            )
        ),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[group],
    )
    return hd.sr.Comprehensive3DSR(
        evidence=[image],
        content=report[0],
        series_number=60,
        series_instance_uid=f"{image.StudyInstanceUID}.60",
        sop_instance_uid=f"{image.StudyInstanceUID}.60.1",
        instance_number=1,
        series_description="Measured region",
        **{key: value for key, value in _MADE_BY.items() if key == "manufacturer"},
    )


def secondary_capture(series: Sequence[Dataset], *, at: int) -> Dataset:
    """A colour picture of one slice, with a red square."""
    image = series[at]
    grey = np.clip(image.pixel_array.astype(float) - 1024, 0, 80) / 80 * 255
    picture = np.repeat(grey.astype(np.uint8)[..., np.newaxis], 3, axis=2)
    picture[180:330, 180:330] = [230, 30, 30]
    return hd.sc.SCImage.from_ref_dataset(
        ref_dataset=image,
        pixel_array=picture,
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        series_instance_uid=f"{image.StudyInstanceUID}.70",
        sop_instance_uid=f"{image.StudyInstanceUID}.70.1",
        series_number=70,
        instance_number=1,
        manufacturer="Rọi tests",
        patient_orientation=("L", "P"),
        pixel_spacing=[float(value) for value in image.PixelSpacing],
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )


def pdf_report(image: Dataset) -> Dataset:
    """An encapsulated PDF in a study of its own, of the image's patient."""
    report = Dataset()
    for keyword in _OF_THE_STUDY:
        setattr(report, keyword, image[keyword].value)
    report.SeriesInstanceUID, report.SeriesNumber = f"{image.StudyInstanceUID}.80", 80
    report.SOPClassUID, report.SOPInstanceUID = EncapsulatedPDFStorage, f"{image.StudyInstanceUID}.80.1"
    report.Modality, report.InstanceNumber, report.DocumentTitle = "DOC", 1, "Report"
    report.MIMETypeOfEncapsulatedDocument, report.EncapsulatedDocument = "application/pdf", PDF
    report.file_meta = deepcopy(image.file_meta)
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    return report

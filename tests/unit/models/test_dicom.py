"""Phantoms as DICOM: what a foreign validator says, and that a model is fed what it was trained on."""

from __future__ import annotations

import io
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from models.contract import Radiograph, Volume
from models.reference.cases import STEP_MM, chest_radiograph, chest_sample, head_volume, standard_positions, to_bytes
from models.reference.chest import draw_chest
from models.reference.dicom import PHANTOM_UID_ROOT, head_ct_study, radiograph_study
from models.reference.head import draw_head
from models.reference.recipes import CHEST, HEAD_CT
from models.steps import prepare


def written(dataset):
    """Give the data set as read back from its file."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    file.seek(0)
    return pydicom.dcmread(file)


def volume_of(datasets):
    """Load slices the plain way: rescale, sort along the normal."""
    read = sorted(map(written, datasets), key=lambda one: float(one.ImagePositionPatient[2]))
    voxels = np.stack([apply_modality_lut(one.pixel_array, one) for one in read]).astype(np.float32)
    rows, columns = map(float, read[0].PixelSpacing)
    step = float(read[1].ImagePositionPatient[2]) - float(read[0].ImagePositionPatient[2])
    uids = tuple(one.SOPInstanceUID for one in read)
    return Volume(voxels=voxels, spacing_mm=(step, rows, columns), affine_lps=np.eye(4), instance_uids=uids)


def radiograph_of(dataset):
    """Load an image the plain way: VOI LUT, then bright = dense (PS3.3 C.7.6.3.1.2, C.11.2)."""
    read = written(dataset)
    assert (read.RescaleSlope, read.RescaleIntercept) == (1, 0)
    seen = apply_voi_lut(read.pixel_array, read).astype(np.float64)
    low, high = (0, 65535) if "VOILUTSequence" in read else (0, 4095)
    pixels = (seen - low) / (high - low)
    pixels = 1 - pixels if read.PhotometricInterpretation == "MONOCHROME1" else pixels
    return Radiograph(pixels=pixels.astype(np.float32), instance_uid=read.SOPInstanceUID, view=read.ViewPosition)


def test_a_head_read_back_from_its_files_is_the_volume_the_model_was_trained_on():
    read = volume_of(head_ct_study(4, haemorrhage=True, slices=6))
    drawn = head_volume(draw_head(4, haemorrhage=True), standard_positions(6))
    assert (read.voxels == drawn.voxels).all()
    assert read.spacing_mm == pytest.approx(drawn.spacing_mm, rel=1e-6)
    assert len(read.instance_uids) == 6
    served, trained = (prepare(one, HEAD_CT.chain.before).pixels for one in (read, drawn))
    assert np.abs(served - trained).max() < 1e-5
    assert np.abs(served - to_bytes(trained) / 255).max() <= 0.5 / 255 + 1e-5


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("voi", ["window", "lut"])
def test_a_chest_read_back_by_either_voi_and_photometric_is_the_image_the_model_was_trained_on(photometric, voi):
    scene = draw_chest(9)
    [dataset] = radiograph_study(9, findings=frozenset(scene.findings), photometric=photometric, voi=voi)
    read = radiograph_of(dataset)
    assert np.abs(read.pixels - chest_radiograph(scene).pixels).max() < 1 / 3200
    served = prepare(read, CHEST.chain.before).pixels
    assert np.abs(served - chest_sample(9).inputs / 255).max() < 1 / 255


def test_a_twice_larger_radiograph_feeds_the_model_nearly_the_same():
    small, large = (
        prepare(radiograph_of(radiograph_study(2, findings=frozenset(), matrix=side)[0]), CHEST.chain.before).pixels
        for side in (640, 1280)
    )
    assert np.abs(small - large).mean() < 2 / 255


def test_the_same_arguments_give_the_same_bytes_and_other_arguments_other_identifiers():
    one, two = (head_ct_study(1, haemorrhage=True, slices=2) for _ in range(2))
    assert [written(a) == written(b) for a, b in zip(one, two, strict=True)] == [True, True]
    other = head_ct_study(1, haemorrhage=True, slices=2, patient_name="Lê^Thị B")
    assert other[0].StudyInstanceUID != one[0].StudyInstanceUID


def test_every_identifier_lies_below_the_phantom_root_and_is_used_once():
    study = head_ct_study(2, haemorrhage=False, slices=3, localizer=True, bone_copy=True, contrast_copy=True)
    study += radiograph_study(2, findings=frozenset())
    uids = [one.SOPInstanceUID for one in study]
    assert len(set(uids)) == len(uids) == 11
    for one in study:
        for uid in (one.SOPInstanceUID, one.SeriesInstanceUID, one.StudyInstanceUID):
            assert uid.startswith(PHANTOM_UID_ROOT)
            assert uid.is_valid


def test_a_tilted_head_steps_along_the_table_and_leans_its_planes():
    low, high = head_ct_study(3, haemorrhage=False, slices=2, tilt_deg=20.0)
    across, down = np.array(low.ImageOrientationPatient[:3]), np.array(low.ImageOrientationPatient[3:])
    step = np.array(high.ImagePositionPatient) - np.array(low.ImagePositionPatient)
    assert step == pytest.approx([0, 0, STEP_MM], abs=1e-6)
    assert np.degrees(np.arccos(np.cross(across, down)[2])) == pytest.approx(20.0, abs=1e-4)
    assert float(low.GantryDetectorTilt) == 20.0


def test_missing_slices_leave_a_gap_in_number_and_position():
    study = head_ct_study(3, haemorrhage=False, slices=4, missing=(1,))
    assert [one.InstanceNumber for one in study] == [1, 3, 4]


def test_a_vietnamese_name_survives_the_file():
    [dataset] = radiograph_study(1, findings=frozenset(), patient_name="Đỗ^Thị Ngọc Ánh")
    read = written(dataset)
    assert read.SpecificCharacterSet == "ISO_IR 192"
    assert str(read.PatientName) == "Đỗ^Thị Ngọc Ánh"


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize(
    "study",
    [
        lambda: head_ct_study(
            1, haemorrhage=True, slices=2, localizer=True, bone_copy=True, contrast_copy=True, tilt_deg=12.0
        ),
        lambda: radiograph_study(1, findings=frozenset({"effusion"})),
        lambda: radiograph_study(1, findings=frozenset(), photometric="MONOCHROME1", voi="lut"),
    ],
    ids=["head", "chest", "inverse chest"],
)
def test_a_foreign_validator_finds_no_error(study, tmp_path):
    for number, dataset in enumerate(study()):
        path = tmp_path / f"{number}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
        assert [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")] == []

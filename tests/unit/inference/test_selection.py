"""Which stack of a CT study a model sees, and what is said of every other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from inference import triage
from inference.geometry import shear_deg
from inference.signs import is_derived, kernel_kind, says_contrast
from inference.triage import RunRequest
from models.contract import ModelCard, Volume
from storage.catalog import studies
from storage.records import JobId, Outcome, StudyUid, TriageResult
from tests.builders import TrialModel, archive, card, ct_slice, enhanced_ct, keep_data_set

TILT = np.deg2rad(20)


def run_on(folder: Path, data_sets: Sequence[Dataset], model: TrialModel) -> TriageResult:
    """Keep a study and run a model on it."""
    folder.mkdir(exist_ok=True)
    kept = archive(folder)
    for data_set in data_sets:
        keep_data_set(kept, data_set)
    with kept.database.read() as tx:
        instances = studies.instances_of(tx, StudyUid(data_sets[0].StudyInstanceUID))
    request = RunRequest(job=JobId("j"), model_id=model.card.id, instances=tuple(instances))
    return triage.run(request, model, kept.objects, runtime={}, clock=lambda: 1.0)


def with_rules(kind: str = "volume", /, **rules: Any) -> ModelCard:
    """A card that takes CT stacks, or radiographs, with other rules."""
    usual = card(kind=kind)
    return replace(usual, input_rules=replace(usual.input_rules, **rules))


def series(number: int, count: int = 5, **attributes: Any) -> list[Dataset]:
    """Series `number` of the study, at five millimetres from slice to slice."""
    found = []
    for index in range(1, count + 1):
        named = {"SeriesInstanceUID": f"2.25.1.{number}", "SOPInstanceUID": f"2.25.1.{number}.{index}"}
        found.append(ct_slice(index, **{**named, "SeriesNumber": number, **attributes}))
    return found


def seen_by(model: TrialModel) -> Volume:
    (volume,) = model.shown
    assert isinstance(volume, Volume)
    return volume


# ------------------------------------------------------------------------------------------------ mixed series
@pytest.mark.parametrize(
    "other",
    [
        {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
        {"ConvolutionKernel": "BONE"},
        {"KVP": 80},
        {"TemporalPositionIdentifier": 2},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_a_mixed_series_is_split_and_one_part_used(tmp_path: Path, other: dict[str, Any]) -> None:
    usual = {"ConvolutionKernel": "H30s", "KVP": 120, "TemporalPositionIdentifier": 1}
    part = [ct_slice(number, **usual) for number in range(1, 6)]
    rest = [
        ct_slice(
            number, **{**usual, "SOPInstanceUID": f"2.25.1.1.{20 + number}", "InstanceNumber": 20 + number, **other}
        )
        for number in range(1, 5)
    ]
    model = TrialModel(card())
    result = run_on(tmp_path, [*rest, *part], model)
    assert result.outcome is Outcome.FLAGGED
    assert seen_by(model).instance_uids == tuple(one.SOPInstanceUID for one in part)
    assert len(result.provenance["selection"]) == 2
    assert result.series_reasons == {"2.25.1.1": "used"}


def test_scout_and_derived_images_among_the_slices_are_left_out(tmp_path: Path) -> None:
    scout = ct_slice(8, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    projection = ct_slice(9, ImageType=["DERIVED", "PRIMARY", "MIP"])
    model = TrialModel(card())
    assert run_on(tmp_path, [scout, *series(1), projection], model).outcome is Outcome.FLAGGED
    assert len(seen_by(model).instance_uids) == 5


def test_a_series_that_only_its_split_makes_too_short_says_why_it_was_split(tmp_path: Path) -> None:
    mixed = [ct_slice(number, ConvolutionKernel=f"K{number % 3}") for number in range(1, 7)]
    assert run_on(tmp_path / "kernels", mixed, TrialModel(card())).reason == "mixed_series"
    fan = [ct_slice(number, ImageOrientationPatient=[1, 0, 0, 0, 1, 0.02 * number]) for number in range(1, 7)]
    assert run_on(tmp_path / "fan", fan, TrialModel(card())).reason == "mixed_orientation"


def test_a_scanner_that_counts_every_rotation_gives_one_stack(tmp_path: Path) -> None:
    model = TrialModel(card())
    stepped = [ct_slice(number, AcquisitionNumber=number) for number in range(1, 6)]
    assert run_on(tmp_path, stepped, model).outcome is Outcome.FLAGGED
    assert len(seen_by(model).instance_uids) == 5


def test_two_acquisitions_of_one_place_are_two_stacks(tmp_path: Path) -> None:
    first = [ct_slice(number, AcquisitionNumber=1) for number in range(1, 6)]
    second = [
        ct_slice(number, value_hu=60.0, AcquisitionNumber=2, SOPInstanceUID=f"2.25.1.1.{20 + number}")
        for number in range(1, 5)
    ]
    model = TrialModel(card())
    result = run_on(tmp_path, [*first, *second], model)
    assert seen_by(model).instance_uids == tuple(one.SOPInstanceUID for one in first)
    assert [one["code"] for one in result.provenance["selection"]] == ["used", "not_preferred"]


# ----------------------------------------------------------------------------------------- slices twice, or missing
def test_a_slice_that_came_again_under_another_name_counts_once_and_is_noted(tmp_path: Path) -> None:
    again = ct_slice(2, SOPInstanceUID="2.25.1.1.99")
    model = TrialModel(card())
    result = run_on(tmp_path, [*series(1), again], model)
    assert result.outcome is Outcome.FLAGGED
    assert seen_by(model).instance_uids == tuple(f"2.25.1.1.{number}" for number in range(1, 6))
    assert result.provenance["marks"] == ["slices_resent"]


@pytest.mark.parametrize("other", [{"value_hu": 41.0}, {"InstanceNumber": 9}])
def test_another_image_at_the_same_place_is_not_guessed_away(tmp_path: Path, other: dict[str, Any]) -> None:
    another = ct_slice(2, **{"SOPInstanceUID": "2.25.1.1.99", **other})
    result = run_on(tmp_path, [*series(1), another], TrialModel(card()))
    assert (result.outcome, result.reason) == (Outcome.NOT_SUITABLE, "duplicate_positions")


def test_one_missing_slice_is_filled_only_where_the_card_says_so(tmp_path: Path) -> None:
    gappy = [ct_slice(number, value_hu=10.0 * number) for number in (1, 2, 4, 5)]
    refused = run_on(tmp_path / "strict", gappy, TrialModel(card()))
    assert (refused.reason, refused.detail) == ("geometry_gap", "1")
    model = TrialModel(with_rules(max_missing_slices=1))
    filled = run_on(tmp_path / "filled", gappy, model)
    assert filled.provenance["marks"] == ["slice_filled"]
    volume = seen_by(model)
    assert volume.voxels[:, 8, 8].tolist() == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert volume.instance_uids == tuple(f"2.25.1.1.{number}" for number in (1, 2, 2, 4, 5))
    assert (volume.affine_lps @ [0, 0, 4, 1])[2] == 25.0


@pytest.mark.parametrize("numbers", [(1, 2, 5, 6, 7), (1, 2, 4, 6, 7), (1, 2, 3, 4.5, 5.5)])
def test_two_missing_slices_or_an_uneven_step_are_never_filled(tmp_path: Path, numbers: tuple[float, ...]) -> None:
    stack = [ct_slice(index, ImagePositionPatient=[0, 0, 5 * number]) for index, number in enumerate(numbers, start=1)]
    result = run_on(tmp_path, stack, TrialModel(with_rules(max_missing_slices=1)))
    assert (result.outcome, result.reason) == (Outcome.NOT_SUITABLE, "geometry_gap")


# ------------------------------------------------------------------------------------------------ lean and tilt
def tilted(count: int = 5) -> list[Dataset]:
    """A stack of a tilted gantry: slices lean, positions step along the table."""
    lean = [1, 0, 0, 0, float(np.cos(TILT)), float(-np.sin(TILT))]
    return [ct_slice(number, ImageOrientationPatient=lean, GantryDetectorTilt=20) for number in range(1, count + 1)]


def test_a_tilted_stack_is_for_models_of_slices_and_not_for_models_of_volumes(tmp_path: Path) -> None:
    model = TrialModel(card())
    assert run_on(tmp_path / "slices", tilted(), model).outcome is Outcome.FLAGGED
    assert seen_by(model).spacing_mm[0] == pytest.approx(5 * np.cos(TILT))
    whole = run_on(tmp_path / "volume", tilted(), TrialModel(with_rules(whole_volume=True)))
    assert (whole.reason, whole.detail) == ("tilt_3d", "20°")
    upright = run_on(tmp_path / "upright", series(1), TrialModel(with_rules(whole_volume=True)))
    assert upright.outcome is Outcome.FLAGGED


@given(lean=st.floats(0, 89), step=st.floats(0.5, 10))
def test_the_shear_of_a_stack_is_the_lean_of_its_slices_where_the_table_moves_along_z(lean: float, step: float) -> None:
    turned = np.deg2rad(lean)
    across = (1.0, 0.0, 0.0, 0.0, float(np.cos(turned)), float(-np.sin(turned)))

    class At:
        image_orientation_patient = across

        def __init__(self, z: float) -> None:
            self.image_position_patient = (0.0, 0.0, z)

    assert shear_deg([At(0.0), At(step)]) == pytest.approx(lean, abs=1e-4)


def test_slices_that_lean_too_far_are_not_axial(tmp_path: Path) -> None:
    steep = np.deg2rad(33)
    lean = [1, 0, 0, 0, float(np.cos(steep)), float(-np.sin(steep))]
    stack = [ct_slice(number, ImageOrientationPatient=lean) for number in range(1, 6)]
    assert run_on(tmp_path, stack, TrialModel(card())).reason == "not_axial"


# ------------------------------------------------------------------------------------------------ contrast, scale, bits
@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        ("Axial brain C+", True), ("CTA HEAD", True), ("HEAD POST", True), ("HEAD W CONTRAST", True),
        ("SỌ NÃO CÓ TIÊM THUỐC", True), ("sau tiem", True), ("Head +C 5.0", True),
        ("HEAD W/O CONTRAST", False), ("BRAIN WITHOUT CONTRAST", False), ("SỌ NÃO KHÔNG TIÊM THUỐC", False),
        ("POST FOSSA 2.5", False), ("POST OP HEAD", False), ("Axial brain", False), ("NON CONTRAST HEAD", False),
        ("Sọ não trước tiêm", False), ("ISOCENTER", False),
    ],
)  # fmt: skip
def test_a_description_tells_of_contrast_medium(text: str, contrast: bool) -> None:
    assert says_contrast("", [text]) is contrast


def test_an_agent_that_says_none_is_none(tmp_path: Path) -> None:
    assert says_contrast("Ultravist 370", [])
    assert not says_contrast("NONE", ["HEAD"])
    result = run_on(tmp_path, series(1, SeriesDescription="HEAD POST CONTRAST"), TrialModel(card()))
    assert (result.outcome, result.reason) == (Outcome.NOT_SUITABLE, "contrast")


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("H30s", "soft"), ("Hr38h", "soft"), ("J40s", "soft"), ("STANDARD", "soft"), ("FC26", "soft"), ("UB", "soft"),
        ("H60s", "bone"), ("Hr64", "bone"), ("BONEPLUS", "bone"), ("FC30", "bone"), ("FC81", "bone"), ("LUNG", "bone"),
        ("", "unknown"), ("11", "unknown"),
    ],
)  # fmt: skip
def test_a_kernel_is_for_soft_tissue_or_bone(kernel: str, kind: str) -> None:
    assert kernel_kind(kernel) == kind


def test_compressed_slices_are_not_derived_images() -> None:
    assert not is_derived(("DERIVED", "PRIMARY", "AXIAL"))
    assert is_derived(("DERIVED", "SECONDARY", "AXIAL"))
    assert is_derived(("ORIGINAL", "PRIMARY", "AXIAL", "CSA MPR"))
    assert is_derived(("DERIVED", "PRIMARY", "SCREEN SAVE"))


@pytest.mark.parametrize("attributes", [{"RescaleType": "OD"}, {"RescaleSlope": None, "RescaleIntercept": None}])
def test_values_that_do_not_rescale_to_hounsfield_units_are_refused(tmp_path: Path, attributes: dict[str, Any]) -> None:
    stack = series(1)
    for one in stack:
        for name, value in attributes.items():
            setattr(one, name, value)
            if value is None:
                delattr(one, name)
    result = run_on(tmp_path, stack, TrialModel(card()))
    assert (result.outcome, result.reason) == (Outcome.NOT_SUITABLE, "hu_implausible")


def test_a_series_on_another_scale_leaves_the_other_series_to_be_used(tmp_path: Path) -> None:
    stack = [*series(1), *series(2, RescaleType="Z_EFF")]
    result = run_on(tmp_path, stack, TrialModel(card()))
    assert result.series_reasons == {"2.25.1.1": "used", "2.25.1.2": "hu_implausible: values are Z_EFF"}


STORED = {
    "sixteen bits signed": (np.int16, 16, 1, -1024, lambda hu: hu + 1024),
    "twelve bits signed, with its sign": (np.int16, 12, 1, 0, lambda hu: hu),
    "twelve bits signed, without": (np.int16, 12, 1, 0, lambda hu: hu & 0x0FFF),
    "twelve bits unsigned, overlay above": (np.uint16, 12, 0, -1024, lambda hu: (hu + 1024) | 0x1000),
}


@pytest.mark.parametrize("how", STORED)
def test_hounsfield_units_are_the_same_however_bits_are_stored(tmp_path: Path, how: str) -> None:
    kind, bits, signed, intercept, store = STORED[how]
    stack = []
    for one in series(1):
        hu = one.pixel_array.astype(int) - 1024
        one.BitsStored, one.HighBit, one.PixelRepresentation, one.RescaleIntercept = bits, bits - 1, signed, intercept
        one.PixelData = store(hu).astype(kind).tobytes()
        stack.append(one)
    model = TrialModel(card())
    assert run_on(tmp_path, stack, model).outcome is Outcome.FLAGGED
    assert sorted(set(seen_by(model).voxels.ravel().tolist())) == [-1000.0, 40.0]


def test_padding_outside_the_circle_is_air(tmp_path: Path) -> None:
    stack = series(1, PixelPaddingValue=-2000)
    for one in stack:
        pixels = one.pixel_array.copy()
        pixels[0, :4] = -2000
        one.PixelData = pixels.tobytes()
    model = TrialModel(card())
    assert run_on(tmp_path, stack, model).outcome is Outcome.FLAGGED
    assert seen_by(model).voxels[:, 0, 0].tolist() == [-1024.0] * 5


# ------------------------------------------------------------------------------------------------ enhanced multi-frame
def test_an_enhanced_object_is_read_as_a_stack_by_its_functional_groups(tmp_path: Path) -> None:
    one = enhanced_ct([4, 1, 3, 2, 5], intercepts=[-1000, -1024, -1024, -1024, -1024])
    model = TrialModel(with_rules(sop_class_uids=(one.SOPClassUID,)))
    assert run_on(tmp_path, [one], model).outcome is Outcome.FLAGGED
    volume = seen_by(model)
    assert volume.voxels[:, 8, 8].tolist() == [10.0, 20.0, 30.0, 64.0, 50.0]
    assert volume.spacing_mm == (5.0, 12.0, 12.0)
    assert volume.instance_uids == (one.SOPInstanceUID,) * 5


def test_an_enhanced_object_of_a_map_is_derived(tmp_path: Path) -> None:
    one = enhanced_ct([1, 2, 3, 4, 5], frame_type=["DERIVED", "PRIMARY", "PERFUSION", "RCBF"])
    model = TrialModel(with_rules(sop_class_uids=(one.SOPClassUID,)))
    assert run_on(tmp_path, [one], model).reason == "derived"


def test_frames_without_functional_groups_have_no_place(tmp_path: Path) -> None:
    one = ct_slice(1, NumberOfFrames=5)
    one.PixelData = one.PixelData * 5
    result = run_on(tmp_path, [one], TrialModel(card()))
    assert (result.outcome, result.reason) == (Outcome.NOT_SUITABLE, "multi_frame")


# ------------------------------------------------------------------------------------------------ age, marks, ranking
def test_the_longer_header_is_read_whole(tmp_path: Path) -> None:
    stack = series(1, ConvolutionKernel="H30s")
    for one in stack:
        one.add_new((0x0009, 0x0010), "LO", "LONG")
        one.add_new((0x0009, 0x1001), "OB", b"\0" * 100_000)
    result = run_on(tmp_path, stack, TrialModel(card()))
    assert result.provenance["selection"][0]["kernel"] == "H30s"


@pytest.mark.parametrize(("ratio", "marks"), [("7", []), ("9", ["lossy_high"]), (None, ["lossy_high"])])
def test_strong_lossy_compression_is_marked(tmp_path: Path, ratio: str | None, marks: list[str]) -> None:
    told = {} if ratio is None else {"LossyImageCompressionRatio": ratio}
    result = run_on(tmp_path, series(1, LossyImageCompression="01", **told), TrialModel(card()))
    assert (result.outcome, result.provenance["marks"]) == (Outcome.FLAGGED, marks)


def test_scouts_and_other_modalities_do_not_hide_the_reason_that_counts(tmp_path: Path) -> None:
    scout = series(9, 1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    result = run_on(tmp_path, [*scout, *series(2, ContrastBolusAgent="Ultravist")], TrialModel(card()))
    assert result.reason == "contrast"
    assert result.series_reasons == {"2.25.1.9": "localizer_only", "2.25.1.2": "contrast"}


def test_the_series_that_a_gate_turned_down_keeps_its_reason(tmp_path: Path) -> None:
    result = run_on(tmp_path, series(4, RescaleIntercept=5000), TrialModel(card()))
    assert result.reason == "hu_implausible"
    (considered,) = result.provenance["selection"]
    assert (considered["series_number"], considered["code"]) == (4, "hu_implausible")

"""Which radiograph a model sees, how it is displayed, and which it never sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from inference.ages import age_years
from inference.displayed import without_borders
from inference.frontal import find_frontal
from models.contract import Prediction, Radiograph
from models.reference.cases import chest_radiograph
from models.reference.chest import draw_chest
from models.reference.radiographs import read_image
from storage.records import Outcome
from tests.builders import TrialModel, card, radiograph
from tests.unit.inference.test_selection import run_on, with_rules

SHADE = np.linspace(400, 3600, 256).round().reshape(16, 16).astype(np.uint16)
EXPECTED = SHADE.astype(np.float32) / 4095


def shown_by(folder: Path, data_set: Dataset) -> np.ndarray:
    """The pixels that a model is shown of an image."""
    model = TrialModel(card(kind="radiograph"))
    result = run_on(folder, [data_set], model)
    assert result.outcome is Outcome.FLAGGED, result
    (image,) = model.shown
    assert isinstance(image, Radiograph)
    return image.pixels


def table(bits: int, *, first: int = 0, entries: int = 4096) -> Dataset:
    """A lookup table that maps 0..4095 to its full range, straight."""
    item = Dataset()
    item.LUTDescriptor = [entries, first, bits]
    top = 2**bits - 1
    item.LUTData = (np.arange(entries) * top // (entries - 1)).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


def packed(item: Dataset) -> Dataset:
    """A table of eight bits with two entries to a word."""
    item.LUTData = item.LUTData[::2]
    return item


def without_window(data_set: Dataset) -> Dataset:
    del data_set.WindowCenter, data_set.WindowWidth
    return data_set


def wide(pixels: np.ndarray, bits: int, **attributes: Any) -> Dataset:
    """The anatomy in `bits` bits, in a window over its whole range."""
    usual = {"BitsStored": bits, "HighBit": bits - 1, "WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits}
    return radiograph(pixels, **{**usual, **attributes})


def signed() -> Dataset:
    data_set = radiograph((SHADE.astype(np.int16) - 2048), PixelRepresentation=1, WindowCenter=0)
    data_set.PixelRepresentation = 1
    return data_set


def sigmoid() -> Dataset:
    """Stored values that a sigmoid window brings to the anatomy: its own inverse applied before."""
    wanted = np.clip(EXPECTED, 0.02, 0.98)
    stored = 2048 - 1000 / 4 * np.log(1 / wanted - 1)
    return radiograph(stored.round().astype(np.uint16), WindowCenter=2048, WindowWidth=1000, VOILUTFunction="SIGMOID")


def framed() -> Dataset:
    """The anatomy within a frame of padding."""
    pixels = np.full((20, 24), 4095, dtype=np.uint16)
    pixels[2:18, 4:20] = SHADE
    return radiograph(pixels, PixelPaddingValue=4095)


SAME_ANATOMY: dict[str, Callable[[], Dataset]] = {
    "12 bits in a window": lambda: radiograph(SHADE),
    "8 bits": lambda: wide(SHADE // 16, 8),
    "10 bits": lambda: wide(SHADE // 4, 10),
    "16 bits": lambda: wide(SHADE * 16, 16),
    "signed": signed,
    "rescaled": lambda: radiograph(SHADE, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=3996, WindowWidth=8192),
    "LINEAR_EXACT": lambda: radiograph(SHADE, VOILUTFunction="LINEAR_EXACT", WindowCenter=2047.5, WindowWidth=4095),
    "SIGMOID": sigmoid,
    "VOI LUT": lambda: without_window(radiograph(SHADE, VOILUTSequence=[table(16)])),
    "VOI LUT of 8 bits": lambda: without_window(radiograph(SHADE, VOILUTSequence=[table(8)])),
    "VOI LUT of 8 bits, two entries a word": lambda: without_window(
        radiograph(SHADE, VOILUTSequence=[packed(table(8))])
    ),
    "VOI LUT before a window that is also there": lambda: radiograph(
        SHADE, VOILUTSequence=[table(16)], WindowCenter=100, WindowWidth=10
    ),
    "modality LUT, then a window over what it gives": lambda: radiograph(
        SHADE, ModalityLUTSequence=[table(16)], WindowCenter=32768, WindowWidth=65536
    ),
    "MONOCHROME1": lambda: radiograph(4095 - SHADE, PhotometricInterpretation="MONOCHROME1"),
    "MONOCHROME1 that also says INVERSE": lambda: radiograph(
        4095 - SHADE, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"
    ),
    "MONOCHROME2 that says INVERSE": lambda: radiograph(4095 - SHADE, PresentationLUTShape="INVERSE"),
    "MONOCHROME1 with a VOI LUT": lambda: without_window(
        radiograph(4095 - SHADE, PhotometricInterpretation="MONOCHROME1", VOILUTSequence=[table(16)])
    ),
    "within padding": framed,
    "an overlay above its bits": lambda: radiograph(SHADE | 0x2000),
}


@pytest.mark.parametrize("how", SAME_ANATOMY)
def test_one_anatomy_gives_one_tensor_however_it_is_stored(tmp_path: Path, how: str) -> None:
    expected = np.clip(EXPECTED, 0.02, 0.98) if how == "SIGMOID" else EXPECTED
    allowance = 1 / 255 if how != "8 bits" else 1.01 / 255
    assert np.abs(shown_by(tmp_path, SAME_ANATOMY[how]()) - expected).max() <= allowance


def enlarged(data_set: Dataset, times: int) -> Dataset:
    """The image with each pixel so many times each way."""
    pixels = data_set.pixel_array.repeat(times, axis=0).repeat(times, axis=1)
    data_set.Rows, data_set.Columns = pixels.shape
    data_set.PixelData = pixels.tobytes()
    return data_set


@pytest.mark.parametrize("how", [*SAME_ANATOMY, "percentiles"])
def test_an_image_of_more_pixels_than_shades_is_shown_bit_for_bit_alike(tmp_path: Path, how: str) -> None:
    """Its shades are displayed, not its pixels: what stands for 256 pixels apart stands for millions."""
    make = SAME_ANATOMY.get(how, lambda: without_window(radiograph(SHADE)))
    (tmp_path / "small").mkdir()
    (tmp_path / "large").mkdir()
    small, large = shown_by(tmp_path / "small", make()), shown_by(tmp_path / "large", enlarged(make(), 20))
    assert large.shape == (320, 320)
    if how == "percentiles":  # they lie between pixels, of which the large image has more
        assert np.abs(large - small.repeat(20, axis=0).repeat(20, axis=1)).max() < 0.01
    else:
        assert np.array_equal(large, small.repeat(20, axis=0).repeat(20, axis=1))


# ------------------------------------------------------------------------------------------------ borders
def test_what_the_collimator_covers_is_cut_off(tmp_path: Path) -> None:
    covered = np.zeros((30, 30), dtype=np.uint16)
    covered[5:21, 8:24] = SHADE
    noisy = covered + np.random.default_rng(1).integers(0, 3, covered.shape).astype(np.uint16) * (covered == 0)
    told = {
        "CollimatorShape": "RECTANGULAR", "CollimatorUpperHorizontalEdge": 6, "CollimatorLowerHorizontalEdge": 21,
        "CollimatorLeftVerticalEdge": 9, "CollimatorRightVerticalEdge": 24,
    }  # fmt: skip
    assert shown_by(tmp_path / "flat", radiograph(covered)).shape == (16, 16)
    assert shown_by(tmp_path / "untold", radiograph(noisy)).shape == (30, 30)
    seen = shown_by(tmp_path / "told", radiograph(noisy, **told))
    assert np.abs(seen - EXPECTED).max() <= 1 / 255


def test_edges_that_would_leave_next_to_nothing_are_not_believed() -> None:
    pixels = np.random.default_rng(2).random((40, 40)).astype(np.float32)
    assert without_borders(pixels, (0, 2, 0, 40)).shape == (40, 40)
    dot = np.zeros((40, 40), dtype=np.float32)
    dot[39, 39] = 1
    assert without_borders(dot).shape == (40, 40)


@pytest.mark.parametrize("seed", range(3))
def test_a_drawn_chest_is_never_cropped(seed: int) -> None:
    pixels = chest_radiograph(draw_chest(seed)).pixels
    assert without_borders(pixels).shape == pixels.shape


# ------------------------------------------------------------------------------------------------ which view
def chest(turns: int = 0, **attributes: Any) -> Dataset:
    """A drawn chest, turned, whose header says neither view nor body part."""
    pixels = np.rot90(chest_radiograph(draw_chest(5)).pixels, turns)
    said = {"ViewPosition": "", "BodyPartExamined": ""}
    return radiograph((pixels * 4095).round().astype(np.uint16), **{**said, **attributes})


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_pixels_tell_a_frontal_chest_and_which_way_up_it_is(turns: int, mirrored: bool) -> None:
    upright = chest_radiograph(draw_chest(5)).pixels
    upright = upright[:, ::-1] if mirrored else upright
    found = find_frontal(np.rot90(upright, turns))
    assert found is not None
    assert (found.turn(np.rot90(upright, turns)) == upright).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda chest: 1 - chest,
        lambda chest: np.random.default_rng(3).random(chest.shape).astype(np.float32),
        lambda chest: np.linspace(0, 1, chest.size, dtype=np.float32).reshape(chest.shape),
        lambda chest: chest[:8, :8],
    ],
    ids=["inverted", "noise", "a wedge", "a few pixels"],
)
def test_what_shows_no_frontal_chest_is_no_chest(make: Callable[[np.ndarray], np.ndarray]) -> None:
    assert find_frontal(make(chest_radiograph(draw_chest(5)).pixels)) is None


def test_a_chest_of_unknown_view_is_used_upright_and_marked(tmp_path: Path) -> None:
    model = TrialModel(card(kind="radiograph"))
    result = run_on(tmp_path, [chest(turns=1)], model)
    assert (result.outcome, result.provenance["marks"]) == (Outcome.FLAGGED, ["view_from_pixels", "turned_upright"])
    assert np.abs(model.shown[0].pixels - chest_radiograph(draw_chest(5)).pixels).max() < 1 / 255


@pytest.mark.parametrize(
    ("reason", "attributes"),
    [
        ("view_lateral", {"ViewPosition": "LL"}),
        ("other_body_part", {"BodyPartExamined": "HAND"}),
        ("for_processing", {"PresentationIntentType": "FOR PROCESSING"}),
        ("not_human", {"PatientSpeciesDescription": "Canine species"}),
    ],
)
def test_the_pixels_never_overrule_what_the_header_rules_out(
    tmp_path: Path, reason: str, attributes: dict[str, Any]
) -> None:
    result = run_on(tmp_path, [chest(**attributes)], TrialModel(card(kind="radiograph")))
    assert (result.outcome, result.reason) == (Outcome.NOT_SUITABLE, reason)


def test_of_real_chests_that_the_mean_was_not_made_of_none_is_turned_wrongly(shared_data: Path) -> None:
    others = [*sorted((shared_data / "cxr").glob("*.png"))[1::2], *(shared_data / "covid_cxr").glob("*.png")]
    found = [find_frontal(np.rot90(read_image(path).pixels, 1)) for path in others]
    turns = [one.quarter_turns for one in found if one is not None]
    assert set(turns) == {3}
    assert len(turns) >= 24, f"{len(turns)} of {len(others)}"


def test_a_person_may_be_said_to_be_one(tmp_path: Path) -> None:
    said = radiograph(SHADE, PatientSpeciesDescription="Homo sapiens")
    assert run_on(tmp_path, [said], TrialModel(card(kind="radiograph"))).outcome is Outcome.FLAGGED


# ------------------------------------------------------------------------------------------------ age
@pytest.mark.parametrize(
    ("said", "years"),
    [
        ({"PatientAge": "014Y"}, 14), ({"PatientAge": "015Y"}, 15), ({"PatientAge": "175M"}, 14),
        ({"PatientAge": "010D"}, 0), ({"PatientAge": "062"}, 62),
        ({"PatientBirthDate": "20100302", "StudyDate": "20250301"}, 14),
        ({"PatientBirthDate": "20100301", "StudyDate": "20250301"}, 15),
        ({"PatientAge": "050Y", "PatientBirthDate": "20200101", "StudyDate": "20250301"}, 5),
        ({"PatientAge": "old"}, None), ({"PatientBirthDate": "20300101", "StudyDate": "20250301"}, None), ({}, None),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Invalid value for VR AS")
def test_the_age_is_the_lower_of_what_the_header_says(said: dict[str, str], years: int | None) -> None:
    assert age_years(radiograph(**said)) == years


@pytest.mark.parametrize(
    ("said", "reason", "marks"),
    [
        ({"PatientAge": "014Y"}, "age_out_of_range", []),
        ({"PatientAge": "015Y"}, None, []),
        ({}, None, ["age_unknown"]),
    ],
)
def test_a_patient_under_the_floor_gets_no_score_and_an_unknown_age_is_said(  # A22
    tmp_path: Path, said: dict[str, str], reason: str | None, marks: list[str]
) -> None:
    adults = with_rules("radiograph", min_age_years=15)
    result = run_on(tmp_path, [radiograph(SHADE, **said)], TrialModel(adults))
    assert (result.reason, result.provenance.get("marks", [])) == (reason, marks)


# ------------------------------------------------------------------------------------------------ burned-in text
class CornerModel(TrialModel):
    """Scores what stands in the first corner, as a shortcut would."""

    def predict(self, image: Any) -> Prediction:
        self.score = float(image.pixels[0, 0])
        return super().predict(image)


@pytest.mark.parametrize(("said", "reason"), [("YES", "burned_in"), ("NO", None)])
def test_a_score_that_hangs_on_burned_in_text_is_no_answer(tmp_path: Path, said: str, reason: str | None) -> None:
    model = CornerModel(card(kind="radiograph"))
    result = run_on(tmp_path, [radiograph(SHADE[::-1, ::-1].copy(), BurnedInAnnotation=said)], model)
    assert result.reason == reason


def test_burned_in_text_that_the_score_does_not_hang_on_is_allowed(tmp_path: Path) -> None:
    model = TrialModel(card(kind="radiograph"))
    assert run_on(tmp_path, [radiograph(SHADE, BurnedInAnnotation="YES")], model).outcome is Outcome.FLAGGED
    assert len(model.shown) == 2

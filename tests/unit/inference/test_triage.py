"""One model on one study: right input or no answer, and a score judged against its operating point."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from inference import child, triage
from inference.triage import RunRequest
from storage.adapters.memory import MemoryStore
from storage.catalog import studies
from storage.records import JobId, Outcome, StudyUid, TriageResult
from storage.whole import read_whole
from tests.builders import TrialModel, archive, card, ct_slice, keep_data_set, radiograph

JOB = JobId("j")


def _run(folder: Path, data_sets: list[Dataset], model: TrialModel) -> TriageResult:
    folder.mkdir(exist_ok=True)
    kept = archive(folder)
    for data_set in data_sets:
        keep_data_set(kept, data_set)
    with kept.database.read() as tx:
        instances = studies.instances_of(tx, StudyUid(data_sets[0].StudyInstanceUID))
    request = RunRequest(job=JOB, model_id=model.card.id, instances=tuple(instances))
    return triage.run(request, model, kept.objects, runtime={"device": "cpu"}, clock=lambda: 1.0)


class _Pipe(io.BytesIO):
    """A stream as an object store on the network gives it: it goes forward only."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation

    tell = seek


def test_objects_that_can_only_be_read_forward_are_judged_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = MemoryStore.open
    monkeypatch.setattr(MemoryStore, "open", lambda store, key, **window: _Pipe(whole(store, key, **window).read()))
    stack = [ct_slice(number) for number in range(1, 6)]
    assert _run(tmp_path / "stack", stack, TrialModel(card())).outcome is Outcome.FLAGGED
    chest = TrialModel(card(kind="radiograph"))
    assert _run(tmp_path / "image", [radiograph()], chest).outcome is Outcome.FLAGGED


def test_a_stack_is_shown_in_hounsfield_units_from_feet_to_head(tmp_path: Path) -> None:
    model = TrialModel(card())
    result = _run(tmp_path, [ct_slice(number, value_hu=10.0 * number) for number in (3, 1, 4, 2)], model)
    (volume,) = model.shown
    assert volume.voxels[:, 8, 8].tolist() == [10.0, 20.0, 30.0, 40.0]
    assert volume.spacing_mm == (5.0, 12.0, 12.0)
    assert volume.instance_uids == tuple(f"2.25.1.1.{number}" for number in (1, 2, 3, 4))
    assert (volume.affine_lps @ [0, 0, 3, 1])[:3].tolist() == [0, 0, 20]
    assert result.outcome is Outcome.FLAGGED
    assert result.series_reasons == {"2.25.1.1": "used"}
    assert list(result.times) == ["selected", "decoded", "gated", "predicted"]


@pytest.mark.parametrize(("score", "outcome"), [(0.5, Outcome.FLAGGED), (0.49, Outcome.NOT_FLAGGED)])
def test_a_score_is_judged_against_its_operating_point(tmp_path: Path, score: float, outcome: Outcome) -> None:
    result = _run(tmp_path, [ct_slice(number) for number in range(1, 6)], TrialModel(card(), score))
    (finding,) = result.findings
    assert (result.outcome, finding.positive) == (outcome, outcome is Outcome.FLAGGED)
    assert (finding.score, finding.threshold, finding.operating_point) == (score, 0.5, "balanced")
    assert result.urgency == ("critical" if finding.positive else None)


@pytest.mark.parametrize(("root", "raises"), [(None, True), ("2.25.1.1.", True), ("2.25.77.", False)])
def test_a_phantom_model_raises_phantoms_only(tmp_path: Path, root: str | None, raises: bool) -> None:
    result = _run(tmp_path, [ct_slice(number) for number in range(1, 6)], TrialModel(card(root=root)))
    assert (result.outcome, result.raises) == (Outcome.FLAGGED, raises)


def _slices(**attributes: object) -> list[Dataset]:
    return [ct_slice(number, **attributes) for number in range(1, 6)]


UNSUITABLE = {
    "localizer_only": _slices(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "derived": _slices(ImageType=["DERIVED", "SECONDARY", "MIP"]),
    "too_few_slices": _slices()[:3],
    "geometry_gap": [ct_slice(number) for number in (1, 2, 4, 5, 6)],
    "duplicate_positions": [*_slices(), ct_slice(9, ImagePositionPatient=[0, 0, 10])],
    "not_axial": _slices(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
    "contrast": _slices(ContrastBolusAgent="Ultravist"),
    "hu_implausible": _slices(RescaleIntercept=5000),
    "mixed_matrix": [*_slices(), ct_slice(6, size=18)],
    "no_eligible_series": [radiograph()],
}


@pytest.mark.parametrize("reason", UNSUITABLE)
def test_an_unsuitable_stack_is_never_scored(tmp_path: Path, reason: str) -> None:
    model = TrialModel(card())
    result = _run(tmp_path, UNSUITABLE[reason], model)
    assert (result.outcome, result.reason, result.findings, model.shown) == (Outcome.NOT_SUITABLE, reason, (), [])


def test_no_geometry_is_not_guessed(tmp_path: Path) -> None:
    data_sets = _slices()
    for data_set in data_sets:
        del data_set.ImagePositionPatient
    assert _run(tmp_path, data_sets, TrialModel(card())).reason == "no_geometry"


def test_pixel_data_that_breaks_off_is_an_input_error(tmp_path: Path) -> None:
    data_sets = _slices()
    data_sets[2].PixelData = data_sets[2].PixelData[:100]
    assert _run(tmp_path, data_sets, TrialModel(card())).reason == "decode_error"


def test_the_brain_kernel_is_preferred_and_the_other_series_has_its_reason(tmp_path: Path) -> None:
    bone = [
        ct_slice(number, SeriesInstanceUID="2.25.1.2", SOPInstanceUID=f"2.25.1.2.{number}", ConvolutionKernel="BONE")
        for number in range(1, 6)
    ]
    result = _run(tmp_path, [*bone, *_slices(ConvolutionKernel="H30s")], TrialModel(card()))
    assert result.series_instance_uid == "2.25.1.1"
    assert result.series_reasons["2.25.1.1"] == "used"
    assert result.series_reasons["2.25.1.2"] == "not_preferred: score 0.50 against 1.00"
    used, other = result.provenance["selection"]
    assert (used["code"], used["kernel"], used["images"], used["step_mm"]) == ("used", "H30s", 5, 5.0)
    assert other["weights"] == {"base": 1.0, "bone kernel": -0.5, "slice step": 0.0}


def test_a_score_that_is_no_number_is_no_answer(tmp_path: Path) -> None:
    result = _run(tmp_path, _slices(), TrialModel(card(), float("nan")))
    assert (result.outcome, result.reason) == (Outcome.NOT_SUITABLE, "score_implausible")


# ------------------------------------------------------------------------------------------------ radiographs
SHADE = np.linspace(0, 4095, 256).reshape(16, 16).astype(np.uint16)


def _tensor(folder: Path, data_set: Dataset) -> np.ndarray:
    model = TrialModel(card(kind="radiograph"))
    result = _run(folder, [data_set], model)
    assert result.outcome is Outcome.FLAGGED, result
    return model.shown[0].pixels


def _with_lut() -> Dataset:
    data_set = radiograph(SHADE)
    del data_set.WindowCenter, data_set.WindowWidth
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.LUTData = (np.arange(4096) * 65535 // 4095).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    data_set.VOILUTSequence = [item]
    return data_set


SAME_ANATOMY = {
    "window": lambda: radiograph(SHADE),
    "VOI LUT": _with_lut,
    "MONOCHROME1": lambda: radiograph(4095 - SHADE, PhotometricInterpretation="MONOCHROME1"),
    "10 bits": lambda: radiograph(SHADE // 4, BitsStored=10, HighBit=9, WindowCenter=512, WindowWidth=1024),
    "8 bits of 16": lambda: radiograph(SHADE // 16, BitsStored=8, HighBit=7, WindowCenter=128, WindowWidth=256),
}


@pytest.mark.parametrize("how", SAME_ANATOMY)
def test_one_anatomy_gives_one_tensor_however_it_is_stored(tmp_path: Path, how: str) -> None:
    expected = SHADE.astype(np.float32) / 4095
    assert np.abs(_tensor(tmp_path, SAME_ANATOMY[how]()) - expected).max() <= 1 / 255


@pytest.mark.parametrize(
    ("reason", "attributes"),
    [
        ("view_lateral", {"ViewPosition": "LL"}),
        ("view_unknown", {"ViewPosition": ""}),
        ("for_processing", {"PresentationIntentType": "FOR PROCESSING"}),
        ("not_human", {"PatientSpeciesDescription": "Canine species"}),
        ("other_body_part", {"BodyPartExamined": "HAND"}),
        ("multi_frame", {"NumberOfFrames": 2}),
        ("decode_error", {"PixelData": b"\0" * 8}),
    ],
)
def test_an_unsuitable_radiograph_is_never_scored(tmp_path: Path, reason: str, attributes: dict[str, object]) -> None:
    model = TrialModel(card(kind="radiograph"))
    result = _run(tmp_path, [radiograph(**attributes)], model)
    assert (result.outcome, result.reason, model.shown) == (Outcome.NOT_SUITABLE, reason, [])


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
@pytest.mark.parametrize("kind", ["volume", "radiograph"])
def test_damaged_objects_are_never_judged(tmp_path: Path, damage: str, kind: str) -> None:
    kept = archive(tmp_path)
    data_sets = [ct_slice(number) for number in range(1, 6)] if kind == "volume" else [radiograph()]
    for data_set in data_sets:
        keep_data_set(kept, data_set)
    with kept.database.read() as tx:
        instances = studies.instances_of(tx, StudyUid(data_sets[0].StudyInstanceUID))
    key = instances[len(instances) // 2].object_key
    whole = kept.objects._objects.pop(key)
    if damage != "missing":
        kept.objects._objects[key] = whole[:-1] + (bytes([whole[-1] ^ 1]) if damage == "flipped" else b"")
    model = TrialModel(card(kind=kind))
    request = RunRequest(job=JOB, model_id=model.card.id, instances=tuple(instances))
    answer = child._answer(request, {model.card.id: model}, kept.objects, {})
    assert isinstance(answer, child.Failure)
    assert answer.reason == "object_damaged"
    assert model.shown == []


def test_a_copy_with_other_file_meta_is_whole(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    keep_data_set(kept, ct_slice())
    with kept.database.read() as tx:
        (instance,) = studies.instances_of(tx, StudyUid("2.25.1"))
    assert read_whole(kept.objects, replace(instance, meta_bytes=instance.meta_bytes + 8))

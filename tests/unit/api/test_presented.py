"""Presentation states, overlays, annotation and colour profiles: what a picture shows beside its pixels (W-35)."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageCms
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from imaging.lettering import writable
from tests import builders
from tests.servers.dcmtk import dcmtk
from tests.unit.api import requests

STUDY = "/dicom-web/studies/2.25.2"
IMAGE = f"{STUDY}/series/2.25.2.1/instances/2.25.2.1.1"
STATE = f"{STUDY}/series/2.25.2.9/instances/2.25.2.9.1"
GSPS = "1.2.840.10008.5.1.4.1.1.11.1"
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
PNG = {"Accept": "image/png"}


def image(client: TestClient, pixels: npt.NDArray[np.uint16] = RAMP, **attributes: Any) -> Dataset:
    data_set = builders.radiograph(pixels)
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    assert requests.store(client, data_set).status_code == 200
    return data_set


def item(**attributes: Any) -> Dataset:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, Sequence(value) if keyword.endswith("Sequence") else value)
    return made


def reference(uid: str = "2.25.2.1.1") -> Dataset:
    return item(ReferencedSOPClassUID=builders.DX, ReferencedSOPInstanceUID=uid)


def state(client: TestClient, *, of: str = "2.25.2.1.1", area: bool = True, **attributes: Any) -> Dataset:
    """Keep a presentation state as its IOD wants it, so that other programs read it too."""
    made = builders.radiograph(RAMP)
    for keyword in [element.keyword for element in made if element.tag.group in {0x0028, 0x7FE0}]:
        delattr(made, keyword)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = GSPS
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = "2.25.2.9.1"
    made.SeriesInstanceUID, made.Modality, made.InstanceNumber, made.SeriesNumber = "2.25.2.9", "PR", 1, 9
    made.ContentLabel, made.ContentDescription, made.ContentCreatorName = "A", "", ""
    made.PresentationCreationDate, made.PresentationCreationTime = "20260301", "080000"
    made.ReferencedSeriesSequence = Sequence(
        [item(SeriesInstanceUID="2.25.2.1", ReferencedImageSequence=[reference(of)])]
    )
    made.PresentationLUTShape = "IDENTITY"
    if area:
        made.DisplayedAreaSelectionSequence = Sequence([displayed([1, 1], [64, 64])])
    for keyword, value in attributes.items():
        if keyword == "OverlayActivationLayer":
            made.add_new(0x60001001, "CS", value)
        else:
            setattr(made, keyword, Sequence(value) if keyword.endswith("Sequence") else value)
    assert requests.store(client, made).status_code == 200
    return made


def displayed(first: list[int], last: list[int]) -> Dataset:
    return item(
        DisplayedAreaTopLeftHandCorner=first,
        DisplayedAreaBottomRightHandCorner=last,
        PresentationSizeMode="SCALE TO FIT",
        PresentationPixelAspectRatio=[1, 1],
    )


def shown(client: TestClient, url: str = f"{STATE}/rendered") -> Any:
    answer = client.get(url, headers=PNG)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text
    return imagecodecs.png_decode(answer.content)


def window(center: float, width: float) -> Dataset:
    return item(WindowCenter=center, WindowWidth=width)


def linear(values: Any, center: float, width: float) -> Any:
    return np.rint(np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255)


# ----------------------------------------------------------------------------------------------------- grey levels
def test_the_states_window_takes_the_place_of_the_images_own(client: TestClient) -> None:
    image(client, WindowCenter=100, WindowWidth=50, RescaleSlope=3, RescaleIntercept=-7)
    state(client, RescaleSlope=1, RescaleIntercept=-1000, RescaleType="US", SoftcopyVOILUTSequence=[window(0, 400)])
    assert np.abs(shown(client) - linear(RAMP - 1000.0, 0, 400)).max() <= 1


def test_a_state_without_a_window_shows_every_value_that_there_may_be(client: TestClient) -> None:
    image(client, WindowCenter=100, WindowWidth=50)
    state(client)
    stored = int(builders.radiograph(RAMP).BitsStored)
    assert np.abs(shown(client) - RAMP / ((1 << stored) - 1) * 255).max() <= 1


def test_inverse_is_the_states_word_whatever_the_image_says(client: TestClient) -> None:
    image(client, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    state(client, SoftcopyVOILUTSequence=[window(2048, 4096)])
    assert np.abs(shown(client) - linear(RAMP, 2048, 4096)).max() <= 1


def test_a_presentation_lut_is_followed(client: TestClient) -> None:
    image(client)
    made = item()
    made.add_new(0x00283002, "US", [256, 0, 8])
    made.add_new(0x00283006, "OW", bytes(255 - level for level in range(256)))
    state(client, SoftcopyVOILUTSequence=[window(2048, 4096)], PresentationLUTSequence=[made])
    assert np.abs(shown(client) - (255 - linear(RAMP, 2048, 4096))).max() <= 1


def test_a_window_of_another_image_is_not_taken(client: TestClient) -> None:
    image(client)
    other = window(10, 20)
    other.ReferencedImageSequence = Sequence([reference("2.25.77")])
    mine = window(1000, 500)
    mine.ReferencedImageSequence = Sequence([reference()])
    state(client, SoftcopyVOILUTSequence=[other, mine])
    assert np.abs(shown(client) - linear(RAMP, 1000, 500)).max() <= 1


# ----------------------------------------------------------------------------------------------------- geometry
TURNS: dict[tuple[int, str], Any] = {
    (0, "N"): lambda made: made,
    (90, "N"): lambda made: np.rot90(made, -1),
    (180, "N"): lambda made: np.rot90(made, 2),
    (270, "N"): lambda made: np.rot90(made, 1),
    (90, "Y"): lambda made: np.fliplr(np.rot90(made, -1)),
    (0, "Y"): np.fliplr,
}


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_a_state_turns_clockwise_and_then_mirrors(client: TestClient, turn: tuple[int, str]) -> None:  # PS3.3 C.10.6
    image(client)
    state(
        client,
        SoftcopyVOILUTSequence=[window(2048, 4096)],
        ImageRotation=turn[0],
        ImageHorizontalFlip=turn[1],
        DisplayedAreaSelectionSequence=[displayed([1, 1], [64, 32])],
    )
    assert np.abs(shown(client).astype(int) - TURNS[turn](linear(RAMP[:32], 2048, 4096))).max() <= 1


def test_an_area_beyond_the_image_is_black_there(client: TestClient) -> None:
    image(client, np.full((64, 64), 4095, np.uint16))
    state(client, DisplayedAreaSelectionSequence=[displayed([-3, 1], [64, 66])])
    picture = shown(client)
    assert picture.shape == (66, 68)
    assert (picture[:, :4].max(), picture[64:].max(), picture[0, 4] > 0) == (0, 0, True)


def test_shutters_cover_what_is_outside_of_all_of_them(client: TestClient) -> None:  # PS3.3 C.7.6.11
    image(client, np.full((64, 64), 4095, np.uint16))
    state(
        client,
        SoftcopyVOILUTSequence=[window(2048, 4096)],
        ShutterShape=["RECTANGULAR", "CIRCULAR"],
        ShutterLeftVerticalEdge=11,
        ShutterRightVerticalEdge=50,
        ShutterUpperHorizontalEdge=1,
        ShutterLowerHorizontalEdge=64,
        CenterOfCircularShutter=[32, 32],
        RadiusOfCircularShutter=30,
        ShutterPresentationValue=0x8000,
    )
    open_ = shown(client) == 255
    rows, columns = np.ogrid[1:65, 1:65]
    expected = (columns >= 11) & (columns <= 50) & ((rows - 32) ** 2 + (columns - 32) ** 2 <= 900)
    assert np.array_equal(open_, expected)
    assert set(np.unique(shown(client)).tolist()) == {0x80, 255}


# ----------------------------------------------------------------------------------------------------- drawn on it
def graphic(kind: str, *points: float, units: str = "PIXEL", filled: str = "N") -> Dataset:
    drawing = item(
        GraphicAnnotationUnits=units,
        GraphicDimensions=2,
        NumberOfGraphicPoints=len(points) // 2,
        GraphicData=list(points),
        GraphicType=kind,
        GraphicFilled=filled,
    )
    return item(GraphicLayer="L", GraphicObjectSequence=[drawing])


def layer(level: int = 0xFFFF) -> list[Dataset]:
    return [item(GraphicLayer="L", GraphicLayerOrder=1, GraphicLayerRecommendedDisplayGrayscaleValue=level)]


@pytest.mark.parametrize(
    ("drawing", "inside", "outside"),
    [
        (graphic("POLYLINE", 0, 32, 64, 32), (32, 40), (10, 10)),
        (graphic("POLYLINE", 0.0, 0.5, 1.0, 0.5, units="DISPLAY"), (32, 40), (10, 10)),
        (graphic("POLYLINE", 8, 8, 24, 8, 24, 24, 8, 24, 8, 8, filled="Y"), (16, 16), (40, 40)),
        (graphic("CIRCLE", 32, 32, 42, 32, filled="Y"), (38, 32), (43, 43)),
        (graphic("ELLIPSE", 12, 32, 52, 32, 32, 28, 32, 36, filled="Y"), (32, 48), (38, 32)),
    ],
)
def test_graphics_are_where_the_state_puts_them(
    client: TestClient, drawing: Dataset, inside: tuple[int, int], outside: tuple[int, int]
) -> None:
    image(client, np.zeros((64, 64), np.uint16))
    state(client, GraphicLayerSequence=layer(0xC000), GraphicAnnotationSequence=[drawing])
    picture = shown(client)
    scale = picture.shape[0] // 64
    rows, columns = (np.array(place) * scale for place in (inside, outside))
    assert (picture[tuple(rows)], picture[tuple(columns)]) == (0xC0, 0)


def test_a_drawing_turns_with_the_image_and_its_words_stay_upright(client: TestClient) -> None:
    image(client, np.zeros((64, 64), np.uint16))
    line = graphic("POLYLINE", 0, 16, 64, 16)
    words = item(
        BoundingBoxAnnotationUnits="DISPLAY",
        BoundingBoxTopLeftHandCorner=[0.05, 0.05],
        BoundingBoxBottomRightHandCorner=[0.6, 0.15],
        BoundingBoxTextHorizontalJustification="LEFT",
        UnformattedTextValue="Gãy xương",
    )
    line.TextObjectSequence = Sequence([words])
    state(
        client,
        SpecificCharacterSet="ISO_IR 192",
        ImageRotation=90,
        ImageHorizontalFlip="N",
        GraphicLayerSequence=layer(),
        GraphicAnnotationSequence=[line],
    )
    picture = shown(client)
    side = picture.shape[0]
    assert picture[side // 2, round(side * 0.75)] == 255  # a line across the upper quarter stands at the right now
    box = picture[round(side * 0.05) : round(side * 0.16), round(side * 0.05) : round(side * 0.6)]
    lit = np.argwhere(box > 128)
    assert len(lit) > 50
    assert np.ptp(lit[:, 1]) > 2 * np.ptp(lit[:, 0])  # wider than high: a line of letters


def test_letters_that_the_font_lacks_are_question_marks_and_vietnamese_is_whole() -> None:
    every = "Nguyễn Thị Đặng ƯỢỆ ằẳẵặ ấầẩẫậ ứừửữự ýỳỷỹỵ 0123456789 (kV)"
    assert writable(every) == every
    assert writable("山田 Yamada\n") == "?? Yamada?"


# ----------------------------------------------------------------------------------------------------- what it names
def test_a_state_of_several_images_shows_each(client: TestClient) -> None:
    first, second = builders.radiograph(RAMP), builders.radiograph(RAMP)
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = "2.25.2.1.2"
    assert requests.store(client, first, second).status_code == 200
    series = item(SeriesInstanceUID="2.25.2.1", ReferencedImageSequence=[reference(), reference("2.25.2.1.2")])
    state(client, ReferencedSeriesSequence=[series])
    answer = client.get(f"{STATE}/rendered", headers={"Accept": 'multipart/related; type="image/png"'})
    assert (answer.status_code, len(requests.parts(answer))) == (200, 2)


def test_a_state_without_its_image_is_406_and_says_so(client: TestClient) -> None:
    state(client, of="2.25.77")
    answer = client.get(f"{STATE}/rendered", headers=PNG)
    assert answer.status_code == 406
    assert "none of the images" in answer.json()["detail"]


def test_wado_uri_shows_an_image_under_a_state(client: TestClient) -> None:
    image(client)
    state(client, SoftcopyVOILUTSequence=[window(1000, 500)])
    given = "requestType=WADO&studyUID=2.25.2&seriesUID=2.25.2.1&objectUID=2.25.2.1.1&contentType=image/png"
    under = "presentationUID=2.25.2.9.1&presentationSeriesUID=2.25.2.9"
    assert np.abs(shown(client, f"/dicom-web/wado?{given}&{under}") - linear(RAMP, 1000, 500)).max() <= 1
    for wrong in ("presentationUID=2.25.2.1.1&presentationSeriesUID=2.25.2.1", f"{under}&windowCenter=1&windowWidth=2"):
        assert client.get(f"/dicom-web/wado?{given}&{wrong}").status_code == 400


def test_another_state_is_another_picture_to_a_cache(client: TestClient) -> None:
    image(client)
    state(client, SoftcopyVOILUTSequence=[window(1000, 500)])
    tags = {client.get(url, headers=PNG).headers["etag"] for url in (f"{STATE}/rendered", f"{IMAGE}/rendered")}
    assert len(tags) == 2


LIES: dict[str, dict[str, Any]] = {
    "an area without corners": {"DisplayedAreaSelectionSequence": [item(PresentationSizeMode="SCALE TO FIT")]},
    "an endless area": {"DisplayedAreaSelectionSequence": [displayed([1, 1], [2_000_000_000, 2_000_000_000])]},
    "a window of no width": {"SoftcopyVOILUTSequence": [window(0, 0)]},
    "a circle of one point": {"GraphicAnnotationSequence": [graphic("CIRCLE", 1, 2)]},
    "points of no number": {"GraphicAnnotationSequence": [graphic("POLYLINE", float("nan"), 1, 2, 3)]},
    "points far away": {"GraphicAnnotationSequence": [graphic("POLYLINE", 0, 0, 1e30, 1e30)]},
    "a shutter without edges": {"ShutterShape": "RECTANGULAR"},
    "no sequence at all": {"area": False},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_state_that_lies_is_followed_as_far_as_it_goes(client: TestClient, lie: str) -> None:
    image(client)
    state(client, **LIES[lie])
    assert shown(client).ndim == 2


def test_a_state_that_asks_for_too_much_is_406(client: TestClient) -> None:
    image(client)
    state(client, GraphicAnnotationSequence=[graphic("POLYLINE", 0, 0, 1, 1)] * 2001)
    answer = client.get(f"{STATE}/rendered", headers=PNG)
    assert (answer.status_code, "2000 drawings" in answer.text) == (406, True)


# ------------------------------------------------------------------------------------------------- a second renderer
STATES: dict[str, dict[str, Any]] = {
    "a window": {"SoftcopyVOILUTSequence": [window(1500, 900)]},
    "inverse": {"SoftcopyVOILUTSequence": [window(2048, 4096)], "PresentationLUTShape": "INVERSE"},
    "rescaled": {
        "RescaleSlope": 2,
        "RescaleIntercept": -1024,
        "RescaleType": "HU",
        "SoftcopyVOILUTSequence": [window(400, 2000)],
    },
    "turned": {
        "SoftcopyVOILUTSequence": [window(2048, 4096)],
        "ImageRotation": 90,
        "ImageHorizontalFlip": "Y",
    },
}


@pytest.mark.servers
@pytest.mark.parametrize("name", STATES)
def test_dcmtk_shows_an_image_under_a_state_alike(client: TestClient, tmp_path: Path, name: str) -> None:
    (tmp_path / "image.dcm").write_bytes(builders.part10(image(client, PresentationLUTShape="IDENTITY")))
    (tmp_path / "state.dcm").write_bytes(builders.part10(state(client, **STATES[name])))
    made = tmp_path / "made.pgm"
    command = [dcmtk("dcmp2pgm"), "-p", tmp_path / "state.dcm", tmp_path / "image.dcm", made]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    theirs = np.asarray(Image.open(io.BytesIO(made.read_bytes()))).astype(int)
    assert np.abs(shown(client) - theirs).max() <= 1


# ----------------------------------------------------------------------------------------------------- overlays
def overlay(data_set: Dataset, mask: npt.NDArray[np.bool_], *, origin: list[int]) -> Dataset:
    packed = np.packbits(mask.reshape(-1), bitorder="little").tobytes()
    data_set.add_new(0x60000010, "US", mask.shape[0])
    data_set.add_new(0x60000011, "US", mask.shape[1])
    data_set.add_new(0x60000040, "CS", "G")
    data_set.add_new(0x60000050, "SS", origin)
    data_set.add_new(0x60000100, "US", 1)
    data_set.add_new(0x60000102, "US", 0)
    data_set.add_new(0x60003000, "OW", packed + b"\0" * (len(packed) % 2))
    return data_set


def with_overlay(client: TestClient, mask: npt.NDArray[np.bool_], origin: list[int], **more: Any) -> None:
    data_set = overlay(builders.radiograph(np.zeros((64, 64), np.uint16)), mask, origin=origin)
    for keyword, value in more.items():
        setattr(data_set, keyword, value)
    assert requests.store(client, data_set).status_code == 200


@pytest.mark.parametrize("origin", [[1, 1], [10, 20], [-2, -3], [60, 60]], ids=str)
def test_an_overlay_lies_where_its_origin_says(client: TestClient, origin: list[int]) -> None:  # PS3.3 C.9.2
    mask = np.random.default_rng(7).random((13, 17)) > 0.5
    with_overlay(client, mask, origin)
    whole = np.zeros((200, 200), dtype=bool)
    whole[99 + origin[0] : 112 + origin[0], 99 + origin[1] : 116 + origin[1]] = mask
    assert np.array_equal(shown(client, f"{IMAGE}/rendered") == 255, whole[100:164, 100:164])


def test_an_overlay_in_bits_of_the_pixels_is_drawn(client: TestClient) -> None:
    mask = np.random.default_rng(7).random((64, 64)) > 0.5
    data_set = builders.radiograph((mask * 0x8000).astype(np.uint16), WindowCenter=2048, WindowWidth=4096)
    data_set.BitsStored, data_set.HighBit = 12, 11
    data_set.add_new(0x60000010, "US", 64)
    data_set.add_new(0x60000011, "US", 64)
    data_set.add_new(0x60000050, "SS", [1, 1])
    data_set.add_new(0x60000100, "US", 16)
    data_set.add_new(0x60000102, "US", 15)
    assert requests.store(client, data_set).status_code == 200
    assert np.array_equal(shown(client, f"{IMAGE}/rendered") == 255, mask)


@pytest.mark.parametrize("active", [False, True])
def test_a_state_shows_the_overlays_that_it_activates_alone(client: TestClient, active: bool) -> None:  # PS3.3 C.11.7
    with_overlay(client, np.ones((4, 4), dtype=bool), [1, 1])
    made = {"OverlayActivationLayer": "L", "GraphicLayerSequence": layer(0x8000)} if active else {}
    state(client, **made)
    assert shown(client)[0, 0] == (0x80 if active else 0)


def test_an_overlay_that_is_shorter_than_it_says_is_passed_over(client: TestClient) -> None:
    data_set = overlay(builders.radiograph(np.zeros((64, 64), np.uint16)), np.ones((4, 4), bool), origin=[1, 1])
    data_set[0x60000010].value = 60000
    assert requests.store(client, data_set).status_code == 200
    assert shown(client, f"{IMAGE}/rendered").max() == 0


# ----------------------------------------------------------------------------------------------------- annotation
def test_annotation_writes_the_patient_above_and_the_technique_below(client: TestClient) -> None:
    image(client, np.zeros((512, 512), np.uint16), PatientName="Nguyễn^Thị Đặng", SpecificCharacterSet="ISO_IR 192")
    plain_one = shown(client, f"{IMAGE}/rendered")
    patient = shown(client, f"{IMAGE}/rendered?annotation=patient").astype(int) - plain_one
    technique = shown(client, f"{IMAGE}/rendered?annotation=technique").astype(int) - plain_one
    both = shown(client, f"{IMAGE}/rendered?annotation=technique,patient").astype(int) - plain_one
    assert (patient[:256].max() > 200, patient[256:].max()) == (True, 0)
    assert (technique[256:].max() > 200, technique[:256].max()) == (True, 0)
    assert np.array_equal(both, patient + technique)


@pytest.mark.parametrize("wrong", ["annotation=doctor", "annotation=", "iccprofile=maybe"])
def test_a_word_that_is_not_known_is_400(client: TestClient, wrong: str) -> None:
    image(client)
    assert client.get(f"{IMAGE}/rendered?{wrong}").status_code == 400


# ----------------------------------------------------------------------------------------------------- colour profiles
def colour(client: TestClient, **more: Any) -> None:
    pixels = np.random.default_rng(3).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    image(
        client,
        np.zeros((16, 16), np.uint16),
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation="RGB",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelData=pixels.tobytes(),
        **more,
    )


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg"])
def test_a_colour_picture_has_the_profile_that_is_asked_for(client: TestClient, kind: str) -> None:
    colour(client)
    found = {}
    for word in ("no", "yes", "srgb"):
        answer = client.get(f"{IMAGE}/rendered?iccprofile={word}", headers={"Accept": kind})
        found[word] = Image.open(io.BytesIO(answer.content)).info.get("icc_profile")
    assert found["no"] is None
    assert found["yes"] == found["srgb"]
    assert b"acsp" in found["srgb"][:64]


def test_an_images_own_profile_goes_with_it_and_a_grey_picture_has_none(client: TestClient) -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    own = own[:4] + b"test" + own[8:]
    colour(client, ICCProfile=own + b"\0" * (len(own) % 2))
    answer = client.get(f"{IMAGE}/rendered?iccprofile=yes", headers=PNG)
    assert Image.open(io.BytesIO(answer.content)).info["icc_profile"][:8] == own[:8]
    with_damage = client.get(f"{IMAGE}/rendered?iccprofile=srgb", headers=PNG)
    assert with_damage.status_code == 200


def test_a_profile_that_is_none_does_no_harm(client: TestClient) -> None:
    colour(client, ICCProfile=b"no profile at all ")
    assert client.get(f"{IMAGE}/rendered?iccprofile=srgb", headers=PNG).status_code == 200

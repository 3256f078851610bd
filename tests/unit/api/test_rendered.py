"""Pictures: windows by the formulas of the standard, viewports, thumbnails, and values that no image has."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests import builders
from tests.unit.api import requests

INSTANCE = "/dicom-web/studies/2.25.2/series/2.25.2.1/instances/2.25.2.1.1"
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def kept(client: TestClient, pixels: npt.NDArray[np.uint16] = RAMP, **attributes: Any) -> None:
    data_set = builders.radiograph(pixels)
    for keyword, value in attributes.items():
        if value is None:
            delattr(data_set, keyword)
        else:
            setattr(data_set, keyword, value)
    if "SOPClassUID" in attributes:
        data_set.file_meta.MediaStorageSOPClassUID = attributes["SOPClassUID"]
    assert requests.store(client, data_set).status_code == 200


def shown(client: TestClient, path: str = "rendered") -> Any:
    answer = client.get(f"{INSTANCE}/{path}", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text
    return imagecodecs.png_decode(answer.content)


def grey(values: Any) -> npt.NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def linear(center: float, width: float) -> npt.NDArray[np.uint8]:
    return grey((RAMP - (center - 0.5)) / (width - 1) + 0.5)


FORMULAS = {
    "1000,500": linear(1000, 500),
    "1000,500,LINEAR": linear(1000, 500),
    "1000,1": grey(RAMP > 999.5),
    "1000.5,.5e3,linear-exact": grey((RAMP - 1000.5) / 500 + 0.5),
    "1000,500,sigmoid": grey(1 / (1 + np.exp(-4 * (RAMP - 1000.0) / 500))),
    "-1000,500": np.full_like(RAMP, 255),
}


@pytest.mark.parametrize("window", FORMULAS)
def test_a_window_is_that_of_the_standard(client: TestClient, window: str) -> None:  # W-35
    kept(client)
    assert np.abs(shown(client, f"rendered?window={window}").astype(int) - FORMULAS[window]).max() <= 1


def test_the_objects_own_window_comes_first_and_else_all_its_values(client: TestClient) -> None:
    kept(client, WindowCenter=1000, WindowWidth=500)
    assert np.array_equal(shown(client), linear(1000, 500))


def test_an_object_without_a_window_is_shown_from_least_to_most_but_for_padding(client: TestClient) -> None:
    pixels = np.where(RAMP < 64, 0, RAMP // 2 + 1000).astype(np.uint16)
    kept(client, pixels, WindowCenter=None, WindowWidth=None, PixelPaddingValue=0)
    low, high = int(pixels[pixels > 0].min()), int(pixels.max())
    assert np.abs(shown(client).astype(int) - grey((pixels.astype(float) - low) / (high - low))).max() <= 1


def test_monochrome1_is_shown_inverted(client: TestClient) -> None:
    kept(client, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert np.abs(shown(client).astype(int) - (255 - linear(2048, 4096).astype(int))).max() <= 1


def test_rescaled_signed_values_meet_the_window_in_hounsfield(client: TestClient) -> None:
    kept(client, RescaleSlope=2, RescaleIntercept=-1000, PixelRepresentation=1, WindowCenter=0, WindowWidth=400)
    signed = np.where(RAMP >= 2048, RAMP.astype(float) - 4096, RAMP) * 2 - 1000
    assert np.abs(shown(client).astype(int) - grey((signed + 0.5) / 399 + 0.5)).max() <= 1


def lut(descriptor: list[int], data: list[int]) -> Sequence:
    item = Dataset()
    item.add_new(0x00283002, "US", descriptor)
    item.add_new(0x00283006, "US", data)
    return Sequence([item])


def test_a_voi_lut_is_followed(client: TestClient) -> None:
    kept(client, VOILUTSequence=lut([4, 100, 8], [0, 255, 51, 102]))
    picture = shown(client).reshape(-1)
    assert picture[[0, 100, 101, 102, 103, 4095]].tolist() == [0, 0, 255, 51, 102, 102]


def test_frames_have_windows_of_their_own(client: TestClient) -> None:
    def group(center: int) -> Dataset:
        voi, outer = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = center, 500
        outer.FrameVOILUTSequence = Sequence([voi])
        return outer

    groups = Sequence([group(1000), group(3000)])
    kept(client, NumberOfFrames=2, PixelData=RAMP.tobytes() * 2, PerFrameFunctionalGroupsSequence=groups)
    assert np.array_equal(shown(client, "frames/1/rendered"), linear(1000, 500))
    assert np.array_equal(shown(client, "frames/2/rendered"), linear(3000, 500))


def test_a_palette_and_ybr_come_out_in_colour(client: TestClient) -> None:
    yellow = np.tile(np.array([226, 0, 149], np.uint8), (4, 4, 1))
    kept(
        client,
        np.zeros((4, 4), np.uint16),
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation="YBR_FULL",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelData=yellow.tobytes(),
    )
    red, green, blue = shown(client)[0, 0].tolist()
    assert (red > 250, green > 200, blue < 10) == (True, True, True)


LIES: dict[str, dict[str, Any]] = {
    "no width": {"WindowWidth": 0},
    "less than no width": {"WindowWidth": -1},
    "an endless centre": {"WindowCenter": "1e308"},
    "a LUT without entries": {"VOILUTSequence": lut([4, 0, 8], [])},
    "a LUT that is too short": {"VOILUTSequence": lut([65535, 0, 16], [1, 2, 3])},
    "a LUT of no bits": {"VOILUTSequence": lut([3, 0, 0], [1, 2, 3])},
    "an empty LUT sequence": {"VOILUTSequence": Sequence([])},
    "a modality LUT that is too short": {"ModalityLUTSequence": lut([0, 0, 16], [1, 2])},
    "an endless slope": {"RescaleSlope": "1e300", "RescaleIntercept": "-1e300"},
    "no slope": {"RescaleSlope": 0, "RescaleIntercept": 0},
    "a high bit too high": {"HighBit": 200},
}


@pytest.mark.parametrize("lie", LIES)
def test_values_that_no_image_has_still_make_a_picture(client: TestClient, lie: str) -> None:
    kept(client, **LIES[lie])
    assert shown(client).shape == (64, 64)


def test_a_palette_that_lies_is_406(client: TestClient) -> None:
    kept(client, PhotometricInterpretation="PALETTE COLOR")
    refused = client.get(f"{INSTANCE}/rendered")
    assert (refused.status_code, refused.headers["content-type"]) == (406, "application/problem+json")


@pytest.mark.parametrize(
    ("viewport", "shape"),
    [
        ("32,32", (32, 32)),
        ("128,32", (32, 32)),
        ("128,256", (128, 128)),
        ("4096,8", (8, 8)),
        ("10,10,0,0,32,16", (5, 10)),
        ("64,64,,,,", (64, 64)),
    ],
)
def test_a_picture_fits_the_viewport_in_its_proportions(
    client: TestClient, viewport: str, shape: tuple[int, int]
) -> None:
    kept(client)
    assert shown(client, f"rendered?viewport={viewport}").shape == shape


def test_a_part_of_the_image_may_be_mirrored(client: TestClient) -> None:
    kept(client)
    whole = shown(client)
    assert np.array_equal(shown(client, "rendered?viewport=16,8,4,8,16,8"), whole[8:16, 4:20])
    assert np.array_equal(shown(client, "rendered?viewport=16,8,4,8,-16,8"), whole[8:16, 4:20][:, ::-1])


def test_making_it_smaller_averages(client: TestClient) -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 4095).astype(np.uint16)
    kept(client, board)
    assert np.abs(shown(client, "rendered?viewport=16,16").astype(int) - 128).max() <= 6


def test_what_is_burned_into_a_secondary_capture_is_never_cut_away(client: TestClient) -> None:  # W-37
    kept(client, SOPClassUID=CAPTURE, BurnedInAnnotation="YES")
    assert np.array_equal(shown(client, "rendered?viewport=64,64,0,32,64,32"), shown(client))


@pytest.mark.parametrize(
    "query",
    [
        "quality=0",
        "quality=101",
        "quality=x",
        "window=0,0",
        "window=0,-1",
        "window=1",
        "window=nan,1",
        "window=1,inf",
        "window=1,2,cubic",
        "window=1e999,1",
        "viewport=0,0",
        "viewport=1000000,1000000",
        "viewport=4097,1",
        "viewport=10",
        "viewport=a,b",
        "viewport=10,10,1",
        "viewport=10,10,-1,0,5,5",
        "viewport=10,10,0,0,0,5",
        "viewport=10,10,x,0,5,5",
        "viewport=10,10,128,0,5,5",
        "viewport=10,10,0,64,5,5",
    ],
)
def test_a_parameter_that_cannot_be_is_400(client: TestClient, query: str) -> None:
    kept(client)
    assert client.get(f"{INSTANCE}/rendered?{query}").status_code == 400


def test_a_jpeg_is_the_default_and_says_what_it_is(client: TestClient) -> None:  # W-37
    kept(client)
    answer = client.get(f"{INSTANCE}/rendered")
    assert answer.headers["content-type"] == "image/jpeg"
    assert b"lossy rendering, not for diagnosis" in answer.content[:60]
    assert np.abs(imagecodecs.jpeg8_decode(answer.content).astype(int) - linear(2048, 4096)).max() <= 8
    small = client.get(f"{INSTANCE}/rendered?quality=1")
    assert len(small.content) < len(answer.content)


def test_a_form_that_is_not_had_is_406(client: TestClient) -> None:
    kept(client)
    assert client.get(f"{INSTANCE}/rendered", headers={"Accept": "image/webp"}).status_code == 406


def test_several_frames_come_as_a_multipart(client: TestClient) -> None:
    kept(client, NumberOfFrames=2, PixelData=RAMP.tobytes() + RAMP[::-1].tobytes())
    answer = client.get(f"{INSTANCE}/frames/2,1/rendered", headers={"Accept": 'multipart/related; type="image/png"'})
    first, second = map(imagecodecs.png_decode, requests.parts(answer))
    assert np.array_equal(second, linear(2048, 4096))
    assert np.array_equal(first, second[::-1])
    assert client.get(f"{INSTANCE}/frames/3/rendered").status_code == 404
    many = ",".join(["1"] * 101)
    assert client.get(f"{INSTANCE}/frames/{many}/rendered").status_code == 400


@pytest.mark.parametrize("path", ["", "/series/2.25.2.1", "/series/2.25.2.1/instances/2.25.2.1.1"])
def test_a_thumbnail_shows_the_middle(client: TestClient, path: str) -> None:
    for number in (1, 2, 3):
        data_set = builders.radiograph(np.full((8, 16), number * 1000, np.uint16), SOPInstanceUID=f"2.25.2.1.{number}")
        data_set.InstanceNumber = number
        requests.store(client, data_set)
    answer = client.get(f"/dicom-web/studies/2.25.2{path}/thumbnail?viewport=100,100")
    assert answer.headers["content-type"] == "image/jpeg"
    picture = imagecodecs.jpeg8_decode(answer.content)
    expected = (1000 if path.endswith(".1.1") else 2000) / 4095 * 255
    assert (picture.shape, abs(float(picture.mean()) - expected) < 2) == ((50, 100), True)
    default = client.get(f"/dicom-web/studies/2.25.2{path}/thumbnail")
    assert imagecodecs.jpeg8_decode(default.content).shape == (128, 256)


@pytest.mark.parametrize("path", ["", "/series/2.25.2.1"])
def test_a_study_of_one_image_is_rendered_in_a_multipart_all_the_same(client: TestClient, path: str) -> None:
    """PS3.18 10.4.4, note 3."""
    requests.store(client, builders.radiograph())
    where = f"/dicom-web/studies/2.25.2{path}/rendered"
    assert client.get(where).headers["content-type"].startswith('multipart/related; type="image/jpeg"')
    assert client.get(where, headers={"Accept": "image/jpeg"}).status_code == 406


def test_a_study_and_a_series_are_rendered_image_by_image(client: TestClient) -> None:
    for number in (1, 2):
        requests.store(client, builders.radiograph(RAMP, SOPInstanceUID=f"2.25.2.1.{number}"))
    for path in ("", "/series/2.25.2.1"):
        answer = client.get(f"/dicom-web/studies/2.25.2{path}/rendered?viewport=16,16")
        assert [imagecodecs.jpeg8_decode(part).shape for part in requests.parts(answer)] == [(16, 16)] * 2


def test_what_is_no_image_has_neither_picture_nor_thumbnail(client: TestClient) -> None:  # W-36
    kept(client, PixelData=None, Rows=None)
    assert client.get(f"{INSTANCE}/rendered").status_code == 406
    for path in ("", "/series/2.25.2.1", "/series/2.25.2.1/instances/2.25.2.1.1"):
        assert client.get(f"/dicom-web/studies/2.25.2{path}/thumbnail").status_code == 404


def test_parameters_that_are_not_offered_are_ignored_with_a_warning(client: TestClient) -> None:
    kept(client)
    answer = client.get(f"{INSTANCE}/rendered?charset=utf-8")
    assert (answer.status_code, answer.headers["warning"][:4]) == (200, "299 ")
    assert "charset" in answer.headers["warning"]

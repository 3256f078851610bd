"""OHIF on our DICOMweb, in a real browser: what it draws, counted in pixels, and that nothing is asked elsewhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext
from pydicom import dcmread
from pydicom.dataset import Dataset

from models.reference.dicom import head_ct_study
from tests.browser import derived
from tests.browser.viewing import LIMIT_MS, Collection, Seen, Viewer, Watched, browsing, installed_viewer, served

pytestmark = [
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

NAME = "Đặng^Thị Ngọc Ánh"
SLICES, KEY = 16, 8
COMPRESSED = {
    "uncompressed": "CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm",
    "RLE": "CTImage.dcm_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm",
    "JPEG-LS": "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
    "JPEG 2000": "CTImage.dcm_JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm",
    "HTJ2K": "HTJ2KLossless_08_RGB.dcm",
}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the archive holds."""

    url: str
    phantom: list[Dataset]
    """A head CT with a segmentation, a measured region and a secondary capture beside it."""
    compressed: dict[str, str]
    report: str
    """The study of a PDF."""

    @property
    def study(self) -> str:
        return str(self.phantom[0].StudyInstanceUID)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[Kept]:
    with served(tmp_path_factory.mktemp("viewing"), installed_viewer()) as (collection, url):
        phantom = head_ct_study(40, haemorrhage=True, plain=True, slices=SLICES, patient_name=NAME)
        collection.keep(phantom)
        collection.keep(
            [
                derived.segmentation(phantom, near=KEY),
                derived.measured_region(phantom, at=KEY),
                derived.secondary_capture(phantom, at=KEY),
            ]
        )
        decomposed = unicodedata.normalize("NFD", NAME)
        collection.keep(head_ct_study(3, haemorrhage=False, slices=12, patient_name=decomposed))
        report = derived.pdf_report(head_ct_study(6, haemorrhage=False, slices=1)[0])
        collection.keep([report])
        compressed = _keep_compressed(collection, shared_data)
        yield Kept(url=url, phantom=phantom, compressed=compressed, report=report.StudyInstanceUID)


def _keep_compressed(collection: Collection, shared_data: Path) -> dict[str, str]:
    """Keep real files under UIDs of their own: some are one slice in several transfer syntaxes."""
    studies = {}
    for number, (name, file) in enumerate(COMPRESSED.items(), start=1):
        data_set = dcmread(shared_data / "dicom/transfer_syntax" / file)
        studies[name] = data_set.StudyInstanceUID = f"2.25.9.{number}"
        data_set.SeriesInstanceUID = f"2.25.9.{number}.1"
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"2.25.9.{number}.1.1"
        data_set.PatientID = data_set.PatientName = f"COMPRESSED {number}"
        collection.keep([data_set])
    return studies


@pytest.fixture(scope="module")
def watched(kept: Kept) -> Watched:
    return Watched(url=kept.url)


@pytest.fixture(scope="module")
def browser(watched: Watched) -> Iterator[BrowserContext]:
    with browsing(watched) as context:
        yield context


@pytest.fixture
def viewer(browser: BrowserContext, watched: Watched, kept: Kept) -> Iterator[Viewer]:
    page = browser.new_page()
    yield Viewer(page, kept.url)
    page.close()
    complaints, watched.complaints = watched.complaints, []
    assert complaints == []


@pytest.fixture(scope="module")
def twin(browser: BrowserContext, kept: Kept) -> Seen:
    """What the uncompressed image looks like."""
    page = browser.new_page()
    viewer = Viewer(page, kept.url)
    viewer.open(kept.compressed["uncompressed"])
    [seen] = viewer.seen()
    page.close()
    return seen


def test_the_study_list_shows_vietnamese_names_whichever_way_they_are_written(viewer: Viewer, kept: Kept) -> None:
    page = viewer.page
    page.goto(f"{kept.url}/ohif/")
    page.get_by_text(re.compile("Ánh|A\u0301nh")).nth(1).wait_for(timeout=LIMIT_MS)
    found = page.evaluate(
        """() => [...document.querySelectorAll("td *, td")]
          .filter((cell) => cell.childElementCount === 0 && cell.textContent.normalize().includes("Ngọc"))
          .map((cell) => { const range = document.createRange(); range.selectNodeContents(cell);
            return [cell.textContent, range.getBoundingClientRect().width]; })"""
    )
    composed = unicodedata.normalize("NFC", NAME).replace("^", ", ")
    assert sorted(text for text, _ in found) == sorted([composed, unicodedata.normalize("NFD", composed)])
    assert abs(found[0][1] - found[1][1]) < 1  # a mark beside its letter would be wider


def test_a_study_opens_from_the_list(viewer: Viewer, kept: Kept) -> None:
    viewer.page.goto(f"{kept.url}/ohif/")
    viewer.page.get_by_text(NAME.replace("^", ", ")).first.dblclick(timeout=LIMIT_MS)
    viewer.seen()
    assert f"StudyInstanceUIDs={kept.study}" in viewer.page.url


def test_the_link_of_the_worklist_opens_the_study(viewer: Viewer, browser: BrowserContext, kept: Kept) -> None:
    viewer.page.goto(f"{kept.url}/vi")
    row = viewer.page.locator(f'tr[data-study="{kept.study}"]')
    with browser.expect_page() as opened:
        row.get_by_text("Xem ảnh").click()
    Viewer(opened.value, kept.url).seen()
    opened.value.close()


def test_a_link_with_a_key_image_opens_at_it(viewer: Viewer, kept: Kept) -> None:
    key = kept.phantom[KEY]
    viewer.open(kept.study, initialSeriesInstanceUID=key.SeriesInstanceUID, initialSOPInstanceUID=key.SOPInstanceUID)
    viewer.seen()
    shown = re.compile(rf"\b{key.InstanceNumber} \(\d+/{SLICES}\)")
    viewer.page.get_by_text(shown).first.wait_for(timeout=LIMIT_MS)


def test_pages_of_the_viewer_are_isolated(viewer: Viewer, kept: Kept) -> None:
    viewer.page.goto(f"{kept.url}/ohif/")
    assert viewer.page.evaluate("crossOriginIsolated") is True
    viewer.page.goto(f"{kept.url}/vi")
    assert viewer.page.evaluate("crossOriginIsolated") is False


def test_a_series_is_scrolled_and_windowed(viewer: Viewer, kept: Kept) -> None:
    viewer.open(kept.study, initialSOPInstanceUID=kept.phantom[KEY].SOPInstanceUID)
    [first] = viewer.seen()
    viewer.page.mouse.move(*viewer.middle())
    viewer.page.mouse.wheel(0, 200)
    scrolled = viewer.wait_until(f"one.mark !== {first.mark}")
    x, y = viewer.middle()
    viewer.page.mouse.down()
    viewer.page.mouse.move(x + 80, y + 80, steps=4)
    viewer.page.mouse.up()
    viewer.wait_until(f"one.mean < {scrolled.mean} - 5")


def test_a_series_is_cut_in_three_planes(viewer: Viewer, kept: Kept) -> None:
    viewer.open(kept.study, hangingProtocolId="mpr")
    planes = viewer.seen(viewports=3)
    assert len({plane.mark for plane in planes}) == 3


@pytest.mark.parametrize(("name", "tolerance"), [("RLE", 0.0), ("JPEG-LS", 0.0), ("JPEG 2000", 0.5)])
def test_a_compressed_image_looks_as_its_uncompressed_twin(
    viewer: Viewer, kept: Kept, twin: Seen, name: str, tolerance: float
) -> None:
    viewer.open(kept.compressed[name])
    [seen] = viewer.seen()
    assert (abs(seen.mean - twin.mean) <= tolerance, abs(seen.std - twin.std) <= tolerance) == (True, True)


def test_a_colour_image_in_htj2k_is_drawn_though_it_names_no_modality(viewer: Viewer, kept: Kept) -> None:
    viewer.open(kept.compressed["HTJ2K"])
    viewer.wait_until("one.coloured > 0.01")


def test_a_segmentation_lies_over_its_image(viewer: Viewer, kept: Kept) -> None:
    viewer.open(kept.study, initialSeriesInstanceUID=f"{kept.study}.50")
    assert 0.01 < viewer.wait_until("one.coloured > 0.01").coloured < 0.2


def test_a_measured_region_is_drawn_with_its_area(viewer: Viewer, kept: Kept) -> None:
    viewer.open(kept.study, initialSeriesInstanceUID=f"{kept.study}.60")
    viewer.seen()
    viewer.page.locator("svg.svg-layer polyline").first.wait_for(state="attached", timeout=LIMIT_MS)
    assert "791.70 mm2" in " ".join(viewer.page.locator("svg.svg-layer").all_text_contents())
    shown = re.compile(rf"\b{kept.phantom[KEY].InstanceNumber} \(\d+/{SLICES}\)")
    viewer.page.get_by_text(shown).first.wait_for(timeout=LIMIT_MS)


def test_a_secondary_capture_keeps_its_colours(viewer: Viewer, kept: Kept) -> None:
    viewer.open(kept.study, initialSeriesInstanceUID=f"{kept.study}.70")
    assert 0.02 < viewer.wait_until("one.coloured > 0.02").coloured < 0.3


def test_a_pdf_is_brought_whole(viewer: Viewer, kept: Kept) -> None:
    viewer.open(kept.report)
    shown = viewer.page.locator("object[type='application/pdf'][data^=blob]")
    shown.wait_for(state="attached", timeout=LIMIT_MS)
    head_and_length = viewer.page.evaluate(
        """(url) => fetch(url).then((answer) => answer.text()).then((text) => [text.slice(0, 8), text.length])""",
        shown.get_attribute("data"),
    )
    assert head_and_length == ["%PDF-1.4", len(derived.PDF)]


def test_a_file_is_uploaded_from_the_study_list(viewer: Viewer, kept: Kept, tmp_path: Path) -> None:
    [image] = head_ct_study(5, haemorrhage=False, slices=1, patient_name="UP^LOADED")
    image.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    viewer.page.goto(f"{kept.url}/ohif/")
    viewer.page.get_by_text("Upload").first.click(timeout=LIMIT_MS)
    viewer.page.locator("input[type=file]").first.set_input_files(tmp_path / "one.dcm")
    viewer.page.get_by_text("1 file completed.").wait_for(timeout=LIMIT_MS)
    viewer.open(image.StudyInstanceUID)
    viewer.seen()

"""The image viewer as a person uses it: an archive with real objects, a browser that counts what it sees."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response, sync_playwright
from pydicom.dataset import Dataset

from api import ApiContext, WebServer, create_app
from pacs_gateway.ingest import Ingest
from roi.settings import read_settings
from storage.archive import Archive
from storage.records import Origin, StudyUid
from tests import builders
from tests.browser.scene import browser_program
from web.viewer import Shelf

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
DRAWN_STD = 10.0
"""Standard deviation of grey in a canvas that shows an image; one that could not be decoded is black."""
LIMIT_MS = 60_000
_INSIDE = ("blob:", "data:", "chrome:", "chrome-extension:")
"""What a browser makes itself, its PDF viewer among it."""
_NO_TOUR = """
if (self === top && origin.startsWith("http")) localStorage.setItem("shownTours", JSON.stringify(["basicViewerTour"]));
"""
"""Not in the frame of a PDF, which may have no storage."""

_LOOK = """
() => [...document.querySelectorAll(".cornerstone-viewport-element canvas.cornerstone-canvas")].map((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let sum = 0, squares = 0, coloured = 0, mark = 0;
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue] = [data[at], data[at + 1], data[at + 2]];
    const grey = (red + green + blue) / 3;
    sum += grey;
    squares += grey * grey;
    if (Math.max(red, green, blue) - Math.min(red, green, blue) > 40) coloured += 1;
    mark = (mark * 31 + red) % 1000000007;
  }
  const count = data.length / 4, mean = sum / count;
  return { mean, std: Math.sqrt(squares / count - mean * mean), coloured: coloured / count, mark };
})
"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a viewport shows: grey in 0..255, the share of coloured pixels, and a mark that tells images apart."""

    mean: float
    std: float
    coloured: float
    mark: int


@dataclass(kw_only=True)
class Watched:
    """Everything that a browser did which it should not."""

    url: str
    complaints: list[str] = field(default_factory=list)

    def follow(self, context: BrowserContext) -> None:
        """Note foreign requests, DICOMweb answers other than 2xx, errors of pages, and what their policy forbids."""
        context.on("request", self._request)
        context.on("response", self._response)
        context.on("console", self._message)
        context.on("weberror", lambda error: self.complaints.append(f"page error: {error.error}"))

    def _message(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.complaints.append(message.text)

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", *_INSIDE)):
            self.complaints.append(f"leaves the host: {request.url}")

    def _response(self, response: Response) -> None:
        if "/dicom-web/" in response.url and not 200 <= response.status < 300:
            self.complaints.append(f"{response.status} {response.url}")


class Viewer:
    """A page of the viewer."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url

    def open(self, study: str, **asked: str) -> None:
        """Open a study; `asked` are further parameters of the link."""
        more = "".join(f"&{name}={value}" for name, value in asked.items())
        self.page.goto(f"{self._url}/ohif/viewer?StudyInstanceUIDs={study}{more}")

    def seen(self, viewports: int = 1) -> list[Seen]:
        """Return what the viewports show once all of them show an image."""
        return self._wait(f"seen.length === {viewports} && seen.every((one) => one.std > {DRAWN_STD})")

    def wait_until(self, condition: str) -> Seen:
        """Return what the one viewport shows once it shows an image and `condition`, in JavaScript on `one`, holds."""
        [seen] = self._wait(f"seen.length === 1 && seen.every((one) => one.std > {DRAWN_STD} && {condition})")
        return seen

    def _wait(self, condition: str) -> list[Seen]:
        look = f"() => {{ const seen = ({_LOOK})(); return {condition} && seen; }}"
        found = self.page.wait_for_function(look, timeout=LIMIT_MS).json_value()
        return [Seen(**one) for one in found]

    def middle(self) -> tuple[float, float]:
        """Return where the first viewport's middle lies on the page."""
        box = self.page.locator(".cornerstone-viewport-element").first.bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def texts(self, selector: str) -> list[str]:
        """Return the texts of elements."""
        return self.page.locator(selector).all_inner_texts()


class Collection:
    """An archive that is filled as the gateway fills it."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._ingest = Ingest(archive)

    def keep(self, data_sets: Iterable[Dataset]) -> None:
        """Take data sets in, as files."""
        studies = {self._keep(data_set) for data_set in data_sets}
        self._ingest.release(studies)

    def _keep(self, data_set: Dataset) -> StudyUid:
        _, header = self._ingest.part10(io.BytesIO(builders.part10(data_set)), Origin(via="import"))
        return header.study_instance_uid


def installed_viewer() -> Shelf:
    """The viewer of this environment, or a loud skip."""
    shelf = Shelf(read_settings().viewer_folder)
    if shelf.installed() is None:
        pytest.skip("no viewer: roi viewer fetch")
    return shelf


@contextmanager
def served(folder: Path, viewers: Shelf) -> Iterator[tuple[Collection, str]]:
    """Serve an empty archive and the viewer on a free loopback port; yield what fills it, and its address."""
    archive = builders.archive(folder)
    context: dict[str, Any] = {"archive": archive, "ingest": Ingest(archive), "viewers": viewers}
    made = ApiContext(public_base_url="http://127.0.0.1", **context)
    server = WebServer(create_app(made), host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield Collection(archive), f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
        thread.join()
        made.decoders.close()
        archive.close()


@contextmanager
def browsing(watched: Watched) -> Iterator[BrowserContext]:
    """Run a browser that draws without a graphics card, and has seen the viewer's tour."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program(), args=list(FLAGS))
        context = browser.new_context(locale="vi-VN", viewport={"width": 1000, "height": 700})
        context.add_init_script(_NO_TOUR)
        watched.follow(context)
        yield context
        browser.close()

"""Makes the pictures of the worklist that the pages show: `python -m tests.browser.pictures docs/pictures`."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.scene import browser_program, served
from tests.viewer_package import shelf_with

SHOWN = {"worklist-vi": "/vi", "worklist-en": "/en", "targets-vi": "/vi/targets"}


def make(into: Path) -> None:
    """Take the pictures of the scene that the browser's tests look at."""
    with (
        TemporaryDirectory() as folder,
        served(Path(folder), viewers=shelf_with(Path(folder) / "viewers")) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=browser_program(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.goto(address)
        page.evaluate("() => localStorage.setItem('roi-reader', 'BS. Huy')")
        for name, path in SHOWN.items():
            page.goto(f"{address}{path}", wait_until="networkidle")
            taken = Image.open(BytesIO(page.screenshot()))
            taken.convert("P", palette=Image.Palette.ADAPTIVE).save(into / f"{name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]))

"""The calculator in a real browser: by keyboard alone, for a screen reader, and readable in a dark room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.browser.scene import browser_program, served
from tests.browser.test_worklist_page import CONTRASTS, LEAST_CONTRAST

pytestmark = [pytest.mark.servers, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with served(tmp_path_factory.mktemp("scene")) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program(), args=["--no-sandbox", "--disable-gpu"])
        made = browser.new_context(locale="vi-VN", viewport={"width": 1300, "height": 1100}).new_page()
        made.complaints = []  # type: ignore[attr-defined]
        made.on("console", lambda message: made.complaints.append(message.text))  # type: ignore[attr-defined]
        made.goto(url)
        made.get_by_role("link", name="Ở đây AI sẽ thay đổi điều gì?").click()
        yield made
        browser.close()


def test_a_question_is_asked_and_answered_by_keyboard_alone(page: Page) -> None:
    page.get_by_label("Tỷ lệ có dấu hiệu, %").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("10")
    page.get_by_label("Tải đều, % thời gian người đọc").focus()
    page.keyboard.type("80")
    page.keyboard.press("Enter")
    page.locator("#answer table").wait_for(timeout=60_000)
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.getAttribute('href')") == "#answer"
    rows = [" ".join(text.split()) for text in page.locator("#answer tbody tr").all_inner_texts()]
    assert len(rows) == 6
    assert any("muộn hơn" in row for row in rows)
    assert page.complaints == []  # type: ignore[attr-defined]


def test_a_screen_reader_finds_every_name(page: Page) -> None:
    facts: dict[str, Any] = page.evaluate(
        """() => { const all = (selector) => [...document.querySelectorAll(selector)]; return {
          language: document.documentElement.lang,
          labels: all("input, select").every((one) => one.labels.length === 1),
          hints: all("[aria-describedby]").every(
            (one) => document.getElementById(one.getAttribute("aria-describedby"))),
          legends: all("fieldset").every((one) => one.querySelector("legend").textContent.trim()),
          captions: all("table > caption").length,
          columns: all("thead th").every((head) => head.scope === "col"),
          rows: all("tbody tr").every((row) => row.querySelectorAll("th[scope=row]").length === 1),
          ids: all("[id]").length === new Set(all("[id]").map((one) => one.id)).size,
          headings: [all("h1").length, all("h2").length],
          main: all("main").length,
        }; }"""
    )
    assert facts == {
        "language": "vi",
        "labels": True,
        "hints": True,
        "legends": True,
        "captions": 1,
        "columns": True,
        "rows": True,
        "ids": True,
        "headings": [1, 1],
        "main": 1,
    }


def test_every_text_of_the_answer_stands_out_from_its_ground(page: Page) -> None:
    assert [found for found in page.evaluate(CONTRASTS) if found[0] < LEAST_CONTRAST] == []


def test_the_other_language_keeps_the_question(page: Page) -> None:
    page.get_by_role("link", name="English").click()
    page.locator("#answer table").wait_for(timeout=60_000)
    assert page.evaluate("() => document.documentElement.lang") == "en"
    assert page.get_by_label("Steady load").input_value() == "80"

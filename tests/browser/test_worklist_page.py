"""The page in a real browser: the order, the languages, what a reader with other eyes needs, and nothing injected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.browser.scene import SCRIPT_NAME, browser_program, served

pytestmark = [pytest.mark.servers, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")]

LEAST_CONTRAST = 7.0

CONTRASTS = """
() => {
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const channel = (value) => linear(value / 255);
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [red, green, blue] = numbers(colour).map(channel);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest("script, noscript")) continue;
    const [first, second] = [getComputedStyle(element).color, ground(element)].map(luminance).sort((a, b) => b - a);
    found.push([(first + 0.05) / (second + 0.05), walker.currentNode.textContent.trim().slice(0, 40)]);
  }
  return found;
}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("scene")) as url:
        yield url


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program(), args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(locale="vi-VN", viewport={"width": 1500, "height": 1000})
        made = context.new_page()
        made.complaints = []  # type: ignore[attr-defined]
        made.on("console", lambda message: made.complaints.append(message.text))  # type: ignore[attr-defined]
        made.goto(address)
        yield made
        browser.close()


def rows(page: Page, selector: str) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(f"tbody {selector}").all_inner_texts()]


def test_the_urgent_stand_on_top_with_word_and_mark(page: Page) -> None:
    assert rows(page, "td.urgency > span") == ["Đọc ngay"] * 3 + ["Đọc sớm"] * 2 + ["Thường quy"] * 6
    assert rows(page, "th .name")[:3] == ["Trần Gia Huy", "Huỳnh Ngọc Ánh", "Nguyễn Thị Minh Khai"]
    marks = page.locator("tbody td.urgency use").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert [mark.partition("#")[2] for mark in marks] == ["critical"] * 3 + ["urgent"] * 2 + ["routine"] * 6


def test_names_with_markup_are_shown_as_they_are(page: Page) -> None:
    assert rows(page, "th .name")[-1] == SCRIPT_NAME.replace("^", " ")
    assert page.locator("main script, main img").count() == 0
    assert page.complaints == []  # type: ignore[attr-defined]


def test_the_phantom_label_stands_above_the_list(page: Page) -> None:
    assert page.locator(".ribbon").inner_text().strip() == (
        "Mô hình tham chiếu huấn luyện trên ảnh mô phỏng máy tính. Không dùng cho lâm sàng."
    )


def test_a_screen_reader_finds_its_way(page: Page) -> None:
    facts: dict[str, Any] = page.evaluate(
        """() => { const all = (selector) => [...document.querySelectorAll(selector)]; return {
          language: document.documentElement.lang,
          title: document.title,
          captions: all("table > caption").length,
          columns: all("thead th").every((head) => head.scope === "col"),
          rows: all("tbody tr").every((row) => row.querySelectorAll("th[scope=row]").length === 1),
          ids: all("[id]").length === new Set(all("[id]").map((one) => one.id)).size,
          headings: all("h1").length,
          main: all("main").length,
          other: document.querySelector("header nav.language a").lang,
          status: document.getElementById("changed").getAttribute("role"),
          images: all("svg").every((image) => image.getAttribute("aria-hidden") === "true"),
        }; }"""
    )
    assert facts == {
        "language": "vi",
        "title": "Danh sách ca chụp · Rọi 0.1",
        "captions": 1,
        "columns": True,
        "rows": True,
        "ids": True,
        "headings": 1,
        "main": 1,
        "other": "en",
        "status": "status",
        "images": True,
    }


def test_every_text_stands_out_from_its_ground(page: Page) -> None:
    weak = [found for found in page.evaluate(CONTRASTS) if found[0] < LEAST_CONTRAST]
    assert weak == []


def test_the_first_key_press_offers_the_list(page: Page, address: str) -> None:
    page.goto(address)
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.getAttribute('href')") == "#list"
    page.keyboard.press("Enter")
    assert page.evaluate("() => location.hash") == "#list"


def test_the_other_language_is_one_link_away(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("header nav.language a").click()
    assert (page.evaluate("() => document.documentElement.lang"), rows(page, "td.urgency > span")[0]) == (
        "en",
        "Read now",
    )


def test_the_list_reloads_itself_but_never_under_the_readers_hand(page: Page, address: str) -> None:
    page.goto(f"{address}/vi")
    page.locator("tbody tr").nth(1).hover()
    study = page.locator("tbody tr").nth(9).get_attribute("data-study")
    change = {"kind": "manual", "priority": "STAT", "by": "BS. Lan"}
    status = page.evaluate(
        """([study, change]) => fetch(`/api/studies/${study}/priority`, {
          method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(change),
        }).then((answer) => answer.status)""",
        [study, change],
    )
    assert status == 200
    page.locator("#changed").wait_for(state="visible", timeout=15_000)
    assert page.locator("tbody tr").nth(9).get_attribute("data-study") == study
    page.mouse.move(1, 1)
    page.wait_for_function(
        "study => [...document.querySelectorAll('tbody tr')].slice(0, 3).some((row) => row.dataset.study === study)",
        arg=study,
        timeout=15_000,
    )


def test_nothing_is_fetched_from_elsewhere(page: Page, address: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address, wait_until="networkidle")
    assert len(asked) >= 4
    assert [url for url in asked if not url.startswith(f"{address}/")] == []

"""A reader's work on the page, by keyboard: opening, agreeing, reading, and setting targets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.browser.scene import browser_program, served
from tests.browser.test_worklist_page import CONTRASTS, LEAST_CONTRAST

pytestmark = [pytest.mark.servers, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")]

FLAGGED = "2.25.7.1"
"""Flagged as critical; nobody has opened it."""
OPEN = "2.25.7.2"
"""Flagged as urgent; BS. Huy has it open."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path) as url:
        yield url


@pytest.fixture
def page(address: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program(), args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(locale="vi-VN", viewport={"width": 1500, "height": 1000})
        made = context.new_page()
        made.goto(f"{address}/vi")
        yield made
        browser.close()


def name_reader(page: Page, name: str = "BS. Lan") -> None:
    page.get_by_role("textbox", name="Người đọc").fill(name)
    page.keyboard.press("Tab")


def row(page: Page, study: str) -> Any:
    return page.locator(f"tr[data-study='{study}']")


def press(page: Page, button: Any) -> None:
    """Press a button by keyboard; the list is made anew, and the hand is back where it was."""
    with page.expect_navigation():
        button.focus()
        page.keyboard.press("Enter")
    page.wait_for_load_state("networkidle")


def focused(page: Page) -> str:
    found: str = page.evaluate("() => document.activeElement.textContent.trim()")
    return found


def test_nothing_is_done_by_nobody(page: Page) -> None:
    row(page, FLAGGED).get_by_role("button", name="Mở ca").press("Enter")
    assert page.locator("#said").inner_text() == "Hãy ghi tên người đọc trước."
    assert page.evaluate("() => document.activeElement.name") == "by"


def test_a_study_is_opened_agreed_with_and_read_by_keyboard(page: Page) -> None:
    name_reader(page)
    study = row(page, FLAGGED)
    assert study.locator(".unopened").inner_text() == "chưa ai mở"
    press(page, study.get_by_role("button", name="Mở ca"))
    assert study.locator(".opened").inner_text().split() == ["●", "đang", "mở:", "BS.", "Lan"]
    assert study.locator(".unopened").count() == 0
    assert focused(page) == "Đóng ca"

    press(page, study.get_by_role("button", name="Đồng ý", exact=True))
    agree = study.get_by_role("button", name="Đồng ý", exact=True)
    assert (agree.get_attribute("aria-pressed"), focused(page)) == ("true", "Đồng ý")
    press(page, study.get_by_role("button", name="Không đồng ý"))
    assert agree.get_attribute("aria-pressed") == "false"
    assert study.locator(".said small").first.inner_text() == "Không đồng ý: BS. Lan"

    press(page, study.get_by_role("button", name="Đã đọc xong"))
    assert study.count() == 0
    page.get_by_role("link", name="Đã đọc (2)").press("Enter")
    page.wait_for_url("**/vi?list=reported")
    assert study.locator(".reason").inner_text().startswith("đã đọc: BS. Lan")
    press(page, study.get_by_role("button", name="Trả lại danh sách"))
    page.get_by_role("link", name="Chờ đọc (11)").press("Enter")
    page.wait_for_url("**/vi")
    assert study.count() == 1


def test_what_somebody_else_has_open_is_said_and_stays_theirs(page: Page, address: str) -> None:
    stale = page.context.new_page()
    stale.goto(f"{address}/vi")
    name_reader(page)
    opens = row(stale, FLAGGED).get_by_role("button", name="Mở ca")
    press(page, row(page, FLAGGED).get_by_role("button", name="Mở ca"))
    stale.get_by_role("textbox", name="Người đọc").fill("BS. Huy")
    stale.keyboard.press("Tab")
    opens.press("Enter")
    stale.wait_for_function("() => document.getElementById('said').textContent")
    assert stale.locator("#said").inner_text() == "Một người khác đang mở ca này."


def test_a_missed_finding_is_one_press_on_its_score(page: Page) -> None:
    name_reader(page)
    press(page, row(page, OPEN).get_by_role("button", name="AI bỏ sót").nth(1))
    said = page.evaluate(
        "study => fetch(`/api/worklist/${study}`).then((answer) => answer.json())"
        ".then((entry) => entry.findings.map((one) => [one.code, one.feedback.map((word) => word.verdict)]))",
        OPEN,
    )
    assert said == [["pneumothorax", ["agree"]], ["effusion", []], ["opacity", ["missed"]]]


def test_every_button_has_a_name_and_a_group_that_says_whose_it_is(page: Page) -> None:
    buttons = page.locator("main button")
    assert buttons.count() > 20
    groups = buttons.evaluate_all("all => all.map((one) => one.closest('[role=group]').getAttribute('aria-label'))")
    assert all(label and len(label) > 20 for label in groups)
    assert [found for found in page.evaluate(CONTRASTS) if found[0] < LEAST_CONTRAST] == []


def test_targets_show_what_they_promise_while_they_are_typed(page: Page, address: str) -> None:
    page.goto(f"{address}/en/targets")
    bound = page.locator("[data-ahead='ai-critical'][data-behind='ROUTINE']")
    assert bound.inner_text() == "220"
    page.get_by_label("Routine").fill("10")
    assert bound.inner_text() == "–"
    page.get_by_label("Set by").fill("BS. Lan")
    page.get_by_role("button", name="Set the targets").press("Enter")
    page.wait_for_function("() => document.getElementById('said').textContent")
    assert "more urgent than ROUTINE (10 min)" in page.locator("#said").inner_text()
    page.get_by_label("Routine").fill("120")
    with page.expect_navigation():
        page.get_by_role("button", name="Set the targets").press("Enter")
    assert (page.get_by_label("Routine").input_value(), bound.inner_text()) == ("120", "100")
    assert [found for found in page.evaluate(CONTRASTS) if found[0] < LEAST_CONTRAST] == []

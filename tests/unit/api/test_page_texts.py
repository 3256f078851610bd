from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import pytest

from api.page_texts import expectation, models, targets, worklist
from api.page_texts.every import EVERY_PAGE
from api.words import Text

TEMPLATES = Path(__file__).parents[3] / "web" / "templates"
PAGES: Mapping[str, Mapping[str, Text]] = {
    "worklist": worklist.PAGE,
    "targets": targets.PAGE,
    "models": models.PAGE,
    "expectation": expectation.PAGE,
}


def test_what_two_pages_say_alike_is_kept_once() -> None:
    tables = [list(page.values()) for page in (*PAGES.values(), EVERY_PAGE)]
    twice = [one for these, those in combinations(tables, 2) for one in these for other in those if one == other]
    kept = {id(text) for text in EVERY_PAGE.values()}
    assert [text for text in twice if id(text) not in kept] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_each_word_that_its_template_shows_and_none_of_every_pages(name: str) -> None:
    shown = set(re.findall(r"\btext\.(\w+)", (TEMPLATES / f"{name}.html").read_text(encoding="utf-8")))
    assert shown <= set(PAGES[name]) | set(EVERY_PAGE)
    assert not set(PAGES[name]) & set(EVERY_PAGE)


def test_every_template_is_a_page_with_words_of_its_own() -> None:
    assert {path.stem for path in TEMPLATES.glob("*.html")} == set(PAGES)


def test_a_text_is_filled_in_by_language() -> None:
    filled = Text(vi="{who} sau {minutes} phút", en="{who} after {minutes} min").filled(
        who=Text(vi="khẩn", en="urgent"), minutes=5
    )
    assert filled.both() == {"vi": "khẩn sau 5 phút", "en": "urgent after 5 min"}
    assert Text.alike("x_y").both() == {"vi": "x_y", "en": "x_y"}

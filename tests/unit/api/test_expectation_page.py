"""The calculator's page: both languages, every loser, and numbers that are none."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from api.page_texts.every import EVERY_PAGE
from api.page_texts.expectation import PAGE, WHO_WAITS, WRONG
from inference.expectation import GROUPS
from tests.unit.api.conftest import BASE

ASKED = {
    "model": "trial/trial-finding",
    "prevalence": "10",
    "readers": "1",
    "reading_min": "10",
    "traffic": "80",
    "ai_min": "0.5",
}


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@pytest.mark.parametrize(("path", "language"), [("/triage", "vi"), ("/vi/triage", "vi"), ("/en/triage", "en")])
def test_an_empty_form_asks_in_the_reader_s_language(client: TestClient, path: str, language: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-language"]) == (200, language)
    assert PAGE["intro"]["vi" if language == "vi" else "en"] in words(answer.text)
    assert 'id="answer"' not in answer.text


def test_the_list_leads_to_the_calculator_and_back(client: TestClient) -> None:
    assert 'href="/en/triage"' in client.get("/en").text
    assert 'href="/en"' in client.get("/en/triage").text


@pytest.mark.parametrize(("language", "right", "later"), [("vi", "50,0 %", "muộn hơn"), ("en", "50.0 %", "min later")])
def test_the_answer_names_who_gains_and_everybody_who_loses(
    client: TestClient, language: str, right: str, later: str
) -> None:
    said = words(client.get(f"/{language}/triage", params=ASKED).text)
    assert right in said
    assert later in said
    assert "Trial model" in said or "Mô hình thử" in said
    for group in GROUPS:
        assert WHO_WAITS[group]["vi" if language == "vi" else "en"] in said


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"readers": "1.5"}, "number"),
        ({"prevalence": "nan"}, "number"),
        ({"prevalence": "<b>"}, "number"),
        ({"reading_min": ""}, "number"),
        ({"traffic": "100"}, "number"),
        ({"model": "<script>"}, "model"),
        ({"readers": "100", "reading_min": "0.1"}, "too_many"),
        ({"traffic": ""}, "no_arrivals"),
        ({"traffic": "98", "prevalence": "0"}, ""),
    ],
)
def test_what_is_wrong_is_said_in_words_beside_the_form(
    client: TestClient, changed: dict[str, str], reason: str
) -> None:
    answer = client.get("/vi/triage", params={**ASKED, **changed})
    assert answer.status_code == 200
    assert "<script>" not in answer.text
    assert 'value="<b>"' not in answer.text
    assert ('role="alert"' in answer.text) == bool(reason)
    if reason:
        start = WRONG[reason]["vi"].partition("{name}")[2].partition("{range}")[0].strip(": ") or WRONG[reason]["vi"]
        assert start in words(answer.text)


def test_a_calculator_at_work_is_said_in_words(client: TestClient, context: ApiContext) -> None:
    context.calculator._free.acquire()
    try:
        said = words(client.get("/en/triage", params=ASKED).text)
    finally:
        context.calculator._free.release()
    assert WRONG["busy"]["en"] in said


def test_a_decimal_comma_is_a_number(client: TestClient) -> None:
    assert 'role="alert"' not in client.get("/vi/triage", params={**ASKED, "prevalence": "2,5"}).text


def test_where_no_model_is_installed_the_page_says_so(context: ApiContext) -> None:
    with TestClient(create_app(replace(context, cards=())), base_url=BASE) as client:
        assert EVERY_PAGE["no_model"]["en"] in client.get("/en/triage").text

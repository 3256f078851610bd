from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from api.page import _age, _minutes, preferred
from api.page_texts.worklist import PAGE
from storage.archive import Archive
from storage.names import shown
from tests import builders
from tests.browser.scene import CHEST, HEAD, Scene, Told, fill
from tests.unit.api.conftest import BASE
from tests.unit.api.test_worklist import FLAG

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@pytest.fixture
def client(context: ApiContext) -> Iterator[TestClient]:
    with TestClient(create_app(replace(context, cards=(HEAD, CHEST))), base_url=BASE) as made:
        yield made


class Words(HTMLParser):
    """The text and the element names of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.names: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_markup_in_a_name_is_text(client: TestClient, archive: Archive, clock: builders.Clock) -> None:
    fill(Scene(archive, clock))
    words = Words(client.get("/vi").text)
    assert (words.names.count("script"), words.names.count("img"), words.names.count("html")) == (2, 0, 1)
    assert "<script>document.body.remove()</script> <b>Lê</b>" in words.text
    assert "<img src=x onerror=alert(1)>" in words.text


@pytest.mark.parametrize(
    ("path", "accepted", "language"),
    [
        ("/", None, "vi"),
        ("/", "vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        ("/", "en-GB,en;q=0.9", "en"),
        ("/", "fr", "vi"),
        ("/?lang=en", "vi", "en"),
        ("/en", "vi", "en"),
        ("/vi", "en", "vi"),
    ],
)
def test_the_page_speaks_the_language_asked_for(
    client: TestClient, path: str, accepted: str | None, language: str
) -> None:
    answer = client.get(path, headers={"Accept-Language": accepted} if accepted else {})
    assert (answer.status_code, answer.headers["content-language"]) == (200, language)
    assert f'<html lang="{language}">' in answer.text
    assert PAGE["empty"]["vi" if language == "vi" else "en"] in answer.text


def test_an_unknown_language_is_a_problem(client: TestClient) -> None:
    assert client.get("/?lang=fr").status_code == 400


def test_every_row_says_what_ai_did(client: TestClient, archive: Archive, clock: builders.Clock) -> None:
    fill(Scene(archive, clock))
    text = " ".join(" ".join(Words(client.get("/vi").text).text).split())
    for said in (
        "chưa phân tích: đang chờ AI",
        "chưa phân tích xong: AI đang chạy",
        "chưa phân tích: ảnh không phù hợp",
        "chưa phân tích: AI bị lỗi",
        "chưa phân tích: không có mô hình phù hợp",
        "AI không gợi ý dấu hiệu (không có nghĩa là bình thường)",
        "chạy thử, không đổi thứ tự",
        "Mâu thuẫn danh tính",
        "Không dùng cho lâm sàng.",
        "điểm 0,97",
        "head-ct-haemorrhage 1",
    ):
        assert said in text


def test_characters_that_turn_the_direction_are_shown_as_such(client: TestClient, archive: Archive) -> None:
    builders.keep(archive, builders.header(1, patient_name="An\u202e\u2066Văn", study_description="a\u200fb"))
    html = client.get("/vi").text
    assert '<bdi class="name">An��Văn</bdi>' in html
    assert "a�b" in html
    assert not set(html) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    listed = client.get("/api/worklist").json()["entries"][0]
    assert listed["patient"]["patient_name"] == "An\u202e\u2066Văn"


def test_a_long_list_has_pages(client: TestClient, archive: Archive, clock: builders.Clock) -> None:
    scene = Scene(archive, clock)
    for number in range(51):
        scene.arrive(Told(number=number, name=f"N{number}", age_years=1, sex="M", description="", images=1))
    assert 'rel="next" href="/en?page=2"' in client.get("/en").text
    assert 'rel="prev" href="/en?page=1"' in client.get("/en?page=2").text


@pytest.mark.parametrize(
    ("birth_date", "vi", "en"),
    [
        ("20260227", "2 ngày tuổi", "2 days old"),
        ("20251201", "3 tháng", "3 mo"),
        ("20200302", "71 tháng", "71 mo"),
        ("20200301", "6 tuổi", "6 y"),
        ("19260302", "99 tuổi", "99 y"),
        ("20270101", "không rõ tuổi", "age unknown"),
        ("19990231", "không rõ tuổi", "age unknown"),
        (None, "không rõ tuổi", "age unknown"),
    ],
)
def test_ages_are_told_in_days_months_or_years(birth_date: str | None, vi: str, en: str) -> None:
    assert (_age(birth_date, NOW, "vi"), _age(birth_date, NOW, "en")) == (vi, en)


def test_spans_names_and_preferences_read_as_people_write_them() -> None:
    spans = [_minutes(timedelta(minutes=minutes), "en") for minutes in (0, 59, 60, 61, 1500)]
    assert spans == ["0 min", "59 min", "1 h", "1 h 1 min", "1 d 1 h"]
    assert [shown(name) for name in ("Nguyễn^Thị^^", "A^B=C^D", "=C^D", None)] == ["Nguyễn Thị", "A B", "C D", ""]
    assert [preferred(text) for text in ("en;q=0.5,vi;q=0.4", "en;q=x", "*")] == ["en", "vi", "vi"]


def test_too_many_flags_are_said_above_the_list(client: TestClient, archive: Archive, clock: builders.Clock) -> None:
    scene = Scene(archive, clock)
    for number in range(1, 11):
        told = Told(number=number, name="A", age_years=1, sex="M", description="", minutes_ago=30 - number)
        scene.judge(told, HEAD, FLAG)
    assert (
        '<p class="flag-rate" role="status">⚠ Tỷ lệ cảnh báo quá cao (10/10 ca đang chờ lúc phát hiện)'
        in client.get("/vi").text
    )
    assert (
        '<p class="flag-rate" role="status">⚠ Flag rate high (10 of 10 waiting studies when noticed)'
        in client.get("/en").text
    )


def test_what_was_read_is_a_list_of_its_own(client: TestClient, archive: Archive, clock: builders.Clock) -> None:
    fill(Scene(archive, clock))
    waiting, read = (
        " ".join(" ".join(Words(client.get(path).text).text).split()) for path in ("/vi", "/vi?list=reported")
    )
    assert ("Bùi Thị Xuân" in waiting, "Bùi Thị Xuân" in read) == (False, True)
    assert "đã đọc: BS. Lan , 01/03/2026 11:00" in read
    assert "đang mở: BS. Huy" in waiting
    assert client.get("/vi?list=all").status_code == 400


def test_a_readers_name_is_text(client: TestClient, archive: Archive, clock: builders.Clock) -> None:
    scene = Scene(archive, clock)
    name = '"><img src=x>'
    uid = scene.judge(Told(number=1, name="A", age_years=1, sex="M", description=""), HEAD, FLAG)
    scene.open(uid, by=name)
    scene.agree(uid, by=name)
    words = Words(client.get("/vi").text)
    assert words.names.count("img") == 0
    assert name in words.text


def test_targets_have_a_page_in_both_languages(client: TestClient) -> None:
    for path, said in (("/vi/targets", "Cam kết"), ("/en/targets", "Guarantee")):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-language"]) == (200, path[1:3])
        assert said in answer.text
        assert 'data-ahead="ai-critical" data-behind="ROUTINE">220<' in answer.text

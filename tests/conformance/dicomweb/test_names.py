"""Names of every script are found however they are typed, come back letter by letter and are shown (A03, A04, R-28)."""

from __future__ import annotations

import html
import io
import shutil
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from fastapi.testclient import TestClient

from api import ApiContext, create_app
from api.dicomweb.native import from_xml
from pacs_gateway.ingest import Ingest
from tests import builders
from tests.unit.api.requests import parts, store

BASE = "http://127.0.0.1"
GROUPS = ("Alphabetic", "Ideographic", "Phonetic")

FILES = {
    "chrArab.dcm": ("قباني^لنزار", ["قباني*", "*لنزار"]),
    "chrFren.dcm": ("Buc^Jérôme", ["buc^jerome", "BUC^JÉRÔME", "*rom*"]),
    "chrFrenMulti.dcm": ("Buc^Jérôme", ["buc jerome"]),
    "chrGB2312.dcm": ("Zhang^XiaoDong=张^小东", ["zhang*", "张^小东", "张*", "=张*", "*xiao*", "Zhang*=张*"]),
    "chrGerm.dcm": ("Äneas^Rüdiger", ["aneas*", "ÄNEAS^RÜDIGER", "*rudi*"]),
    "chrGreek.dcm": ("Διονυσιος", ["διονυσιος", "ΔΙΟΝ*", "Διονύσιος"]),
    "chrH31.dcm": (
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ["yamada*", "山田*", "やまだ^たろう", "*太郎", "=山田^太郎", "==やまだ*", "Yamada*=山田*=やまだ*"],
    ),
    "chrH32.dcm": ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", ["ヤマダ*", "ﾔﾏﾀﾞ^ﾀﾛｳ", "山田 太郎", "やまだ*"]),
    "chrHbrw.dcm": ("שרון^דבורה", ["שרון*", "*דבורה", "שָׁרוֹן*"]),
    "chrI2.dcm": ("Hong^Gildong=洪^吉洞=홍^길동", ["hong*", "洪*", "홍^길동", "*길동", "홍*"]),
    "chrJapMulti.dcm": ("やまだ^たろう", ["やまだ*"]),
    "chrKoreanMulti.dcm": ("김희중", ["김희중", "김*", "김희?"]),
    "chrRuss.dcm": ("Люкceмбypг", ["люкceмбypг", "ЛЮК*"]),
    "chrX1.dcm": ("Wang^XiaoDong=王^小東", ["王^小東", "wang*", "*小東"]),
    "chrX2.dcm": ("Wang^XiaoDong=王^小东", ["王*", "WANG^XIAODONG", "*小东"]),
}  # fmt: skip
"""file -> its name, and what a reader types to find it."""

UNREAD = {"chrGB2312.dcm"}
"""What pydicom leaves undecoded: escape sequences to a multi-byte set in each component."""

VIETNAMESE = (
    "Nguyễn Thị Minh Khai",
    "Nguyễn^Thị Minh Khai",
    "Nguyễn^Thị^Minh^Khai",
    "Nguyễn^Khai^Thị Minh",
    "Đặng Văn Đức",
    "ĐẶNG^VĂN ĐỨC",
    "Ðỗ Thị Ðào",
    "Hoàng Thuý Hoà",
    "Hoàng Thúy Hòa",
    "Huỳnh Ngọc Ánh",
    "Lê Thị Ỷ",
    "Y Blô Niê",
    "H'Hen Niê",
    "Tôn Nữ Thị Ninh",
    "CB Trần Thị Ữ",
    "A",
    "Nguyễn\u00a0Văn Bảy",
    "Nguyễn^" + "Thị Ấ" * 11,
    "Ksor^H’Bơ",
    "Trần-Lê^Uyên",
)
"""Two forms of each, composed and decomposed: 40 names (vietnam.md 3.6)."""

FORMS = ("NFC", "NFD")


@pytest.fixture(scope="module")
def empty_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    builders.archive(folder).close()
    return folder / "catalogue.sqlite"


@pytest.fixture
def client(tmp_path: Path, empty_catalogue: Path) -> Iterator[TestClient]:
    shutil.copy(empty_catalogue, tmp_path)
    archive = builders.archive(tmp_path)
    context = ApiContext(archive=archive, ingest=Ingest(archive), public_base_url=BASE)
    with TestClient(create_app(context), base_url=BASE) as made:
        yield made
    archive.close()


def study_of(client: TestClient, file: bytes) -> str:
    """Store a file; return its study, also where it is stored already."""
    stored = client.post("/dicom-web/studies", content=file, headers={"Content-Type": "application/dicom"})
    assert stored.status_code == 200
    (one,) = stored.json()["00081199"]["Value"]
    return one["00081190"]["Value"][0].partition("/studies/")[2].partition("/")[0]


def named(client: TestClient, name: str, form: str, number: int) -> str:
    """Store a study of this name; return its UID."""
    told = ct_of(number)
    told.SpecificCharacterSet = "ISO_IR 192"
    with warnings.catch_warnings(action="ignore"):  # a decomposed name has more letters than a VR's 64
        told.PatientName = unicodedata.normalize(form, name)  # type: ignore[arg-type]
        assert store(client, told).status_code == 200
    return str(told.StudyInstanceUID)


def ct_of(number: int) -> Any:
    study = f"2.25.5.{number}"
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": f"{study}.1.1"}
    return builders.ct_slice(1, **uids)


def found(client: TestClient, key: str) -> set[str]:
    answer = client.get("/dicom-web/studies", params={"PatientName": key})
    items = answer.json() if answer.status_code == 200 else []
    return {item["0020000D"]["Value"][0] for item in items}


def told(client: TestClient, study: str) -> dict[str, str]:
    (item,) = client.get("/dicom-web/studies", params={"StudyInstanceUID": study}).json()
    (name,) = item["00100010"]["Value"]
    return dict(name)


def groups_of(name: str) -> dict[str, str]:
    return {group: part for group, part in zip(GROUPS, name.split("="), strict=False) if part}


@pytest.mark.parametrize("file", FILES)
def test_a_real_name_of_each_script_is_found_and_comes_back(client: TestClient, shared_data: Path, file: str) -> None:
    content = (shared_data / "dicom" / "charset" / file).read_bytes()
    name, typed = FILES[file]
    study = study_of(client, content)
    for key in (name, *typed):
        for form in FORMS:
            assert study in found(client, unicodedata.normalize(form, key)), key  # type: ignore[arg-type]
    assert told(client, study) == groups_of(name)
    if file not in UNREAD:
        assert _as_pydicom_reads(content) == groups_of(name)


def _as_pydicom_reads(content: bytes) -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = pydicom.dcmread(io.BytesIO(content), force=True).PatientName
    groups = (name.alphabetic, name.ideographic, name.phonetic)
    return {group: str(part) for group, part in zip(GROUPS, groups, strict=True) if part}


@pytest.mark.parametrize("file", FILES)
def test_a_real_name_of_each_script_is_the_same_in_xml_metadata_and_on_the_page(
    client: TestClient, shared_data: Path, file: str
) -> None:
    name, _ = FILES[file]
    study = study_of(client, (shared_data / "dicom" / "charset" / file).read_bytes())
    xml = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    (part,) = parts(client.get("/dicom-web/studies", params={"StudyInstanceUID": study}, headers=xml))
    assert from_xml([part])["00100010"]["Value"] == [groups_of(name)]
    metadata = client.get(f"/dicom-web/studies/{study}/metadata").json()
    assert metadata[0]["00100010"]["Value"] == [groups_of(name)]
    listed = client.get(f"/api/worklist/{study}").json()["patient"]["patient_name"]
    assert groups_of(listed) == groups_of(name)
    page = html.unescape(client.get("/vi").text)
    assert f'<bdi class="name">{name.partition("=")[0].replace("^", " ")}</bdi>' in page


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", VIETNAMESE)
def test_vietnamese_names_survive_the_whole_path(client: TestClient, name: str, form: str) -> None:  # A03
    sent = unicodedata.normalize(form, name)  # type: ignore[arg-type]
    study = named(client, name, form, 100 + 2 * VIETNAMESE.index(name) + FORMS.index(form))
    (item,) = client.get("/dicom-web/studies", params={"StudyInstanceUID": study}).json()
    assert (item["00080005"]["Value"], item["00100010"]["Value"]) == (["ISO_IR 192"], [{"Alphabetic": sent}])
    assert client.get(f"/api/worklist/{study}").json()["patient"]["patient_name"] == sent
    metadata = client.get(f"/dicom-web/studies/{study}/metadata").json()
    assert metadata[0]["00100010"]["Value"] == [{"Alphabetic": sent}]
    for typed in (sent, sent.upper(), unicodedata.normalize("NFC", sent), unicodedata.normalize("NFD", sent)):
        assert study in found(client, typed)


@pytest.mark.parametrize(
    "typed",
    ["nguyen*duc*", "NGUYỄN*ĐỨC*", "nguyen*đuc*", "NGUYEN*ÐUC*", unicodedata.normalize("NFD", "*ễn*đức*")],
)
def test_search_finds_a_person_whatever_the_typing(client: TestClient, typed: str) -> None:  # A04
    written = ("NGUYEN^VAN^DUC", "NGUYEN VAN DUC", "NGUYỄN^ĐỨC^VĂN", "Nguyễn^Văn Đức", "Nguyễn^Đức^Văn")
    studies = {named(client, name, "NFC", 200 + number) for number, name in enumerate(written)}
    assert found(client, typed) & {f"2.25.5.{200 + number}" for number in range(len(written))} == studies


@pytest.mark.parametrize("typed", ["nguyen van duc", "NGUYỄN VĂN ĐỨC", "duc nguyen", "văn đức nguyễn", "ngu du"])
def test_words_are_found_in_any_order_where_that_is_asked_for(client: TestClient, typed: str) -> None:  # A04, W-46
    written = ("NGUYEN^VAN^DUC", "NGUYỄN^ĐỨC^VĂN", "Đức Nguyễn Văn", "Trần^Văn^Đức")
    studies = [named(client, name, "NFC", 300 + number) for number, name in enumerate(written)]
    answer = client.get("/dicom-web/studies", params={"PatientName": typed, "fuzzymatching": "true"})
    assert "fuzzymatching" not in answer.headers.get("warning", "")
    items = {item["0020000D"]["Value"][0] for item in answer.json()}
    assert items & set(studies) == set(studies[:3])
    assert found(client, "duc nguyen") & set(studies) == set()


def test_studies_and_the_worklist_stand_in_the_order_of_vietnamese_names(client: TestClient) -> None:
    wanted = [
        "Lê^Văn^An",
        "Trần^Thị^Ánh",
        "Lê^Thị^Ân",
        "Nguyễn^Văn^Dũng",
        "Nguyễn^Thị^Đào",
        "Bùi^Văn^Lan",
        "Lê^Văn^Lan",
    ]
    for number, name in enumerate(reversed(wanted)):
        named(client, name, "NFC", 400 + number)
    ours = {f"2.25.5.{400 + number}" for number in range(len(wanted))}
    answer = client.get("/dicom-web/studies", params={"orderby": "PatientName", "PatientID": "P1"}).json()
    listed = [item["00100010"]["Value"][0]["Alphabetic"] for item in answer if item["0020000D"]["Value"][0] in ours]
    assert listed == wanted
    rows = client.get("/api/worklist?order=name&limit=500").json()["entries"]
    assert [row["patient"]["patient_name"] for row in rows if row["study_instance_uid"] in ours] == wanted
    assert {row["place"] for row in rows} == {None}


@pytest.mark.parametrize(
    "query", ["orderby=StudyDate", "orderby=-PatientName", "orderby=PatientName&orderby=PatientName"]
)
def test_another_order_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/dicom-web/studies?{query}").status_code == 400
    assert client.get(f"/dicom-web/series?{query}").status_code == 400


@pytest.mark.parametrize(
    ("charset", "value"),
    [
        ("ISO_IR 100", "Nguyễn^Đức".encode()),  # UTF-8 in Latin-1
        ("ISO_IR 100", "Nguyê\u0303n^Đư\u0301c".encode("cp1258", "replace")),
        ("ISO 2022 IR 87", b"Yamada\x1b$Zbroken"),
        ("NO SUCH SET", b"Nguyen\xff"),
        ("ISO_IR 192", b"Ng\x00uyen\xc3"),
        ("ISO_IR 192", "An\u202eVăn".encode()),
        ("ISO_IR 192", b"\\" * 1000),
        ("ISO_IR 192", b"Nguyen^'\"<b>%_*?[]=;--"),
    ],
)
def test_a_name_that_does_not_fit_its_character_set_does_no_harm(
    client: TestClient, charset: str, value: bytes
) -> None:
    number = 500 + len(value) + len(charset)
    told = ct_of(number)
    told.PatientName = "MARK"
    file = builders.part10(told)
    mark = b"\x10\x00\x10\x00PN\x04\x00MARK"
    padded = value + b" " * (len(value) % 2)
    spoilt = file.replace(mark, mark[:6] + len(padded).to_bytes(2, "little") + padded)
    charset_value = charset.encode() + b" " * (len(charset) % 2)
    place = (
        spoilt.index(b"\x08\x00\x08\x00CS") if b"\x08\x00\x08\x00CS" in spoilt else spoilt.index(b"\x08\x00\x16\x00")
    )
    element = b"\x08\x00\x05\x00CS" + len(charset_value).to_bytes(2, "little") + charset_value
    study = study_of(client, spoilt[:place] + element + spoilt[place:])
    instance = f"/dicom-web/studies/{study}/series/{study}.1/instances/{study}.1.1"
    kept = client.get(instance, headers={"Accept": "application/dicom"}).content
    assert padded in kept
    (item,) = client.get("/dicom-web/studies", params={"StudyInstanceUID": study}).json()
    assert "00100010" in item
    page = client.get("/vi")
    assert page.status_code == 200
    assert "\u202e" not in page.text
    assert "<b>%" not in page.text
